"""Contract suites for plugin authors: subclass one in your tests, and your plugin is held to what the SDK relies on.

`FakeMemory` and the `make_…` functions stand in for the rest. The suites need `pytest`, and `IndexContract` and
`MemoryContract` need `hypothesis` too; each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

from persona_sdk.testing.fakes import FakeMemory, make_context, make_persona, make_trait

if TYPE_CHECKING:
    from persona_sdk.testing.index_contract import IndexContract
    from persona_sdk.testing.inferrer_contract import InferrerContract
    from persona_sdk.testing.memory_contract import MemoryContract
    from persona_sdk.testing.tailor_contract import TailorContract

__all__ = [
    "FakeMemory",
    "IndexContract",
    "InferrerContract",
    "MemoryContract",
    "TailorContract",
    "make_context",
    "make_persona",
    "make_trait",
]

_SUITES = {
    "IndexContract": "persona_sdk.testing.index_contract",
    "InferrerContract": "persona_sdk.testing.inferrer_contract",
    "MemoryContract": "persona_sdk.testing.memory_contract",
    "TailorContract": "persona_sdk.testing.tailor_contract",
}


def __getattr__(name: str) -> Any:
    """Import a suite when it is asked for, its asserts explained by pytest when they fail."""
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - the fakes work without it

    modules = (f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
    pytest.register_assert_rewrite(*(module for module in modules if module not in sys.modules))
    return getattr(importlib.import_module(_SUITES[name]), name)
