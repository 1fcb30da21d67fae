"""Does a tuned model follow a persona it has never seen? Made-up people with one planted trait each, a real model.

    python benchmarks/bench_tailoring.py [--quick] [--seeds 0 1 2] [--rows 320] [--base local] [--json FILE]

Personas are not given but inferred: from the training choices of those who are trained on, and from half the choices
of those who are not, who are then asked the other half. People who are measured are not in training, and are asked
questions that are not in training either. For each seed two models are tuned on the same rows, SFT and then DPO on
disjoint halves: PT with the inferred personas in front (arXiv 2501.11549), the other without them; both are then given
the same persona text.

Accuracy is the share of choices where the mean log probability of a token of the chosen answer is the higher one.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import arguments, machine, say

from persona_plugins.lora.chat import TunedChat
from persona_sdk.hooks import PluginHost
from persona_sdk.inference import History
from persona_sdk.models import Message
from persona_sdk.settings import Settings
from persona_sdk.simulation.planted import TRAITS, PlantedPerson, people
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.lessons import Lessons, Teaching, asked_anew, lessons
from persona_sdk.tuning.likelihood import margins
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import SYSTEM, Row
from persona_sdk.tuning.training.machine import look
from persona_sdk.tuning.training.run import Job, train

QUESTION = "How do I get rust off a bicycle chain?"
#: Questions asked in training, and others.
TAUGHT, NEW = range(20), range(20, 30)


def made_up(seed: int, size: Mapping[str, int]) -> tuple[list[PlantedPerson], list[PlantedPerson]]:
    """Return people to train on and people to measure, with different questions."""
    taught = people(size["taught"], size["choices"], topics=TAUGHT, noise=0.05, plain=0.9, seed=seed)
    new = people(size["measured"], size["choices"], topics=NEW, noise=0.05, plain=0.9, seed=1000 + seed)
    return taught, [replace(one, user_id=f"new{one.user_id}", choices=_renamed(one)) for one in new]


def _renamed(person: PlantedPerson) -> tuple[Any, ...]:
    name = f"new{person.user_id}"
    return tuple(one.model_copy(update={"user_id": name, "id": f"new{one.id}"}) for one in person.choices)


def histories(persons: Sequence[PlantedPerson]) -> list[History]:
    return [History(one.user_id, one.choices) for one in persons]


def asked(persons: Sequence[PlantedPerson], inferrer: Any, seed: int, each: int) -> dict[str, list[Row]]:
    """Return the same questions under each prefix, a few of each person of whom a persona is known."""
    found = {}
    for kind in ("persona", "none", "shuffled:persona"):
        rows = asked_anew(histories(persons), inferrer, [], Teaching(prefix=kind, seed=seed))
        found[kind] = {row.example.id: row for theirs in rows.values() for row in theirs[:each]}
    known = [name for name, row in found["persona"].items() if row.prefix.text]
    say(f"{len(known)} of {len(found['persona'])} questions are asked of people with a persona")
    return {kind: [rows[name] for name in known] for kind, rows in found.items()}


def measured(model: Any, rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Any]]:
    """Return accuracy under each prefix, as a share with its standard error over people."""
    found = {}
    for kind, of_kind in rows.items():
        started = time.monotonic()
        right = [margin > 0 for margin in margins(model, of_kind, system=SYSTEM)]
        people_ = sorted({row.example.user_id for row in of_kind})
        shares = [
            statistics.fmean(r for r, row in zip(right, of_kind, strict=True) if row.example.user_id == user)
            for user in people_
        ]
        found[kind] = {
            "accuracy": round(statistics.fmean(right), 4),
            "standard_error": round(statistics.stdev(shares) / len(shares) ** 0.5, 4),
            "choices": len(right),
            "people": len(people_),
            "seconds": round(time.monotonic() - started, 1),
        }
    return found


def recipe_of(rows: int, each: int) -> Recipe:
    """Return SFT on so many rows and DPO on a fifth as many, of the `each` rows that a half has."""
    sft = Stage(method="sft", batch=8, epochs=rows / each, patience=0)
    dpo = Stage(
        method="dpo",
        batch=8,
        epochs=rows / 5 / each,
        learning_rate=2e-4,
        patience=0,
        losses=("sigmoid", "sft"),
        weights=(1.0, 0.5),
    )
    return Recipe(name="bench", stages=(sft, dpo), halves=True, evaluations=3)


def tuned(name: str, taught: Lessons, options: Any, seed: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train an adapter and put it among the adapters; return how long it took, and what its card says."""
    recipe = recipe_of(options.rows, len(taught.train) // 2)
    job = Job(name, options.base, recipe, seed=seed, machine=look(), system=SYSTEM)
    started = time.monotonic()
    last = [""]

    def told(number: int, stages: int, method: str, step: int, steps: int) -> None:
        line = f"{name}: {method} {step}/{steps}, {time.monotonic() - started:.0f} s"
        if step % 5 == 0 and line != last[0]:
            last[0] = line
            say(line)

    made, card = train(job, taught.train, taught.validation[:24], folder / f"work-{name}", told)
    Adapters(folder / "adapters").add(made, card)
    return time.monotonic() - started, {"recipe": recipe.model_dump(mode="json"), "metrics": dict(card.metrics)}


def one_seed(seed: int, options: Any, size: Mapping[str, int], folder: Path) -> dict[str, Any]:
    settings = Settings.load(database_url="sqlite://")
    inferrer = PluginHost(settings).registry.inferrer("contrastive", settings)
    taught_people, new_people = made_up(seed, size)
    rows = asked(new_people, inferrer, seed, size["each"])
    report: dict[str, Any] = {"seed": seed, "arms": {}}
    model = TunedChat(folder / "adapters", base=options.base, system=SYSTEM, dtype=look().dtype, max_tokens=80)
    report["arms"]["base"] = {"measured": measured(model.with_adapter(None), rows)}
    say(f"seed {seed} base: {short(report['arms']['base'])}")
    for name, training in (("pt", "chosen"), ("plain", "none")):
        teaching = Teaching(prefix="persona", training=training, seed=seed, test=0.0)
        taught = lessons(histories(taught_people), inferrer, teaching)
        took, card = tuned(f"{name}-{seed}", taught, options, seed, folder)
        arm = {"measured": measured(model.with_adapter(f"{name}-{seed}"), rows), "seconds": round(took), **card}
        report["arms"][name] = arm
        say(f"seed {seed} {name}: {short(arm)}, trained in {took:.0f} s")
    report["said"] = {name: said(model, name and f"{name}-{seed}", rows["persona"]) for name in ("", "pt", "plain")}
    return report


def said(model: TunedChat, adapter: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return answers to a question of nobody's, under the persona text of one person of each trait."""
    found = {}
    for row in rows:
        note = row.prefix.text.splitlines()[2]
        if note in found:
            continue
        new = row.model_copy(update={"example": row.example.model_copy(update={"prompt": _question()})})
        answer = model.with_adapter(adapter or None).invoke(new.conversation(SYSTEM))
        found[note] = str(answer.content)
    return dict(list(found.items())[: 2 * len(TRAITS)])


def _question() -> Any:
    return (Message(role="user", content=QUESTION),)


def short(arm: Mapping[str, Any]) -> str:
    return ", ".join(f"{kind} {found['accuracy']:.2f}" for kind, found in arm["measured"].items())


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=320, help="that SFT learns from; DPO learns from a fifth as many")
    parser.add_argument("--base", default="local")
    options = parser.parse_args()
    size = {"taught": 48, "choices": 24, "measured": 24, "each": 4}
    if options.quick:
        size = {"taught": 16, "choices": 12, "measured": 8, "each": 2}
        options.seeds, options.rows = options.seeds[:1], min(options.rows, 32)
    reports = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            reports.append(one_seed(seed, options, size, Path(folder)))
        if options.json:
            options.json.write_text(json.dumps({"machine": machine(), "reports": reports}, indent=1))
    print(f"\n{machine()}\n{'':8}{'own persona':>16}{'no persona':>16}{'another’s':>16}")
    for arm in ("base", "pt", "plain"):
        cells = []
        for kind in ("persona", "none", "shuffled:persona"):
            values = [report["arms"][arm]["measured"][kind]["accuracy"] for report in reports]
            cells.append(f"{statistics.fmean(values):.3f} ({min(values):.2f}–{max(values):.2f})")
        print(f"{arm:8}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
