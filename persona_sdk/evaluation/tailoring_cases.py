"""Whom tailoring is measured on: the last choices of each person are asked about, the earlier ones may be shown.

Personas are inferred anew from the earlier choices only. Of somebody an adapter was trained on, nothing is asked that
the adapter has learnt from, whoever divided their choices then.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from persona_sdk.errors import InputError
from persona_sdk.inference import Inferrer
from persona_sdk.memory import Consent
from persona_sdk.tuning.building import Source, histories_behind, personas_from, shown
from persona_sdk.tuning.cards import Card, lineage
from persona_sdk.tuning.prefixes import Knowledge
from persona_sdk.tuning.rows import Example, Row
from persona_sdk.tuning.splits import by_person, hold_out

__all__ = ["Cases", "Draw", "cases_of"]


@dataclass(frozen=True, slots=True)
class Draw:
    """What is asked: of `users` people (None: all) drawn at random at most `choices` each, of the last `held_out`."""

    users: int | None = None
    choices: int | None = None
    held_out: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cases:
    """What is asked about, what may be said in front, and whom tuned models were trained on (see `tailoring.Setup`).

    `learnt` counts held-out choices that are not asked about because an adapter has learnt from them, `without` people
    who are asked about and of whom nothing was inferred.
    """

    asked: tuple[Example, ...]
    knowledge: Knowledge
    trained: frozenset[str] | None
    learnt: int = 0
    without: int = 0


@dataclass(frozen=True, slots=True)
class _Divided:
    """Everybody's choices, by key: those to ask about, and those that may be shown."""

    asked: dict[str, list[Example]] = field(default_factory=dict)
    kept: list[Example] = field(default_factory=list)
    learnt: int = 0


def cases_of(
    source: Source,
    examples: Iterable[Example],
    inferrer: Inferrer | None,
    cards: Sequence[Card] = (),
    draw: Draw | None = None,
    *,
    consents: Mapping[str, Consent] | None = None,
) -> Cases:
    """Divide a tenant's examples, draw people, and infer their personas from what may be shown of them.

    The population that personas start from is fitted on what may be shown of everybody. Without an `inferrer` there
    are no personas. `cards` are those of the adapters that are measured.

    Raises:
        InputError: nobody has a choice that could be asked about, the examples are of several tenants, or an adapter is
            another tenant's.
        ModelError: nobody can be learnt from any more: the budget is spent, or the key refused.
    """
    draw = draw or Draw()
    listed = list(examples)
    tenant = _tenant(listed, cards)
    divided = _divided(listed, cards, draw)
    keys = list(divided.asked)
    if not keys:
        raise InputError(
            "there is nobody with a choice to ask about: that takes four choices between two answers, of which no "
            "adapter has learnt the last ones",
            field="examples",
        )
    if draw.users is not None and draw.users < len(keys):
        keys = random.Random(draw.seed).sample(keys, draw.users)  # noqa: S311 - a seeded draw
    asked = tuple(example for key in sorted(keys) for example in divided.asked[key][: draw.choices])
    people = {example.user_id for example in asked}
    personas = {}
    if inferrer is not None:
        population = inferrer.fit_population(tenant, histories_behind(source, divided.kept))
        theirs = [example for example in divided.kept if example.user_id in people]
        personas = personas_from(source, inferrer, population, theirs)
    knowledge = Knowledge(
        tenant=tenant, personas=personas, examples=shown(divided.kept), consents=dict(consents or {})
    )  # fmt: skip
    return Cases(
        asked=asked,
        knowledge=knowledge,
        trained=frozenset(one.key for card in cards for one in card.people) if cards else None,
        learnt=divided.learnt,
        without=len(people - personas.keys()) if inferrer is not None else 0,
    )


def _divided(examples: Sequence[Example], cards: Sequence[Card], draw: Draw) -> _Divided:
    learnt_by = [{one.key: frozenset(one.signals) for one in card.people} for card in cards]
    asked: dict[str, list[Example]] = {}
    kept: list[Example] = []
    learnt = 0
    for key, theirs in by_person(examples).items():
        earlier, last = hold_out(theirs, draw.held_out)
        kept += earlier
        pairs = [example for example in last if example.is_pair]
        new = [e for e in pairs if not any(_signals(e) & signals.get(key, frozenset()) for signals in learnt_by)]
        learnt += len(pairs) - len(new)
        if new:
            asked[key] = new
    return _Divided(asked, kept, learnt)


def _signals(example: Example) -> frozenset[str]:
    """Return an example's signals as cards name them."""
    return frozenset(signal for one in lineage([Row(example=example)]) for signal in one.signals)


def _tenant(examples: Sequence[Example], cards: Sequence[Card]) -> str:
    tenants = sorted({example.origin.tenant for example in examples}) or ["default"]
    if len(tenants) > 1:
        raise InputError(f"examples: are of {len(tenants)} tenants; measure each one's apart", field="tenant")
    other = [card.name for card in cards if card.tenant != tenants[0]]
    if other:
        raise InputError(f"adapter: {other[0]} is another tenant's; name one of this tenant's", field="adapter")
    return tenants[0]
