"""Small adapters to keep in a registry: folders as PEFT writes them, with cards, trained on people by their ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from persona_sdk.memory import person_key
from persona_sdk.tuning.assignments import Assignment
from persona_sdk.tuning.cards import Base, Card, Lineal

__all__ = ["CLUSTER", "OWN", "SHARED", "card_of", "key", "lora"]

SHARED = Assignment(adapter="shared", rung="shared", choices=6, gain=0.1, standard_error=0.02)
CLUSTER = Assignment(adapter="cluster", rung="cluster", choices=6, gain=0.2, standard_error=0.02, below=SHARED)
OWN = Assignment(adapter="own-ann", rung="own", choices=6, gain=0.3, standard_error=0.02, below=CLUSTER)

CONFIG = {
    "peft_type": "LORA", "base_model_name_or_path": "/home/somebody/base", "r": 4, "lora_alpha": 8, "bias": "none",
    "modules_to_save": None, "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "init_lora_weights": True,
}  # fmt: skip


def key(user_id, tenant="default"):
    return person_key(tenant, user_id)


def lora(folder: Path, *, value=0.0, tensors=(), **config) -> Path:
    """Write a folder as PEFT does; every weight is `value`, `tensors` are more names of tensors."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}), "utf-8")
    names = [f"base_model.model.layers.0.q_proj.lora_{side}.weight" for side in "AB"]
    save_file(
        {name: np.full((4, 8), value, np.float32) for name in (*names, *tensors)}, folder / "adapter_model.safetensors"
    )
    return folder


def card_of(name, people="", *, own=None, base="base", **more) -> Card:
    """Return a card that says it was trained on these people, a letter each; `own` is whom an own adapter is for."""
    if own is not None:
        more |= {"rung": "own", "cluster": (key(own),)}
        people = {*people, own}
    lineals = tuple(Lineal(key=key(user), signals=("0123456789abcdef",), personas=(1,)) for user in sorted(people))
    return Card(name=name, base=Base(name=base, sha256=base), people=lineals, **more)
