"""Language models as this SDK uses them: LangChain's own interfaces, and the one thing those lack, likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["ChatModel", "Embedder", "Journal", "LikelihoodModel", "LogLikelihood", "Messages", "Spent"]

#: A conversation: OpenAI-shaped messages.
Messages: TypeAlias = Sequence[Mapping[str, Any]]


@runtime_checkable
class ChatModel(Protocol):
    """Anything with LangChain's `Runnable.invoke`: a conversation in, an `AIMessage` out."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        """Answer a conversation."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Anything with LangChain's `Embeddings.embed_documents`."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        ...


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """How likely a model finds an answer: the sum of its tokens' log probabilities, in nats, and their number."""

    total: float
    tokens: int


@runtime_checkable
class LikelihoodModel(Protocol):
    """A model that can say how likely it finds an answer somebody else wrote."""

    def log_likelihoods(self, asked: Sequence[tuple[Messages, str]]) -> list[LogLikelihood]:
        """Return, for each conversation and answer, the log-likelihood of that answer, the end of the turn included."""
        ...


class Journal(Protocol):
    """What models answered before, one person's, kept so that nothing is asked, or paid for, twice.

    Keys are digests of the whole question: model, messages, schema. An entry is durable when `put` returns, and is
    erased when its person is forgotten.
    """

    def get(self, digests: Sequence[str]) -> dict[str, str]:
        """Return the answers known, by digest."""
        ...

    def put(self, answers: Mapping[str, str]) -> None:
        """Keep answers by digest; those known already are left as they are."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What asking models has taken so far. Tokens and `cost` (in the currency of the prices) cover chat models only.

    `calls` were answered by a model, `known` by the journal; `retried` had to be asked again after a fault, `repaired`
    after an answer that could not be read, `failed` gave nothing in the end. `scored` counts answers that were scored
    for a sentence by a model.
    """

    calls: int = 0
    known: int = 0
    retried: int = 0
    repaired: int = 0
    failed: int = 0
    scored: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f) - getattr(other, f) for f in self.__dataclass_fields__))
