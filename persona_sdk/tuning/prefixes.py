"""What a model is told of a person in front of their question: every kind that the papers compare.

Kinds of papers 1 and 2 (arXiv 2501.11549, section 4; arXiv 2505.13257, "prefixes compared"), by name:

    none               nothing
    tag                a token that says who asks and nothing else
    name               the person's name
    few_shot           their own choices when asked the most similar things; few_shot_both with what they rejected
    persona            their persona, gated and rendered as the runtime does it
    gold               the true description; written: what they wrote of themselves
    pair               the persona inferred from this very choice, of the side that is taught
    retrieved          the persona of whoever was asked the most similar thing; retrieved_similar: among similar people
    system             one text for everybody
    shuffled:KIND      what KIND says of somebody else; "shuffled" is "shuffled:persona"

People's text is quoted as data in all of them. Whoever does not lend is in nobody else's prefix.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, TypeAlias

from persona_sdk.errors import InputError
from persona_sdk.gating import gate
from persona_sdk.inference import PairPersonas
from persona_sdk.language import Embedder
from persona_sdk.memory import Consent, person_key
from persona_sdk.models import ChatCall, Persona, Trait
from persona_sdk.notes import notes, past_choices
from persona_sdk.text import as_data
from persona_sdk.tuning.retrieving import Nearest
from persona_sdk.tuning.rows import Example, Origin, Prefix
from persona_sdk.tuning.shuffling import derangement
from persona_sdk.tuning.splits import question_key

__all__ = ["KINDS", "Knowledge", "PrefixOptions", "Prefixer", "Side", "prefixer"]

#: Which of the two answers is taught as the better one.
Side: TypeAlias = Literal["chosen", "rejected"]
#: What a prefix says, and of whose signals it is made.
_Said: TypeAlias = tuple[str, tuple[Origin, ...]]
_NOTHING: _Said = ("", ())
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What prefixes may be made of, for one tenant: by user id, and `pairs` by example id.

    `examples` are what may be shown of people: the part that is trained on, each person's in their order. `gold` are
    sentences. `similar` are user ids, the most similar first. `system` is the text for everybody; `system_origins` is
    whose words it holds, where it holds any that only one person used. Who is not in `consents` consents to all.
    """

    tenant: str = "default"
    personas: Mapping[str, Persona] = field(default_factory=dict)
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    gold: Mapping[str, Sequence[str]] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, PairPersonas] = field(default_factory=dict)
    similar: Mapping[str, Sequence[str]] = field(default_factory=dict)
    consents: Mapping[str, Consent] = field(default_factory=dict)
    system: str = ""
    system_origins: tuple[Origin, ...] = ()

    def consent(self, user_id: str) -> Consent:
        """Return what a person consents to."""
        return self.consents.get(user_id) or Consent()


@dataclass(frozen=True, slots=True)
class PrefixOptions:
    """`max_tokens` (estimated) for notes; `shots` examples, with answers cut at `clip` characters.

    `embedder` compares questions by meaning where one is retrieved by; without one they are compared by their words.
    """

    max_tokens: int = 120
    shots: int = 2
    clip: int = 400
    seed: int = 0
    embedder: Embedder | None = None


class Prefixer(ABC):
    """Makes one kind of prefix."""

    #: The name of the kind.
    kind: ClassVar[str]
    #: Whether what it says depends on the side that is taught.
    sided: ClassVar[bool] = False
    #: Whether somebody else's can be said instead, as a control.
    personal: ClassVar[bool] = False

    def __init__(self, knowledge: Knowledge, options: PrefixOptions) -> None:
        self.knowledge, self.options = knowledge, options

    @property
    def label(self) -> str:
        """What is written as the kind of its prefixes."""
        return self.kind

    def prefix(self, example: Example, *, side: Side = "chosen") -> Prefix:
        """Return what is said in front of an example; a prefix of this kind without text where there is nothing to say.

        Raises:
            InputError: the example is another tenant's than what is known.
        """
        if example.origin.tenant != self.knowledge.tenant:
            raise InputError(
                "tenant: this example is another tenant's than the knowledge; make a Knowledge for each tenant",
                field="tenant",
            )
        text, origins = self.said(example, side)
        return Prefix(kind=self.label, text=text, origins=tuple(dict.fromkeys(origins)) if text else ())

    @abstractmethod
    def said(self, example: Example, side: Side) -> _Said:
        """Return the text and whose signals are in it; "" for nothing."""

    def known(self) -> Mapping[str, object]:
        """Return, for everyone it has something personal of, what that says: equal where two people's are equal."""
        return {}

    def _whose(self, example: Example, *signals: str, persona: int = 0) -> tuple[Origin, ...]:
        return (Origin(tenant=self.knowledge.tenant, user_id=example.user_id, signals=signals, persona=persona),)

    def _notes(self, sentences: Sequence[str]) -> str:
        """Return sentences as notes, as many as fit, the first ones first; "" where none does."""
        said = [s for s in sentences if as_data(s)]
        traits = [
            Trait(key=f"text:{n}", statement=s, weight=0.0, interval=(0.0, 0.0), status="pinned")
            for n, s in enumerate(said)
        ]
        block, used = notes(traits, 1, self.options.max_tokens)
        return block if used else ""

    def _persona(self, persona: Persona | None, asked: Example) -> _Said:
        """Return what a persona has to say about a question, as the runtime would say it."""
        if not persona:
            return _NOTHING
        call = ChatCall(messages=asked.prompt, user_id=persona.user_id, tenant=persona.tenant)
        block, used = notes(
            gate(persona, call).traits, persona.lineage.worded or persona.version, self.options.max_tokens
        )
        if not used:
            return _NOTHING
        signals = dict.fromkeys(evidence.signal_id for trait in used for evidence in trait.evidence)
        # A persona inferred anew, from some signals only, is none of the versions that memory holds.
        version = persona.version if persona.lineage.through else 0
        origin = Origin(tenant=persona.tenant, user_id=persona.user_id, signals=tuple(signals), persona=version)
        return block, (origin,)


