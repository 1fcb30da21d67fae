"""How long learning takes on this machine, tried on a few rows before a recipe is chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_sdk.tuning.rows import Row, RowFormat, trl_rows
from persona_sdk.tuning.training.bases import LOCAL, has_template, prepare
from persona_sdk.tuning.training.machine import Machine

__all__ = ["seconds_per_row"]

#: Rows that are tried together, after a first time that warms up.
_ROWS = 4
#: What a step of training takes, beside running the model forwards once: backwards as much again, LoRA, the optimizer.
_TIMES = 3.5


def seconds_per_row(base: str, rows: Sequence[Row], machine: Machine, system: str = "") -> float:
    """Return about how many seconds SFT takes for a row, from running the base over some of the rows forwards."""
    folder = prepare(base)
    tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    template: RowFormat = "chat" if has_template(tokenizer) else "plain"
    step = max(1, len(rows) // _ROWS)
    tried = trl_rows(rows[::step][:_ROWS], "sft", template=template, system=system)
    if template == "chat":
        ids = [tokenizer.apply_chat_template([*r["prompt"], *r["completion"]], return_dict=False) for r in tried]
    else:
        ids = [tokenizer(r["prompt"] + r["completion"])["input_ids"] for r in tried]
    if not ids:
        return 0.0
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, machine.dtype), **LOCAL)
    model.to(machine.device)
    longest = max(map(len, ids))
    batch = torch.tensor([one + [0] * (longest - len(one)) for one in ids], device=machine.device)
    with torch.no_grad():
        model(batch)
        started = time.perf_counter()
        float(model(batch).logits[0, 0, 0])  # reading it waits for an accelerator
    return _TIMES * (time.perf_counter() - started) / len(ids)
