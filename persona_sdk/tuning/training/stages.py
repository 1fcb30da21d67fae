"""One stage of training as TRL runs it. Reads top to bottom: the arguments, the trainer, the run, the best adapter.

What is done beyond a plain TRL script: rows of like length share a device's batch; the reference's log-probabilities
are computed once; activations are kept where memory allows; a checkpoint that a kill left half-written is thrown away.
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

from persona_sdk.errors import InputError, TuningError
from persona_sdk.tuning.recipes import Recipe, Stage, learning_rate
from persona_sdk.tuning.rows import Row
from persona_sdk.tuning.training.data import Alike, Text, dataset, longest, needs
from persona_sdk.tuning.training.machine import Machine
from persona_sdk.tuning.training.watching import SELECTION, Selecting

__all__ = ["Setting", "lora_of", "run_stage"]

#: Tokens that one device takes in a step, answers and padding included; the rest of a batch is accumulated.
_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16384, "mps": 4096}


@dataclass(frozen=True, slots=True)
class Setting:
    """What all stages of a run share."""

    recipe: Recipe
    machine: Machine
    text: Text


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
    limit = _limit(model, setting.recipe, setting.text)
    data = dataset(rows, stage.method, setting.text, limit)
    if data is None:
        raise InputError(
            f"none of {len(rows):,} rows can be learnt from by {stage.method}: it needs {needs(stage.method)}"
            + (f" of {limit:,} tokens at most" if limit else ""),
            field="rows",
        )
    check = dataset(validation, stage.method, setting.text, limit)
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


def _arguments(
    stage: Stage, model: Any, data: Dataset, check: Dataset | None, setting: Setting, folder: Path
) -> dict[str, Any]:
    """Return the arguments that TRL's three trainers share."""
    recipe, machine = setting.recipe, setting.machine
    limit = longest(data, check)
    sides = 2 if stage.method == "dpo" else 1
    at_once = max(1, _TOKENS_AT_ONCE[machine.device] // (sides * limit))
    share = max(1, math.ceil(stage.batch / machine.processes))
    device_batch = _divisor(share, at_once)
    if stage.method == "kto":  # its answers are paired with other prompts of the same batch
        device_batch = max(2, device_batch)
    accumulated = max(1, share // device_batch)
    steps = max(1, round(stage.epochs * math.ceil(len(data) / (device_batch * accumulated * machine.processes))))
    every = max(1, steps // recipe.evaluations)
    rate = stage.learning_rate or learning_rate(_parameters(model), stage.method)
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
        # Figures are means over batches: they must be of one size.
        "per_device_eval_batch_size": 1 if check is None else _divisor(len(check) // machine.processes or 1, at_once),
        "gradient_accumulation_steps": accumulated,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": round(recipe.warmup * steps),
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number is to be seen
        "restore_callback_states_from_checkpoint": True,  # the patience that is left
        "max_length": limit,
        "seed": setting.text.seed,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": machine.device == "cpu",
        "bf16": False,  # the base is loaded in the precision it is computed in
        "gradient_checkpointing": machine.saves_memory,
        **evaluating,
    }


def _limit(model: Any, recipe: Recipe, text: Text) -> int | None:
    """Return how many tokens of a row the model reads at most, None for any number."""
    known = (recipe.max_length, getattr(model.config, "max_position_embeddings", None), text.tokenizer.model_max_length)
    return min((limit for limit in known if limit), default=None)


def _divisor(count: int, most: int) -> int:
    """Return the largest divisor of `count` that is not above `most`."""
    return next(size for size in range(min(count, max(1, most)), 0, -1) if count % size == 0)


def _trainer(
    stage: Stage, model: Any, data: Dataset, check: Dataset | None, arguments: dict[str, Any], setting: Setting
) -> Any:
    recipe = setting.recipe
    given = {
        "model": model,
        "train_dataset": data,
        "eval_dataset": check,
        "processing_class": setting.text.tokenizer,
        "peft_config": None if isinstance(model, PeftModel) else lora_of(recipe, model),
    }
    reuses = {"precompute_ref_log_probs": setting.machine.processes == 1}  # TRL keeps them in one process's own file
    if stage.method == "sft":
        trainer = SFTTrainer(args=_one(SFTConfig(**arguments, completion_only_loss=True)), **given)
    elif stage.method == "kto":
        return KTOTrainer(args=_one(KTOConfig(**arguments, beta=stage.beta, **reuses)), **given)
    else:
        weights = list(stage.weights) or None
        preferring = {"beta": stage.beta, "loss_type": list(stage.losses), "loss_weights": weights}
        trainer = DPOTrainer(args=_one(DPOConfig(**arguments, **preferring, **reuses)), **given)
    size = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * setting.machine.processes
    trainer._get_train_sampler = lambda *_: Alike(size, data["length"], setting.text.seed)
    return trainer


def _one(config: Any) -> Any:
    """Keep a process to one device: several are for `accelerate launch`, never for torch's DataParallel."""
    _ = config.device  # counts them, once
    config._n_gpu = min(config._n_gpu, 1)
    return config


def lora_of(recipe: Recipe, model: Any) -> LoraConfig:
    """Return a recipe's LoRA on all attention and MLP projections of a model."""
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=_projections(model),
        task_type="CAUSAL_LM",
    )


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
    broken = [name for name, weights in model.named_parameters() if "lora_" in name and not weights.isfinite().all()]
    if broken:
        raise TuningError(
            "the numbers ran away: weights are not finite any more; lower the learning rate in the recipe"
        )
    made = folder / "adapter.part"
    shutil.rmtree(made, ignore_errors=True)
    model.save_pretrained(str(made), selected_adapters=["default"])
    (made / "README.md").unlink(missing_ok=True)
    history = json.dumps(trainer.state.log_history)
    (made / "history.json").write_text(history, encoding="utf-8")
    made.rename(folder / "adapter")
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
