"""Adapters made by PEFT itself, with random weights strong enough to change what a tiny model says."""

from pathlib import Path

from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.cards import Base, Card, Lineal
from persona_sdk.tuning.training.bases import base_of

RANKS = {"ann": 4, "bob": 8, "cy": 2}


def peft_folder(base: Path, folder: Path, seed: int, **config) -> Path:
    """Save a LoRA for a base, as PEFT does."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    more = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | config
    tuned = get_peft_model(model, LoraConfig(init_lora_weights=False, **more))
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.4)
    tuned.save_pretrained(folder)
    return folder


def add(adapters: Adapters, base: Path, name: str, seed: int, *, replace=False, like=None, **config) -> Path:
    """Make an adapter and add it; `like` holds what its card says."""
    made = peft_folder(base, adapters.folder.parent / f"made-{name}-{seed}", seed, **config)
    card = Card(**({"name": name, "base": base_of(base)} | (like or {})))
    return adapters.add(made, card, replace=replace)


def other_base() -> Base:
    """A base nobody has."""
    return Base(name="another", sha256="0" * 64)


def of(key: str) -> Lineal:
    """A person whose signals are in an adapter."""
    return Lineal(key=key, signals=("s",))