class _None(Prefixer):
    kind = "none"

    def said(self, example: Example, side: Side) -> _Said:
        return _NOTHING


class _Tag(Prefixer):
    kind = "tag"

    def said(self, example: Example, side: Side) -> _Said:
        return f"This is user {person_key(self.knowledge.tenant, example.user_id)[:8]}.", self._whose(example)


class _Name(Prefixer):
    kind = "name"
    personal = True

    def said(self, example: Example, side: Side) -> _Said:
        name = as_data(self.knowledge.names.get(example.user_id, ""), 80)
        return (f"The user's name is '{name}'.", self._whose(example)) if name else _NOTHING

    def known(self) -> Mapping[str, object]:
        return self.knowledge.names


class _Persona(Prefixer):
    kind = "persona"
    personal = True

    def said(self, example: Example, side: Side) -> _Said:
        return self._persona(self.knowledge.personas.get(example.user_id), example)

    def known(self) -> Mapping[str, object]:
        return {u: tuple(t.statement for t in p.traits) for u, p in self.knowledge.personas.items() if p}


class _Gold(Prefixer):
    kind = "gold"
    personal = True

    def said(self, example: Example, side: Side) -> _Said:
        return self._notes(self.knowledge.gold.get(example.user_id, ())), self._whose(example)

    def known(self) -> Mapping[str, object]:
        return {user: tuple(sentences) for user, sentences in self.knowledge.gold.items() if sentences}


class _Written(Prefixer):
    kind = "written"
    personal = True

    def said(self, example: Example, side: Side) -> _Said:
        return self._notes(_SENTENCE.split(self.knowledge.written.get(example.user_id, ""))), self._whose(example)

    def known(self) -> Mapping[str, object]:
        return {user: text for user, text in self.knowledge.written.items() if text.strip()}


class _System(Prefixer):
    kind = "system"

    def said(self, example: Example, side: Side) -> _Said:
        return self._notes(_SENTENCE.split(self.knowledge.system)), self.knowledge.system_origins


class _Pair(Prefixer):
    kind = "pair"
    sided = True

    def said(self, example: Example, side: Side) -> _Said:
        sentence = _of_side(self.knowledge.pairs.get(example.id), side)
        return (self._notes([sentence]), (example.origin,)) if sentence else _NOTHING


class _FewShot(Prefixer):
    kind = "few_shot"
    personal = True
    both: ClassVar[bool] = False

    def said(self, example: Example, side: Side) -> _Said:
        shots = self._nearest(example)
        if not shots:
            return _NOTHING
        told = [(one.question, one.chosen or "", one.rejected if self.both else None) for one in shots]
        signals = (signal for one in shots for signal in one.origin.signals)
        return past_choices(told, self.options.clip), self._whose(example, *signals)

    def known(self) -> Mapping[str, object]:
        return {user: user for user, (shown, _) in self._shown.items() if shown}

    @cached_property
    def _shown(self) -> dict[str, tuple[list[Example], Nearest]]:
        """Of each person what can be shown, and what finds the nearest of it; the embedder is asked for all of it."""
        shown = {
            user: [one for one in theirs if one.chosen is not None and (one.is_pair or not self.both)]
            for user, theirs in self.knowledge.examples.items()
        }
        embedder = self.options.embedder
        return {user: (these, Nearest([one.question for one in these], embedder)) for user, these in shown.items()}

    def _nearest(self, example: Example) -> list[Example]:
        """Return the most similar choices; where fewer are similar at all, the newest of the others."""
        shown, nearest = self._shown.get(example.user_id, ([], Nearest([])))
        ranked = [place for place, _ in nearest.ranked(example.question)]
        order = dict.fromkeys([*ranked, *range(len(shown) - 1, -1, -1)])
        asked = question_key(example)
        others = [shown[p] for p in order if shown[p].id != example.id and question_key(shown[p]) != asked]
        return others[: self.options.shots]


