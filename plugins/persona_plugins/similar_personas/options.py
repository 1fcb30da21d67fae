"""What the plugin can be told in `Settings.options["similar_personas"]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from persona_sdk.errors import SettingsError

__all__ = ["Options"]


class Options(BaseModel):
    """How people are compared, and what they lend.

    A trait is lent only if at least `k` people hold it, and numbers only as sums over at least as many; with `agree`
    above 1, only where so many of those lean the same way. Tenants in `no_lending` are not compared at all, those in
    `no_borrowing` are compared, but nothing is borrowed. `shots` is how many of a person's own past choices the model
    is shown, `candidates` how many answers are asked for where only what is borrowed can tell which is best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(default=5, ge=2, le=1000)
    agree: int = Field(default=1, ge=1, le=30)
    shots: int = Field(default=2, ge=1, le=20)
    candidates: int = Field(default=1, ge=1, le=16)
    no_lending: frozenset[str] = frozenset()
    no_borrowing: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Read what was given.

        Raises:
            SettingsError: naming the option that is unknown or impossible.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(cls.model_fields)
            raise SettingsError(f"similar_personas: option {name!r}: {first['msg']}; known are {known}") from None
