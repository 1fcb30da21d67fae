"""Does a tuned model follow the persona of somebody new? Made-up people who each like one style, a real model.

    python benchmarks/bench_tailoring.py [--quick] [--seeds 0 1 2] [--personas planted|inferred] [--json FILE]

Every question has an answer in each of eight styles; a person takes the one in theirs (`simulation.styled`), but for 5
% of choices in training. The persona is one sentence about the style ("planted"), or what was inferred from other
choices of that person ("inferred"). For each seed two models are tuned on the same rows with the same recipe, SFT and
then DPO on disjoint halves: PT with personas in front (arXiv 2501.11549), the other without; both are then given the
same persona text.

Nobody who is measured is in training. The eight sentences are, and so are the answers to the taught questions: those
ask whether the sentence picks the answer. Questions that no one was asked in training are measured beside them.
Accuracy is the share of choices whose chosen answer has the higher mean log probability of a token; *fits* compares a
choice with itself under two personas (see `evaluation.tailoring`). Texts are judged as well: *in style* is the share
of answers written to taught questions that are nearest, of the eight planted answers, to the one in the person's
style.
"""

from __future__ import annotations

import difflib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import arguments, machine, say

from persona_plugins.lora.chat import TunedChat
from persona_sdk.evaluation.tailoring import Setup, TailoringReport, arms_of, evaluate_tailoring
from persona_sdk.evaluation.tailoring_text import text_figures
from persona_sdk.hooks import PluginHost
from persona_sdk.inference import History
from persona_sdk.models import Message
from persona_sdk.settings import Settings
from persona_sdk.simulation.planted import TOPICS, TRAITS, PlantedPerson
from persona_sdk.simulation.styled import styled_people, write_styled
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.building import build_rows, personas_from, shown
from persona_sdk.tuning.examples import examples_of
from persona_sdk.tuning.prefixes import Knowledge, prefixer
from persona_sdk.tuning.recipes import Recipe, Stage
from persona_sdk.tuning.rows import SYSTEM, Example, Row
from persona_sdk.tuning.training.machine import look
from persona_sdk.tuning.training.run import Job, train

#: Questions asked in training, and others.
TAUGHT, NEW = range(20), range(20, 30)
#: Of nobody's; what the models say to it is in the report.
QUESTION = "How do I get rust off a bicycle chain?"
KINDS = {"planted": "gold", "inferred": "persona"}


@dataclass(frozen=True)
class World:
    """The rows to train on, what is known of those who are measured, and what they are asked, by what is asked."""

    rows: Mapping[str, Sequence[Row]]
    people: Sequence[PlantedPerson]
    knowledge: Knowledge
    asked: Mapping[str, Sequence[Example]]


def made_up(seed: int, options: Any) -> World:
    """Return people to train on and others to measure; of the latter the first choices are what is known of them."""
    size = options.size
    taught = styled_people(size["taught"], size["choices"], topics=TAUGHT, noise=0.05, seed=seed)
    measured = _renamed(styled_people(size["measured"], 12 + size["each"], topics=TAUGHT, seed=1000 + seed), "")
    others = _renamed(styled_people(size["measured"], size["each"], topics=NEW, seed=2000 + seed), "-new")
    known = [*_examples(taught), *(one for person in measured for one in _examples([person])[:12])]
    knowledge = _knowledge([*taught, *measured], taught, known, options.personas)
    made = prefixer(KINDS[options.personas], knowledge)
    teaching = _examples(taught)
    return World(
        rows={"pt": build_rows(teaching, made), "plain": build_rows(teaching, made, "none")},
        people=measured,
        knowledge=knowledge,
        asked={
            "taught questions": [one for person in measured for one in _examples([person])[12:]],
            "new questions": _examples(others),
        },
    )


