"""What tools take: typed, bounded, and described for the models that fill it in."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from persona_sdk.models import MAX_IDENTIFIER, Identifier

__all__ = [
    "MAX_MESSAGES", "MAX_TEXT", "Arguments", "Ask", "Conversation", "List", "Personalise", "Preferred", "Rated", "Said",
    "Turn", "Version", "WhichTrait", "WithUser", "with_user",
]  # fmt: skip

#: Longest text of one argument in characters, and most messages of a conversation.
MAX_TEXT = 100_000
MAX_MESSAGES = 200

A = TypeVar("A", bound="Arguments")


def _listed(value: Any) -> Any:
    """Read a list that came as JSON text: some hosts write every argument as a string."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# Bounded strings cannot hold lone surrogates: pydantic refuses them.
Content: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT)]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
UserId: TypeAlias = Annotated[
    Identifier,
    Field(min_length=1, max_length=MAX_IDENTIFIER, description="Whom this is about: the id the app knows them by."),
]


class Arguments(BaseModel):
    """Base of what a tool takes, and all that a tool without arguments takes. What is unknown is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WithUser(BaseModel):
    """Whom a call is about, where the server is not bound to one person."""

    user_id: UserId


class Preferred(Arguments):
    """A choice between two answers."""

    prompt: Text = Field(description="What was asked.")
    chosen: Text = Field(description="The answer they took, in full.")
    rejected: Text = Field(description="The answer they did not take, in full.")


class Said(Arguments):
    """Something a person said."""

    text: Text = Field(description="Their own words, as they wrote them: not a summary, and not a guess.")


class Rated(Arguments):
    """A rating of an answer."""

    prompt: Text = Field(description="What was asked.")
    answer: Text = Field(description="The answer that was rated, in full.")
    score: float = Field(ge=-1, le=1, allow_inf_nan=False, description="1 thumbs up, -1 thumbs down, or in between.")


class WhichTrait(Arguments):
    """A trait, by its id."""

    trait_id: Text = Field(description="The trait's id, as get_persona lists it.")


class Version(Arguments):
    """A version of a persona."""

    version: int = Field(default=0, ge=0, description="The version to keep; 0 for the current one.")


class Ask(Arguments):
    """A question."""

    question: Text = Field(description="What the person asks.")


class Turn(Arguments):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content


class Conversation(Arguments):
    """A conversation so far."""

    messages: Annotated[
        list[Turn],
        Field(
            min_length=1,
            max_length=MAX_MESSAGES,
            description="The conversation so far, the person's question last.",
        ),
        BeforeValidator(_listed),
    ]


class Personalise(Arguments):
    """What the prompt is made for."""

    question: Content = Field(default="", description="Their question; the notes are then those that are about it.")


class List(Arguments):
    """A page of people."""

    limit: int = Field(default=100, ge=1, le=1000, description="How many, at most.")
    after: str = Field(default="", max_length=MAX_IDENTIFIER, description="The last id of the page before.")


def with_user(takes: type[A]) -> type[A]:
    """Return the same arguments and, in front of them, whom the call is about."""
    bases: tuple[Any, ...] = (takes, WithUser)
    return cast("type[A]", create_model(f"{takes.__name__}Of", __base__=bases, __doc__=takes.__doc__))
