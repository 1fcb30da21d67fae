"""How long learning takes on this machine, tried on a few rows before a recipe is chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_sdk.tuning.recipes import Recipe
from persona_sdk.tuning.rows import Row, RowFormat, trl_rows
from persona_sdk.tuning.training.bases import LOCAL, has_template, prepare
from persona_sdk.tuning.training.machine import Machine
from persona_sdk.tuning.training.stages import lora_of

__all__ = ["seconds_per_row", "typical"]

#: Rows that are tried together, after a first time that warms up.
_ROWS = 4


def typical(rows: Sequence[Row], count: int = _ROWS) -> list[Row]:
    """Return a few rows, as long in the mean as all of them: the middle one of each part when sorted by length."""
    taught = [row for row in rows if row.example.chosen is not None]
    ordered = sorted(taught, key=_characters)
    if len(ordered) <= count:
        return ordered
    return [ordered[(2 * part + 1) * len(ordered) // (2 * count)] for part in range(count)]


def _characters(row: Row) -> int:
    return sum(len(message["content"]) for message in row.conversation()) + len(row.example.chosen or "")


def seconds_per_row(recipe: Recipe, base: str, rows: Sequence[Row], machine: Machine, system: str = "") -> float:
    """Return about how many seconds SFT takes for a row: some of the rows are learnt from, and what was learnt is lost.

    `recipe` says which LoRA is trained.
    """
    folder = prepare(base)
    tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    template: RowFormat = "chat" if has_template(tokenizer) else "plain"
    tried = trl_rows(typical(rows), "sft", template=template, system=system)
    if template == "chat":
        ids = [tokenizer.apply_chat_template([*r["prompt"], *r["completion"]], return_dict=False) for r in tried]
    else:
        ids = [tokenizer(r["prompt"] + r["completion"])["input_ids"] for r in tried]
    if not ids:
        return 0.0
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, machine.dtype), **LOCAL)
    model = get_peft_model(model.to(machine.device), lora_of(recipe, model))
    longest = max(map(len, ids))
    batch = torch.tensor([one + [0] * (longest - len(one)) for one in ids], device=machine.device)
    for _ in range(2):  # the first warms up
        started = time.perf_counter()
        loss = model(batch, labels=batch).loss
        loss.backward()
        float(loss.detach())  # reading it waits for an accelerator
        took = time.perf_counter() - started
    return took / len(ids)
