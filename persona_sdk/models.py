"""The nouns: messages, traits, personas, chat calls. All frozen, because they cross plugin borders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "ChatCall",
    "Evidence",
    "GateDecision",
    "HeldOutMethod",
    "Identifier",
    "Lift",
    "Lineage",
    "Loan",
    "Message",
    "Persona",
    "TailorStep",
    "Tailored",
    "Trait",
    "TraitKind",
    "TraitStatus",
    "trait_id",
]

TraitKind: TypeAlias = Literal["preference", "style", "fact", "personality"]
#: How choices are held out: closed form, each from those before it, or by refitting on folds.
HeldOutMethod: TypeAlias = Literal["leave-one-out", "one-step-ahead", "cross-validation"]
TraitStatus: TypeAlias = Literal["proposed", "verified", "pinned", "rejected"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: Longest identifier, in characters.
MAX_IDENTIFIER = 512


def _identifier(value: str) -> str:
    """Identifiers travel into SQL, logs and file names: printable and bounded, otherwise the caller's business."""
    if not value.strip():
        raise ValueError("is empty")
    if len(value) > MAX_IDENTIFIER:
        raise ValueError(f"has {len(value):,} characters, more than {MAX_IDENTIFIER}")
    if _CONTROL.search(value):
        raise ValueError("contains control characters")
    if _SURROGATE.search(value):
        raise ValueError("is not valid Unicode (a lone surrogate)")
    return value


Identifier: TypeAlias = Annotated[str, AfterValidator(_identifier)]


def utc_now() -> datetime:
    """Return the present moment, timezone-aware."""
    return datetime.now(UTC)


