"""What similar people lend: traits that several of them hold in the same general words, so that it is nobody's own.

A trait is lent if at least k people among those given hold the same one: the same key, direction and scope, and the
same sentence once it is put in general words (`in_general`). No fact is lent, no evidence, no quote, and nothing in a
sentence that one person alone is known by. A borrowed trait never goes against what is known of the borrower: what
they have a trait about, have ruled on, or lean away from themselves is not lent to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from persona_plugins.similar_personas.general import in_general
from persona_sdk.memory import Memory, Verdict
from persona_sdk.models import Loan, Persona, Trait
from persona_sdk.text import content_words

__all__ = ["CLEARLY", "Lendable", "Own", "leaning_name", "loans", "not_against", "spoken_of"]

#: Where similar people contradict each other, one side must have so many times the similarity of the other.
CLEARLY = 2.0
#: Words that every sentence about a preference may have: they do not say what it is about.
_FRAME = content_words(
    "prefers preferring likes enjoys wants goes chooses avoids dislikes turns comfortable answers answer user being"
)


class _Held(NamedTuple):
    """What must be the same for a trait to be the same."""

    key: str
    polarity: str
    scope: tuple[str, ...]
    statement: str


@dataclass(frozen=True, slots=True)
class Lendable:
    """A trait in general words, without evidence, that `people` hold; `alikeness` is their similarity, summed."""

    trait: Trait
    people: int
    alikeness: float

    @property
    def loan(self) -> Loan:
        """What an explanation shows of it."""
        return Loan(statement=self.trait.statement, people=self.people)

    def same_as(self, trait: Trait) -> bool:
        """Whether somebody's trait is this one, put in general words."""
        mine = self.trait
        return _held(trait) == _Held(mine.key, mine.polarity, mine.scope, mine.statement)


@dataclass(slots=True)
class _Holders:
    """Who holds a trait: their similarity by user id, and the traits as they have them."""

    similarity: dict[str, float] = field(default_factory=dict)
    traits: dict[str, Trait] = field(default_factory=dict)

    @property
    def alikeness(self) -> float:
        return sum(self.similarity.values())

    def lendable(self, held: _Held) -> Lendable:
        weight = sum(self.similarity[user] * trait.weight for user, trait in self.traits.items()) / self.alikeness
        trait = Trait(
            key=held.key,
            statement=held.statement,
            kind=min(trait.kind for trait in self.traits.values()),
            polarity="for" if held.polarity == "for" else "against",
            scope=held.scope,
            weight=weight,
            interval=(weight, weight),
            status="verified",
        )
        return Lendable(trait, len(self.traits), self.alikeness)


def loans(personas: Sequence[tuple[float, Persona]], k: int) -> list[Lendable]:
    """Return what people may lend together, given their similarities (> 0) and personas; the most alike first.

    One per key at most: where they contradict each other, the side with clearly more similarity, or neither.
    """
    people = {persona.user_id: (similarity, persona) for similarity, persona in reversed(personas) if similarity > 0}
    holders: defaultdict[_Held, _Holders] = defaultdict(_Holders)
    sides: defaultdict[tuple[str, str], list[tuple[str, float, frozenset[str]]]] = defaultdict(list)
    for user_id, (similarity, persona) in people.items():
        for trait in persona.traits:
            if trait.status not in ("verified", "pinned"):
                continue
            sides[trait.key, trait.polarity].append((user_id, similarity, frozenset(trait.scope)))
            held = _held(trait)
            if held is not None:
                holders[held].similarity[user_id] = similarity
                holders[held].traits[user_id] = trait
    offered = [h.lendable(held) for held, h in holders.items() if len(h.traits) >= k]
    offered.sort(key=lambda o: (-o.alikeness, o.trait.id, o.trait.statement))
    found: dict[str, Lendable] = {}
    for one in offered:
        if one.alikeness >= CLEARLY * _contrary(one.trait, sides):
            found.setdefault(one.trait.key, one)
    return list(found.values())