class _FewShotBoth(_FewShot):
    kind = "few_shot_both"
    both = True


class _Retrieved(Prefixer):
    kind = "retrieved"
    sided = True

    def said(self, example: Example, side: Side) -> _Said:
        if not self.knowledge.consent(example.user_id).borrow:
            return _NOTHING
        shown, nearest = self._others
        among = self.among(example.user_id)
        for place, cosine in nearest.ranked(example.question):
            if cosine < nearest.floor:
                break
            found = shown[place]
            if found.user_id == example.user_id or (among is not None and found.user_id not in among):
                continue
            said = self._of(found, example, side)
            if said[0]:
                return said
        return _NOTHING

    def among(self, user_id: str) -> frozenset[str] | None:
        """Return whose choices are looked at, None for everybody's."""
        return None

    def _of(self, found: Example, asked: Example, side: Side) -> _Said:
        sentence = _of_side(self.knowledge.pairs.get(found.id), side)
        if sentence:
            return self._notes([sentence]), (found.origin,)
        # A persona says what is chosen; of what would be rejected it says nothing.
        persona = self.knowledge.personas.get(found.user_id) if side == "chosen" else None
        return self._persona(persona, asked)

    @cached_property
    def _others(self) -> tuple[list[Example], Nearest]:
        knowledge = self.knowledge
        shown = [
            one
            for user in sorted(knowledge.examples)
            if knowledge.consent(user).lend
            for one in knowledge.examples[user]
        ]
        return shown, Nearest([one.question for one in shown], self.options.embedder)


class _RetrievedSimilar(_Retrieved):
    kind = "retrieved_similar"

    def among(self, user_id: str) -> frozenset[str] | None:
        return frozenset(self.knowledge.similar.get(user_id, ()))


class _Shuffled(Prefixer):
    """What another kind says of somebody else: always the same other person for one seed."""

    kind = "shuffled"

    def __init__(self, inner: Prefixer) -> None:
        super().__init__(inner.knowledge, inner.options)
        self._inner = inner
        known, consent = inner.known(), inner.knowledge.consent
        lenders = {user for user in known if consent(user).lend}
        self._instead = derangement(known, lenders, inner.options.seed)

    @property
    def label(self) -> str:
        return f"{self.kind}:{self._inner.kind}"

    def said(self, example: Example, side: Side) -> _Said:
        other = self._instead.get(example.user_id)
        if other is None:
            return _NOTHING
        theirs = Origin(tenant=self.knowledge.tenant, user_id=other)
        return self._inner.said(example.model_copy(update={"origin": theirs}), side)


_MAKERS: Mapping[str, Callable[[Knowledge, PrefixOptions], Prefixer]] = {
    maker.kind: maker
    for maker in (
        _None, _Tag, _Name, _FewShot, _FewShotBoth, _Persona, _Gold, _Written, _Pair, _Retrieved, _RetrievedSimilar,
        _System,
    )
}  # fmt: skip
#: The kinds of prefixes there are, beside "shuffled:" and one of the personal ones.
KINDS = (*_MAKERS, _Shuffled.kind)


def prefixer(kind: str, knowledge: Knowledge, options: PrefixOptions | None = None) -> Prefixer:
    """Return what makes prefixes of a kind, out of what is known.

    Raises:
        InputError: there is no such kind, or nothing personal in it that could be shuffled.
    """
    name, _, inner = kind.partition(":")
    if name == _Shuffled.kind:
        made = prefixer(inner or _Persona.kind, knowledge, options)
        if not made.personal:
            raise InputError(f"prefix: {made.label} says nothing personal that could be shuffled", field="prefix")
        return _Shuffled(made)
    if kind not in _MAKERS:
        raise InputError(f"prefix: no kind of that name, there are {', '.join(KINDS)}", field="prefix")
    return _MAKERS[kind](knowledge, options or PrefixOptions())


def _of_side(pair: PairPersonas | None, side: Side) -> str:
    return (getattr(pair, side) or "") if pair is not None else ""
