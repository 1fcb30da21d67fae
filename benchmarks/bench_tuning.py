"""A step of tuning beside a plain TRL script on the same rows: seconds, and memory at its peak.

    python benchmarks/bench_tuning.py [--quick] [--base local] [--pairs 48] [--json FILE]

DPO with a LoRA of rank 16 on all projections, 8 pairs a step, one epoch. The plain script gives TRL's DPOTrainer the
model's folder, the rows and a LoraConfig, and leaves everything else as TRL has it. A second one keeps activations, as
this SDK does where memory allows, so that what rows of like length and a reference computed once are worth shows by
itself. Each runs in a process of its own. Time is that of the whole run: loading left out, the reference included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from harness import Figure, arguments, report, say
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from persona_sdk.simulation.planted import TRAITS, people
from persona_sdk.tuning.prefixes import Knowledge, prefixer
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import SYSTEM, Example, Origin, Row, trl_rows
from persona_sdk.tuning.training.bases import prepare
from persona_sdk.tuning.training.data import Text
from persona_sdk.tuning.training.machine import look
from persona_sdk.tuning.training.run import quiet
from persona_sdk.tuning.training.stages import Setting, run_stage

BATCH, RANK = 8, 16


def rows(pairs: int) -> list[Row]:
    """Return pairs of made-up people, each with their planted trait in front."""
    made = people(max(1, pairs // 8), 8)
    gold = prefixer("gold", Knowledge(gold={one.user_id: (TRAITS[one.trait][2],) for one in made}))
    found = []
    for person in made:
        for choice in person.choices:
            origin = Origin(user_id=person.user_id, signals=(choice.id,))
            example = Example(
                id=choice.id, origin=origin, prompt=choice.prompt, chosen=choice.chosen, rejected=choice.rejected
            )
            found.append(Row(example=example, prefix=gold.prefix(example)))
    return found[:pairs]


def ours(base: Path, pairs: int, folder: str) -> tuple[float, int]:
    stage = Stage(method="dpo", batch=BATCH, epochs=1, patience=0)
    recipe = Recipe(name="bench", stages=(stage,), rank=RANK)
    here = look()
    setting = Setting(recipe, here, Text(AutoTokenizer.from_pretrained(base), "chat", SYSTEM, 0))
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, here.dtype))
        started = time.perf_counter()
        log = run_stage(stage, model, rows(pairs), [], setting, Path(folder))
    return time.perf_counter() - started, sum("loss" in entry for entry in log)


def plain(base: Path, pairs: int, folder: str, **more: Any) -> tuple[float, int]:
    data = Dataset.from_list(trl_rows(rows(pairs), "preference", system=SYSTEM)).remove_columns("id")
    model = AutoModelForCausalLM.from_pretrained(base)
    started = time.perf_counter()
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=1, use_cpu=True,
                       report_to=[], save_strategy="no", disable_tqdm=True, **more),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    trainer.train()
    return time.perf_counter() - started, trainer.state.global_step


ARMS = {
    "ours": ours,
    "plain": plain,
    "plain, activations kept": lambda *given: plain(*given, gradient_checkpointing=False),
}


def run_arm(arm: str, base: Path, pairs: int) -> None:
    """Run one arm in this process and write what it took on the last line."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, steps = ARMS[arm](base, pairs, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "steps": steps, "peak": peak}))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--base", default="local")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--arm", choices=ARMS, help="run only this one, here")
    options = parser.parse_args()
    if options.arm:
        run_arm(options.arm, Path(options.base), options.pairs)
        return
    pairs = min(options.pairs, 16) if options.quick else options.pairs
    base, found = prepare(options.base), {}
    for arm in ARMS:
        command = [sys.executable, __file__, "--arm", arm, "--base", str(base), "--pairs", str(pairs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            raise SystemExit(f"{arm} failed:\n{done.stderr[-3000:]}")
        found[arm] = json.loads(done.stdout.splitlines()[-1])
        say(f"{arm}: {found[arm]['seconds']:.1f} s for {found[arm]['steps']} steps, {found[arm]['peak']:.0f} MiB")
    mine = found["ours"]
    figures = []
    for arm in list(ARMS)[1:]:
        other = found[arm]
        figures += [
            Figure("seconds a step", mine["seconds"] / mine["steps"], "s", arm, other["seconds"] / other["steps"],
                   at_most=other["seconds"] / other["steps"]),
            Figure("memory at its peak", mine["peak"], "MiB", arm, other["peak"]),
        ]  # fmt: skip
    report("Tuning beside a plain TRL script", figures, [f"{pairs} pairs, {BATCH} a step"], options.json)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