def _held(trait: Trait) -> _Held | None:
    """Return what a trait is in general words, None if it may not be lent however many hold it."""
    if trait.kind == "fact":
        return None
    statement = in_general(trait.statement)
    return _Held(trait.key, trait.polarity, tuple(sorted(trait.scope)), statement) if statement else None


def _contrary(trait: Trait, sides: Mapping[tuple[str, str], Iterable[tuple[str, float, frozenset[str]]]]) -> float:
    """Return the similarity of those who hold the contrary of a trait, in whatever words, where it would apply."""
    other = "against" if trait.polarity == "for" else "for"
    scope = frozenset(trait.scope)
    against = {
        user_id: similarity
        for user_id, similarity, where in sides.get((trait.key, other), ())
        if not scope or not where or scope & where
    }
    return sum(against.values())


@dataclass(frozen=True, slots=True)
class Own:
    """What is known of the borrower: their traits, their rulings, and what they lean to."""

    traits: Sequence[Trait] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, memory: Memory, tenant: str, user_id: str, traits: Sequence[Trait] = ()) -> Own:
        """Read what is known of a person. `traits` are known of them, too, should memory not tell them in time."""
        current, leaning = memory.current(tenant, user_id), memory.leaning(tenant, user_id)
        mine = (*traits, *(current.traits if current else ()))
        return cls(mine, memory.verdicts(tenant, user_id), leaning.weights if leaning else {})


def not_against(offered: Iterable[Lendable], own: Own) -> list[Lendable]:
    """Leave out what the borrower has a trait about, has ruled on either way, or leans away from."""
    subjects = {trait.key for trait in own.traits} | {_subject(key) for key in own.verdicts}
    said = [*(t.statement for t in own.traits), *(v.statement for v in own.verdicts.values())]
    about = [words for statement in said if (words := content_words(statement) - _FRAME)]
    kept: list[Lendable] = []
    for one in offered:
        mine = content_words(one.trait.statement) - _FRAME
        # Another inferrer may have said the same under another key: then the words are what can be compared.
        again = bool(mine) and any(mine <= other or other <= mine for other in about)
        if one.trait.key not in subjects and not again and not _leans_away(one.trait, own.weights):
            kept.append(one)
    return kept


def _subject(ruled: str) -> str:
    """Return the key of what was ruled on: a verdict is kept by the trait's id, "style:length@work/against"."""
    head, slash, polarity = ruled.rpartition("/")
    key = head if slash and polarity in ("for", "against") else ruled
    return key.partition("@")[0]


def leaning_name(key: str) -> str:
    """Return the name that leanings know a trait's subject by, "" if they do not.

    Keys and names are the inferrer's own, and of one making: what is weighed as "s:length" is told as "style:length",
    and what is weighed under any other NAME as "choice:NAME". More of it is a weight above 0, and the polarity "for".
    Without this, someone whose few choices are all for long answers could be lent a liking for short ones.
    """
    group, _, what = key.partition(":")
    return {"style": f"s:{what}", "choice": what}.get(group, "")


def _leans_away(trait: Trait, weights: Mapping[str, float]) -> bool:
    """Whether one's own choices, few as they are, point the other way: they count more than what others prefer."""
    sign = 1.0 if trait.polarity == "for" else -1.0
    if weights.get(leaning_name(trait.key), 0.0) * sign < 0:
        return True
    return weights.get(f"h:{trait.statement}", 0.0) < 0  # a sentence is weighed as it stands, whatever its polarity


def spoken_of(own: Own) -> frozenset[str]:
    """Return the names of leanings that the borrower has spoken about: said outright, asked to keep, or took back."""
    said = {t.key for t in own.traits if t.stated or t.status == "pinned"} | {_subject(key) for key in own.verdicts}
    return frozenset(filter(None, map(leaning_name, said)))
