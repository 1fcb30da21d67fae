"""Signals and personas as JSON text that both databases store without loss, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from persona_sdk.calls import AnsweredCall
from persona_sdk.errors import InputError, StorageError
from persona_sdk.inference import Population
from persona_sdk.models import Persona
from persona_sdk.signals import Signal, parse_signal

__all__ = ["dump", "dump_state", "load_call", "load_persona", "load_population", "load_signal", "load_state"]


def dump(model: BaseModel, what: str) -> str:
    """Return `model` as JSON; control characters, NUL included, come out escaped, and infinities survive.

    Raises:
        InputError: it holds something that JSON or UTF-8 cannot carry.
    """
    try:
        # Not model_dump_json: it turns infinities into null, which cannot be read back.
        encoded = json.dumps(model.model_dump(mode="json"), ensure_ascii=False)
    except ValueError:  # pydantic's own for what is no JSON is one, and one for what is nested too deeply
        raise InputError(f"{what}: holds an object that is not JSON-ready", field=what) from None
    return _utf8(encoded, what)


def dump_state(state: Mapping[str, Any] | None) -> str | None:
    """Return an inferrer's state as JSON, None for None.

    Raises:
        InputError: it is not JSON-ready.
    """
    if state is None:
        return None
    try:
        return json.dumps(dict(state))
    except (TypeError, ValueError):
        raise InputError("state: holds an object that is not JSON-ready", field="state") from None


def _utf8(encoded: str, what: str) -> str:
    try:
        encoded.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{what}: holds text that is not valid Unicode (a lone surrogate)", field=what) from None
    return encoded


def load_signal(stored: str) -> Signal:
    """Return the signal that was dumped as `stored`."""
    try:
        return parse_signal(stored)
    except InputError as error:
        raise _unreadable("a signal", error.field or "not JSON") from None


def load_persona(stored: str) -> Persona:
    """Return the persona that was dumped as `stored`."""
    try:
        return Persona.model_validate_json(stored)
    except ValidationError as error:
        raise _unreadable("a persona", _where(error)) from None


def load_call(stored: str) -> AnsweredCall:
    """Return the answered call that was dumped as `stored`."""
    try:
        return AnsweredCall.model_validate_json(stored)
    except ValidationError as error:
        raise _unreadable("an answered call", _where(error)) from None


def load_population(stored: str) -> Population:
    """Return the population that was dumped as `stored`."""
    try:
        return Population.model_validate_json(stored)
    except ValidationError as error:
        raise _unreadable("a population", _where(error)) from None


def load_state(stored: str | None) -> Mapping[str, Any] | None:
    """Return the state that was dumped as `stored`."""
    if stored is None:
        return None
    try:
        state: dict[str, Any] = json.loads(stored)
    except ValueError:
        raise _unreadable("a state", "not JSON") from None
    return state


def _where(error: ValidationError) -> str:
    return ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"])) or "not JSON"


def _unreadable(what: str, why: str) -> StorageError:
    return StorageError(
        f"{what} in the database cannot be read ({why}); it was changed by other software, or written by a newer "
        "persona-sdk: upgrade, or restore a backup"
    )
