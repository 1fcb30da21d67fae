"""Small training runs on a tiny base: what to train, and a process that trains it and may be killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from persona_sdk.simulation.planted import TRAITS, people
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import Example, Origin, Prefix, Row

__all__ = ["DPO", "RECIPE", "ROOT", "SFT", "history", "job", "losses", "main", "rows"]

ROOT = Path(__file__).parents[2]

RECIPE = Recipe(
    name="small",
    stages=(Stage(method="sft", batch=8, epochs=2, patience=0), Stage(method="dpo", batch=8, patience=0)),
    rank=4,
    alpha=8,
    halves=True,
    evaluations=3,
)

SFT = Recipe(name="one", stages=(Stage(method="sft", batch=8, patience=0),), rank=4, evaluations=2)
DPO = Recipe(name="one", stages=(Stage(method="dpo", batch=8, patience=0),), rank=4, evaluations=2)


def rows(count: int = 8, choices: int = 8, *, first: int = 0) -> list[Row]:
    """Return rows of made-up people, with their planted trait in front; `first` numbers the first of them."""
    made = []
    for person in people(first + count, choices)[first:]:
        prefix = Prefix(kind="gold", text=TRAITS[person.trait][2])
        for choice in person.choices:
            origin = Origin(user_id=person.user_id, signals=(choice.id,), persona=1)
            example = Example(
                id=choice.id, origin=origin, prompt=choice.prompt, chosen=choice.chosen, rejected=choice.rejected
            )
            made.append(Row(example=example, prefix=prefix))
    return made


def job(base: Path, recipe: Recipe = RECIPE, **more: Any) -> Any:
    from persona_sdk.tuning.training.machine import look
    from persona_sdk.tuning.training.run import Job

    return Job("small", str(base), recipe, machine=look("float32"), **more)


def history(folder: Path) -> Any:
    """Return what was logged, by stage."""
    return json.loads((folder / "history.json").read_text())


def losses(log: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in log if "loss" in entry]


def main(base: str, work: str, stage: int, step: int) -> None:
    """Train, and kill this process at a step of a stage; step 0 is never."""
    from persona_sdk.tuning.training.run import train

    def told(number: int, stages: int, method: str, done: int, total: int) -> None:
        if step and (number, done) == (stage, step):
            os.kill(os.getpid(), signal.SIGKILL)

    folder, _ = train(job(Path(base)), rows(), rows(2, first=8), Path(work), told)
    sys.stdout.write(json.dumps({"folder": str(folder)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
