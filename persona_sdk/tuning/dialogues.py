"""Dialogues in which an unstated persona shows turn by turn, as examples to tune on (ALOE, arXiv 2410.03642).

Each turn has a preferred and a rejected answer, and the dialogue went on from one of the two, drawn at random. What
a turn was answered on is that real path; the paper's code for SFT puts other turns in its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from persona_sdk.errors import InputError
from persona_sdk.interchange import Problem, read_lines
from persona_sdk.models import Frozen, Identifier, Message
from persona_sdk.signals import Text, input_error
from persona_sdk.tuning.rows import Example, Origin

__all__ = ["Dialogue", "Turn", "dialogue_from_row", "read_dialogues", "turn_examples"]


def _sentences(value: Any) -> Any:
    """Accept sentences as a list or as one text; nothing at all is none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


#: What is known of a person, a sentence each.
Sentences: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_sentences)]


class Turn(Frozen):
    """What the user said, two answers to it, which of them the dialogue went on from, and what had shown by then."""

    user: Text
    preferred: Text
    rejected: Text
    chosen: Literal["preferred", "rejected"] = "preferred"
    inferred_profile: Sentences = ()
    inferred_personality: Sentences = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """Accept the answer itself in place of its name."""
        if isinstance(data, dict) and isinstance(data.get("chosen"), str):
            for name in ("preferred", "rejected"):
                if data["chosen"] == data.get(name):
                    return {**data, "chosen": name}
        return data

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.preferred == self.rejected:
            raise ValueError("preferred and rejected are the same text, so nothing was preferred")
        return self

    @property
    def went_on_from(self) -> str:
        """The answer that the next turn replies to."""
        return self.preferred if self.chosen == "preferred" else self.rejected


class Dialogue(Frozen):
    """One person's dialogue: facts about them, their traits, and the turns; `user_id` is the same for one persona."""

    id: Identifier
    user_id: Identifier
    tenant: Identifier = "default"
    profile: Sentences = ()
    personality: Sentences = ()
    turns: tuple[Turn, ...] = Field(min_length=1)


def dialogue_from_row(row: Any, *, tenant: str = "default") -> Dialogue:
    """Turn one JSON object into a dialogue; fields that mean nothing here are left out.

    Without a `user_id` it is the same person's as all dialogues with this profile and personality, so that a split by
    person keeps a persona on one side. Without an `id` one is made from the content.

    Raises:
        InputError: naming the field that is missing or unusable, such as "turns.3.preferred".
    """
    if not isinstance(row, dict):
        raise InputError(f"a dialogue must be a JSON object, this is {type(row).__name__}")
    kept = {name: row[name] for name in Dialogue.model_fields if row.get(name) is not None}
    if isinstance(kept.get("turns"), list):
        kept["turns"] = [_known(turn) for turn in kept["turns"]]
    persona = {name: _sentences(row.get(name)) for name in ("profile", "personality")}
    made = {
        "id": f"dialogue-{_hash(kept)}",
        "user_id": f"persona-{_hash(persona)}" if any(persona.values()) else f"dialogue-{_hash(kept)}",
    }
    try:
        return Dialogue.model_validate({**made, **kept, "tenant": tenant})
    except ValidationError as error:
        raise input_error(error) from None


def read_dialogues(path: Path, *, tenant: str = "default") -> Iterator[Dialogue | Problem]:
    """Read a file of dialogues, one JSON object a line, yielding each, or what is wrong with its line.

    Blank lines are passed over; a line that cannot be read costs no other line.

    Raises:
        InputError: the file cannot be opened.
    """
    return (made for _, made in read_lines(path, lambda row: dialogue_from_row(row, tenant=tenant)))


def turn_examples(dialogue: Dialogue) -> list[Example]:
    """Return one example a turn: `prompt` is the real path so far, the user's new turn at its end.

    As preference rows they are the paper's DPO data; as SFT rows, each learning the preferred answer behind one more
    turn, its SFT data on every prefix of the dialogue, where `building.swapped` makes those of the rejected control.
    """
    path: tuple[Message, ...] = ()
    made: list[Example] = []
    for number, turn in enumerate(dialogue.turns, 1):
        path = (*path, Message(role="user", content=turn.user))
        made.append(
            Example(
                id=f"turn-{_hash([dialogue.tenant, dialogue.user_id, dialogue.id])}-{number}",
                origin=Origin(tenant=dialogue.tenant, user_id=dialogue.user_id, signals=(f"{dialogue.id}:{number}",)),
                prompt=path,
                chosen=turn.preferred,
                rejected=turn.rejected,
            )
        )
        path = (*path, Message(role="assistant", content=turn.went_on_from))
    return made


def _known(turn: Any) -> Any:
    if not isinstance(turn, dict):
        return turn
    return {name: turn[name] for name in Turn.model_fields if turn.get(name) is not None}


def _hash(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]
