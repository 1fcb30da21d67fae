"""One stage of training as TRL runs it. Reads top to bottom: the arguments, the trainer, the run, the best adapter.

What is done beyond a plain TRL script: rows of like length share a batch; the reference's log-probabilities are
computed once; activations are kept where memory allows; a checkpoint that a kill left half-written is thrown away.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, PeftModel
from torch.nn import Linear
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from transformers.pytorch_utils import Conv1D
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from persona_sdk.errors import InputError
from persona_sdk.tuning.recipes import Recipe, Stage, learning_rate
from persona_sdk.tuning.rows import Form, Row, RowFormat, trl_rows
from persona_sdk.tuning.training.machine import Machine
from persona_sdk.tuning.training.watching import SELECTION, Selecting

__all__ = ["Setting", "run_stage"]

#: What TRL's trainers read for each method.
_FORMS: dict[str, Form] = {"sft": "sft", "dpo": "preference", "kto": "kto"}
#: Tokens that one device takes in a step, answers and padding included; the rest of a batch is accumulated.
_TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 16384, "mps": 4096}


@dataclass(frozen=True, slots=True)
class Setting:
    """What all stages of a run share."""

    recipe: Recipe
    machine: Machine
    tokenizer: Any
    template: RowFormat
    system: str
    seed: int


def run_stage(
    stage: Stage,
    model: Any,
    rows: Sequence[Row],
    validation: Sequence[Row],
    setting: Setting,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> list[dict[str, Any]]:
    """Train a stage, going on from its last checkpoint if there is one; write the best adapter to `folder/adapter`.

    `model` is the base, or a PeftModel whose adapter the stage goes on with. Returns TRL's log, one entry a report.
    """
    data = _dataset(rows, stage, setting)
    check = _dataset(validation, stage, setting) if validation else None
    arguments = _arguments(stage, model, data, check, setting, folder)
    trainer = _trainer(stage, model, data, check, arguments, setting)
    trainer.remove_callback(PrinterCallback)
    for callback in (Selecting(), *callbacks):
        trainer.add_callback(callback)
    if check is not None and stage.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=stage.patience))
    last = _last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if trainer.accelerator.is_main_process:
        _keep(trainer, folder)
    trainer.accelerator.wait_for_everyone()
    return list(trainer.state.log_history)


def _dataset(rows: Sequence[Row], stage: Stage, setting: Setting) -> Dataset:
    made = trl_rows(rows, _FORMS[stage.method], template=setting.template, system=setting.system)
    if not made:
        raise InputError(
            f"none of {len(rows):,} rows can be learnt from by {stage.method}: "
            + (
                "it needs pairs of a chosen and a rejected answer"
                if stage.method == "dpo"
                else "it needs chosen answers"
            ),
            field="rows",
        )
    for row in made:
        row["length"] = _tokens(row, setting)
        del row["id"]
    return Dataset.from_list(made)


def _tokens(row: dict[str, Any], setting: Setting) -> int:
    """Return the tokens of a row's longest side."""
    answers = [row[side] for side in ("chosen", "rejected", "completion") if side in row]
    if setting.template == "plain":
        return max(len(setting.tokenizer(row["prompt"] + answer)["input_ids"]) + 1 for answer in answers)
    whole = (setting.tokenizer.apply_chat_template([*row["prompt"], *answer], return_dict=False) for answer in answers)
    return max(map(len, whole))


def _arguments(
    stage: Stage, model: Any, data: Dataset, check: Dataset | None, setting: Setting, folder: Path
) -> dict[str, Any]:
    """Return the arguments that TRL's three trainers share."""
    recipe, machine = setting.recipe, setting.machine
    longest = max(data["length"])
    limit = recipe.max_length or longest
    sides = 2 if stage.method == "dpo" else 1
    at_once = max(1, _TOKENS_AT_ONCE[machine.device] // (sides * min(longest, limit)))
    share = max(1, math.ceil(stage.batch / machine.processes))
    accumulated = math.ceil(share / min(at_once, share))
    device_batch = math.ceil(share / accumulated)
    steps = max(1, round(stage.epochs * math.ceil(len(data) / (device_batch * accumulated * machine.processes))))
    every = max(1, steps // recipe.evaluations)
    rate = stage.learning_rate or learning_rate(_parameters(model))
    evaluating = {"eval_strategy": "no"} if check is None else {
        "eval_strategy": "steps",
        "eval_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": SELECTION,
        "greater_is_better": True,
    }  # fmt: skip
    return {
        "output_dir": str(folder),
        "learning_rate": rate,
        "max_steps": steps,
        "per_device_train_batch_size": device_batch,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": accumulated,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": round(recipe.warmup * steps),
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number is to be seen
        "train_sampling_strategy": "sequential" if stage.method == "kto" else "group_by_length",
        "remove_unused_columns": stage.method == "sft",  # else the lengths are gone before they are read
        "max_length": limit,
        "seed": setting.seed,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": machine.device == "cpu",
        "bf16": False,  # the base is loaded in the precision it is computed in
        "gradient_checkpointing": machine.saves_memory,
        **evaluating,
    }


def _trainer(
    stage: Stage, model: Any, data: Dataset, check: Dataset | None, arguments: dict[str, Any], setting: Setting
) -> Any:
    recipe = setting.recipe
    given = {
        "model": model,
        "train_dataset": data,
        "eval_dataset": check,
        "processing_class": setting.tokenizer,
        "peft_config": None
        if isinstance(model, PeftModel)
        else LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=_projections(model),
            task_type="CAUSAL_LM",
        ),
    }
    if stage.method == "sft":
        return SFTTrainer(args=SFTConfig(**arguments, completion_only_loss=True), **given)
    if stage.method == "kto":
        return KTOTrainer(args=KTOConfig(**arguments, beta=stage.beta, precompute_ref_log_probs=True), **given)
    weights = list(stage.weights) or None
    preferring = {"beta": stage.beta, "loss_type": list(stage.losses), "loss_weights": weights}
    return DPOTrainer(args=DPOConfig(**arguments, **preferring, precompute_ref_log_probs=True), **given)


def _projections(model: Any) -> list[str]:
    """Return the names of the attention and MLP projections, whatever this architecture calls them.

    Short names, as servers of many adapters expect them; PEFT's own "all-linear" writes every layer's path.
    """
    head = model.get_output_embeddings()
    linear = (name for name, part in model.named_modules() if isinstance(part, (Linear, Conv1D)) and part is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def _parameters(model: Any) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the latest complete checkpoint. One without its state, written last, was cut off by a kill: it goes."""
    found = []
    for path in folder.glob("checkpoint-*"):
        try:
            step = int(path.name.removeprefix("checkpoint-"))
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            found.append((step, path))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return max(found)[1] if found else None


def _keep(trainer: Any, folder: Path) -> None:
    """Write the adapter the stage ends with; its folder appears whole or not at all."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    made = folder / "adapter.part"
    shutil.rmtree(made, ignore_errors=True)
    model.save_pretrained(str(made), selected_adapters=["default"])
    (made / "README.md").unlink(missing_ok=True)
    history = json.dumps(trainer.state.log_history)
    (made / "history.json").write_text(history, encoding="utf-8")
    made.rename(folder / "adapter")
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