def _renamed(people: Sequence[PlantedPerson], mark: str) -> list[PlantedPerson]:
    """Return the same people under names that nobody in training has; `mark` tells their choices apart."""
    renamed = []
    for one in people:
        user = f"measured-{one.user_id}"
        choices = [c.model_copy(update={"user_id": user, "id": f"measured{mark}-{c.id}"}) for c in one.choices]
        renamed.append(replace(one, user_id=user, choices=tuple(choices)))
    return renamed


def _examples(people: Sequence[PlantedPerson]) -> list[Example]:
    return [example for one in people for example in examples_of("default", one.user_id, one.choices)]


def _knowledge(
    people: Sequence[PlantedPerson], taught: Sequence[PlantedPerson], known: Sequence[Example], personas: str
) -> Knowledge:
    if personas == "planted":
        return Knowledge(gold={one.user_id: (TRAITS[one.trait][2],) for one in people})
    settings = Settings.load(database_url="sqlite://")
    inferrer = PluginHost(settings).registry.inferrer("contrastive", settings)
    population = inferrer.fit_population("default", [History(one.user_id, one.choices) for one in taught])
    histories = [History(one.user_id, one.choices) for one in people]
    return Knowledge(personas=personas_from(histories, inferrer, population, known), examples=shown(known))