class Frozen(BaseModel):
    """Base of every noun: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class Message(Frozen):
    """One message of a conversation, OpenAI-shaped.

    `content` is text, a list of content parts (kept as they are), or None for a message that only calls tools.
    Unknown keys (`tool_calls`, `name`, …) are kept, so that a message survives the round trip unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    role: str
    content: str | list[Any] | None = None

    @property
    def text(self) -> str:
        """The text of this message, content parts that are text joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        parts = (p.get("text") if isinstance(p, Mapping) else p for p in self.content or ())
        return "\n".join(p for p in parts if isinstance(p, str))


class Evidence(Frozen):
    """One signal behind a trait: `influence` is how much it moved the weight (log-odds); `quote` is verbatim."""

    signal_id: str
    influence: float = 0.0
    quote: str | None = None


def trait_id(key: str, polarity: str, scope: Sequence[str] = ()) -> str:
    """Return the id of a trait: "style:length/against", or "style:length@email+work/against" where it has a scope."""
    return f"{key}@{'+'.join(sorted(scope))}/{polarity}" if scope else f"{key}/{polarity}"


class Trait(Frozen):
    """One thing that is true of a person, in a sentence.

    `key` is what the trait is about ("style:length"), `id` adds the direction ("style:length/against"): tombstones and
    pins refer to it, so that someone who took back "wants it short" can still say that they want it long. `weight` is
    the change in the log-odds of a choice for a typical difference in what the trait is about, positive when the person
    goes for it; `interval` is its 80 % credible interval. `scope` holds the words of the topics where the trait was
    seen to hold, empty for everywhere. A trait a person stated has `quote` in its evidence and `stated` set.
    """

    key: str
    statement: str
    kind: TraitKind = "preference"
    polarity: Literal["for", "against"] = "for"
    scope: tuple[str, ...] = ()
    weight: float
    interval: tuple[float, float]
    evidence: tuple[Evidence, ...] = ()
    status: TraitStatus = "proposed"
    stated: bool = False
    inferrer: str = ""

    @property
    def id(self) -> str:
        """Identity including direction and scope: what a tombstone or a pin refers to."""
        return trait_id(self.key, self.polarity, self.scope if self.stated else ())


class Lift(Frozen):
    """How well a person's held-out choices are predicted, with and without the persona.

    `accuracy_*` are shares of `choices` predicted right (a tie counts half); `score_*` are mean log probabilities of
    what was chosen, in nats, so that 0 is certainty and log ½ ≈ −0.693 a coin. *without* is the population only,
    *other* another user's persona, None when there is no other user. `method` says how choices were held out.
    """

    choices: int
    accuracy_with: float
    accuracy_without: float
    accuracy_other: float | None = None
    score_with: float
    score_without: float
    score_other: float | None = None
    method: HeldOutMethod = "leave-one-out"

    def __str__(self) -> str:
        other = "–" if self.accuracy_other is None else f"{self.accuracy_other:.0%}"
        return (
            f"predicts {self.accuracy_with:.0%} of {self.choices} held-out choices "
            f"(without persona {self.accuracy_without:.0%}, another user's {other}; {self.method})"
        )


class Lineage(Frozen):
    """Where a persona version came from: `through` is the sequence number of the last signal it has read.

    `worded` is the version since which the traits have read the same, 0 for this one: prompts name that version, so
    that they stay the same to the byte while only weights move.
    """

    inferrer: str = ""
    population: str = ""
    through: int = 0
    signals: int = 0
    parent: int | None = None
    worded: int = 0
    reason: str = ""


class Persona(Frozen):
    """What is known of one person: traits with evidence, how well they predict, and where they came from.

    Version 0 means that there is no persona yet; `note` then says why. Falsy when there is nothing to say.
    """

    tenant: str = "default"
    user_id: str
    version: int = 0
    traits: tuple[Trait, ...] = ()
    summary: str = ""
    lift: Lift | None = None
    lineage: Lineage = Lineage()
    note: str = ""
    pinned: bool = False
    at: datetime = Field(default_factory=utc_now)

    def __bool__(self) -> bool:
        return bool(self.traits)

    def trait(self, key: str) -> Trait | None:
        """Return the trait with this key, or None."""
        return next((t for t in self.traits if t.key == key), None)


class ChatCall(Frozen):
    """A call about to be made to a chat model; tailors return changed copies made with `override`.

    `n` is how many answers are asked for (best-of-n raises it); `model` and `adapter` name what should answer, None
    for the app's own choice; `params` are sampling parameters passed through.
    """

    messages: tuple[Message, ...]
    user_id: Identifier
    tenant: Identifier = "default"
    model: str | None = None
    adapter: str | None = None
    n: int = Field(default=1, ge=1)
    params: Mapping[str, Any] = Field(default_factory=dict)

    def override(self, **changes: Any) -> Self:
        """Return a copy with `changes`; messages not mentioned stay the very same objects."""
        return self.model_copy(update=changes)

    @property
    def question(self) -> str:
        """The text of the last user message, "" when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class GateDecision(Frozen):
    """Whether a persona has something to say about a call, which traits, and why the others stay silent."""

    open: bool
    reason: str
    traits: tuple[Trait, ...] = ()
    silent: Mapping[str, str] = Field(default_factory=dict)


class Loan(Frozen):
    """Something that several similar people prefer, in words that none of them alone is known by."""

    statement: str
    people: int


class TailorStep(Frozen):
    """What one tailor did to a call: `traits` are the keys it used, `skipped` says why it did nothing.

    `borrowed` is what it used of other people's; nothing of that is known of this person.
    """

    tailor: str
    traits: tuple[str, ...] = ()
    tokens_added: int = 0
    skipped: str = ""
    detail: str = ""
    borrowed: tuple[Loan, ...] = ()


class Tailored(Frozen):
    """A tailored call: what to send, and why it looks the way it does.

    `call_id` is what later feedback refers to (`response_id`). Iterating or indexing gives the messages as dicts,
    ready for any OpenAI-shaped client.
    """

    call_id: str
    call: ChatCall
    persona_version: int = 0
    gate: GateDecision
    steps: tuple[TailorStep, ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages to send, as fresh OpenAI-shaped dicts."""
        return [m.model_dump(exclude_unset=True) for m in self.call.messages]

    @property
    def changed(self) -> bool:
        """Whether any tailor did something to the call."""
        return any(not s.skipped for s in self.steps)

    @property
    def tokens_added(self) -> int:
        """Prompt tokens added by all tailors together (estimated)."""
        return sum(s.tokens_added for s in self.steps)
