"""Settings: everything a `Personalizer` can be told, with defaults that need no key, no server and no download."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from persona_sdk.errors import SettingsError

__all__ = ["Settings"]

_PREFIX = "PERSONA_"
#: Named by nothing as well as by no variable: .env files have such lines.
_OPTIONAL = ("model", "embedder", "similar")


class Settings(BaseModel):
    """How a `Personalizer` behaves.

    `memory`, `inferrer` and `tailors` name plugins; `options` holds what each plugin is told, by plugin name.
    `model` and `embedder` ("provider" or "provider:name", such as "local") are what plugins may ask that need one; no
    model is asked unless it is named here. `similar` names the plugin that finds similar people ("similar_personas");
    nobody is compared with anybody unless it is named. `index` ("provider" or "provider:where", such as
    "chroma:http://localhost:8000") is where the vectors for that are kept. `learning` is "background" (a daemon thread
    brings personas up to date after each signal) or "manual" (call `learn` yourself). `time_budget` is the seconds
    recall and tailoring together may take before the call goes out untailored. `calls` says who knows answers by their
    ids, for feedback about them: the "process" that gave them, or everybody who shares the "memory".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field(default="sqlite:///persona.db", repr=False)  # it may hold a password
    tenant: str = Field(default="default", min_length=1)
    memory: str = "sql_memory"
    inferrer: str = "contrastive"
    tailors: tuple[str, ...] = ("prompt_prefix",)
    model: str | None = None
    embedder: str | None = None
    similar: str | None = None
    index: str = "chroma"
    learning: Literal["background", "manual"] = "background"
    calls: Literal["process", "memory"] = "process"
    max_tokens: int = Field(default=120, ge=16, le=4000)
    time_budget: float = Field(default=0.25, gt=0, le=60)
    strict_plugins: bool = False
    options: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """Build settings from `given`, then from `PERSONA_*` environment variables, then from the defaults.

        Raises:
            SettingsError: naming the setting that is unknown or impossible.
        """
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            raw = os.environ.get(_PREFIX + name.upper())
            if raw is not None and name != "options" and (raw or name not in _OPTIONAL):
                values[name] = tuple(filter(None, raw.split(","))) if name == "tailors" else raw
        values.update({k: v for k, v in given.items() if v is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(cls.model_fields)
            raise SettingsError(f"setting {name!r}: {first['msg']}; settings are {known}") from None