def tuned(name: str, rows: Sequence[Row], seed: int, options: Any, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train an adapter and put it among the adapters; return how long it took, and what its card says."""
    half = len(rows) // 2
    stages = (
        Stage(method="sft", batch=4, epochs=options.sft / half, patience=0),
        Stage(
            method="dpo", batch=4, epochs=options.dpo / half, patience=0, losses=("sigmoid", "sft"), weights=(1.0, 0.5)
        ),
    )
    recipe = Recipe(name="bench", stages=stages, halves=True, evaluations=1)
    started = time.monotonic()

    def told(number: int, stages: int, method: str, step: int, steps: int) -> None:
        if step % 5 == 0:
            say(f"{name}: {method} {step}/{steps}, {time.monotonic() - started:.0f} s")

    job = Job(name, options.base, recipe, seed=seed, machine=look(), system=SYSTEM)
    made, card = train(job, rows, [], folder / f"work-{name}", told)
    Adapters(folder / "adapters").add(made, card)
    return time.monotonic() - started, {"recipe": recipe.model_dump(mode="json"), "metrics": dict(card.metrics)}


def one_seed(seed: int, options: Any, folder: Path) -> dict[str, Any]:
    """Train both models, and measure them and the base."""
    world = made_up(seed, options)
    trained = {name: tuned(f"{name}-{seed}", rows, seed, options, folder) for name, rows in world.rows.items()}
    model = TunedChat(folder / "adapters", base=options.base, system=SYSTEM, dtype=look().dtype, max_tokens=80)
    models = {"base": model.with_adapter(None), **{name: model.with_adapter(f"{name}-{seed}") for name in trained}}
    kind = KINDS[options.personas]
    figures: dict[str, dict[str, dict[str, float | None]]] = {}
    for what, asked in world.asked.items():
        arms = arms_of(models, [kind, f"shuffled:{kind}"])
        found = evaluate_tailoring(asked, world.knowledge, arms, Setup(system=SYSTEM))
        figures[what] = {name: of_model(found, name, kind) for name in models}
        for name, row in figures[what].items():
            say(f"seed {seed}, {what}, {name}: {row}")
    return {
        "seed": seed,
        "trained": {name: {"seconds": round(took), **card} for name, (took, card) in trained.items()},
        "figures": figures,
        "text": {name: written(one, world, kind) for name, one in models.items()},
        "said": {name: said(one, world, kind) for name, one in models.items()},
    }


def of_model(found: TailoringReport, name: str, kind: str) -> dict[str, float | None]:
    """Return one model's accuracy under each prefix, and what swapping the persona does."""
    own, none, other = (found.arms[f"{name}/{of}"] for of in (kind, "none", f"shuffled:{kind}"))
    swap = next(one for one in found.swaps if one.model_name == name)
    figures = {
        "own": own.accuracy["all"].value,
        "none": none.accuracy["all"].value,
        "other": other.accuracy["all"].value,
        "own, error": own.accuracy["all"].standard_error,
        "own, like length": own.controlled.value,
        "fits": swap.fits.value,
    }
    return {label: None if value is None else round(value, 3) for label, value in figures.items()}


def written(model: Any, world: World, kind: str) -> dict[str, Any]:
    """Let a model answer a taught question for two people of each trait, and judge the texts."""
    asked = world.people[: 2 * len(TRAITS)]
    examples = [_examples([person])[-1] for person in asked]
    answers = _answers(model, examples, world, kind)
    right = [style_of(one, answer) == who.trait for who, one, answer in zip(asked, examples, answers, strict=True)]
    text = text_figures(answers)
    return {"in style": statistics.fmean(right), "words": text.words, "repeats": text.repetition, "looped": text.looped}


def said(model: Any, world: World, kind: str) -> dict[str, dict[str, str]]:
    """Return what a model says to one person of each trait: to the last question of theirs, and to nobody's."""
    people = world.people[: len(TRAITS)]
    theirs = [_examples([person])[-1] for person in people]
    nobodys = [one.model_copy(update={"prompt": (Message(role="user", content=QUESTION),)}) for one in theirs]
    answers = iter(_answers(model, [*theirs, *nobodys], world, kind))
    told: dict[str, dict[str, str]] = {person.trait: {} for person in people}
    for examples in (theirs, nobodys):
        for person, example in zip(people, examples, strict=True):
            told[person.trait][example.question] = next(answers)
    return told


def _answers(model: Any, examples: Sequence[Example], world: World, kind: str) -> list[str]:
    makes = prefixer(kind, world.knowledge)
    rows = [Row(example=one, prefix=makes.prefix(one)) for one in examples]
    return [str(answer.content) for answer in model.batch([row.conversation(SYSTEM) for row in rows])]


def style_of(example: Example, answer: str) -> str:
    """Return the trait in whose style the planted answer is that an answer is nearest to."""
    topic = next(i for i, (question, *_) in enumerate(TOPICS) if question == example.question)
    near = {trait: difflib.SequenceMatcher(None, write_styled(topic, trait), answer).ratio() for trait in TRAITS}
    return max(near, key=lambda trait: near[trait])


def table(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the mean over seeds of every figure, and the lowest and highest."""
    for what, models in reports[0]["figures"].items():
        print(f"\n{what}")
        for name, figures in models.items():
            cells = [f"{label} {_over([one['figures'][what][name][label] for one in reports])}" for label in figures]
            print(f"  {name:6}" + "   ".join(cells))
    print("\nanswers to taught questions")
    for name, figures in reports[0]["text"].items():
        cells = [f"{label} {_over([one['text'][name][label] for one in reports])}" for label in figures]
        print(f"  {name:6}" + "   ".join(cells))
    took = [one["trained"][name]["seconds"] for one in reports for name in one["trained"]]
    print(f"\ntrained in {min(took)} to {max(took)} s each")


def _over(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.2f} ({min(known):.2f}–{max(known):.2f})" if known else "–"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--personas", choices=list(KINDS), default="planted")
    parser.add_argument("--sft", type=int, default=440, help="rows that SFT learns from")
    parser.add_argument("--dpo", type=int, default=24, help="pairs that DPO learns from")
    parser.add_argument("--base", default="local")
    options = parser.parse_args()
    options.size = {"taught": 48, "choices": 24, "measured": 24, "each": 2}
    if options.quick:
        options.size = {"taught": 16, "choices": 12, "measured": 8, "each": 1}
        options.seeds, options.sft, options.dpo = options.seeds[:1], min(options.sft, 32), min(options.dpo, 8)
    reports = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            reports.append(one_seed(seed, options, Path(folder)))
        if options.json:
            options.json.write_text(json.dumps({"machine": machine(), "reports": reports}, indent=1))
    print(f"\n{machine()}")
    table(reports)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
