"""Answers that follow a schema: the schema for llama.cpp's constrained decoding, and the reading of what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ValidationError

__all__ = ["json_schema", "read"]

_SCHEMA_WORDS = {"$ref", "allOf", "anyOf", "const", "enum", "oneOf", "type"}


def json_schema(schema: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class, of a TypedDict, or of what is one already."""
    made: Any
    if _is_model(schema):
        made = schema.model_json_schema()
    elif isinstance(schema, Mapping) and _SCHEMA_WORDS & set(schema):
        made = dict(schema)
    else:
        made = convert_to_json_schema(schema)
    return dict(_without_lookaround(made))


def read(message: BaseMessage, schema: Any) -> Any:
    """Return what an answer says: an instance of the pydantic class, or what the JSON means.

    Raises:
        OutputParserException: the answer was cut, or does not fit. It does not quote the answer.
    """
    cut = message.response_metadata.get("finish_reason") == "length"
    why = " since it was cut; raise max_tokens, or bound the schema's strings and lists" if cut else ""
    try:
        value = json.loads(str(message.content))
    except ValueError:
        raise OutputParserException(f"the answer is no JSON{why}") from None
    if not _is_model(schema):
        return value
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        places = sorted({".".join(map(str, problem["loc"])) or "it" for problem in error.errors()})
        raise OutputParserException(f"the answer does not fit {schema.__name__}: {', '.join(places)}") from None


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _without_lookaround(schema: Any) -> Any:
    """Drop patterns with groups that llama.cpp does not know: it would print a warning, and accept any string."""
    if isinstance(schema, Mapping):
        kept = {k: v for k, v in schema.items() if not (k == "pattern" and isinstance(v, str) and "(?" in v)}
        return {key: _without_lookaround(value) for key, value in kept.items()}
    return [_without_lookaround(part) for part in schema] if isinstance(schema, list) else schema
