"""Middleware that learns why each person prefers what they prefer, verifies it, and tailors any chat model to them.

    from persona_sdk import Personalizer

    p = Personalizer()                       # a SQLite file in the working directory; no key, no server, no download
    p.prefer("ada", prompt=…, chosen=…, rejected=…)
    call = p.tailor("ada", messages)         # call.messages go to any chat model

Names are imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.errors import (
        InputError,
        MissingExtraError,
        ModelError,
        NotFoundError,
        PersonaError,
        PluginError,
        SettingsError,
        StorageError,
    )
    from persona_sdk.explanation import Explanation, PersonaDiff
    from persona_sdk.inference import History, Inference, InferenceRequest, Inferrer, Population
    from persona_sdk.memory import Memory
    from persona_sdk.models import ChatCall, Evidence, Lift, Message, Persona, Tailored, TailorStep, Trait
    from persona_sdk.recording import ImportReport
    from persona_sdk.scoring import Scorer
    from persona_sdk.settings import Settings
    from persona_sdk.signals import Choice, Edit, Preference, Rating, Regeneration, Signal, Utterance
    from persona_sdk.tailoring import Tailor, TailorContext, TailorResult

__version__ = "0.1.0"

_HOME = {
    "engine": ("Personalizer",),
    "errors": (
        "InputError",
        "MissingExtraError",
        "ModelError",
        "NotFoundError",
        "PersonaError",
        "PluginError",
        "SettingsError",
        "StorageError",
    ),
    "explanation": ("Explanation", "PersonaDiff"),
    "inference": ("History", "Inference", "InferenceRequest", "Inferrer", "Population"),
    "memory": ("Memory",),
    "models": ("ChatCall", "Evidence", "Lift", "Message", "Persona", "TailorStep", "Tailored", "Trait"),
    "recording": ("ImportReport",),
    "scoring": ("Scorer",),
    "settings": ("Settings",),
    "signals": ("Choice", "Edit", "Preference", "Rating", "Regeneration", "Signal", "Utterance"),
    "tailoring": ("Tailor", "TailorContext", "TailorResult"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ChatCall",
    "Choice",
    "Edit",
    "Evidence",
    "Explanation",
    "History",
    "ImportReport",
    "Inference",
    "InferenceRequest",
    "Inferrer",
    "InputError",
    "Lift",
    "Memory",
    "Message",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "Persona",
    "PersonaDiff",
    "PersonaError",
    "Personalizer",
    "PluginError",
    "Population",
    "Preference",
    "Rating",
    "Regeneration",
    "Scorer",
    "Settings",
    "SettingsError",
    "Signal",
    "StorageError",
    "Tailor",
    "TailorContext",
    "TailorResult",
    "TailorStep",
    "Tailored",
    "Trait",
    "Utterance",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives, once."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
