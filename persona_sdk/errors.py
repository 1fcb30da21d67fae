"""Every error the SDK raises on purpose.

    PersonaError
    ├── InputError (ValueError)            what the caller passed cannot be used; nothing was written
    ├── NotFoundError (LookupError)        a named trait, version or call does not exist
    ├── SettingsError (ValueError)         a setting is unknown or impossible
    ├── StorageError (OSError)             memory could not be read or written
    │   ├── StorageBusyError               another process holds the lock; trying again may work
    │   └── StorageFullError               no room, or no permission to write
    ├── IndexUnavailableError (OSError)    the index of similar people cannot be used now; memory is unaffected
    ├── TuningError (RuntimeError)         a model could not be trained here; the message says what to change
    ├── ModelError (RuntimeError)          a chat model is needed and missing, or answered something unusable
    └── PluginError
        ├── PluginLoadError (ImportError)  a plugin could not be imported or registered (`strict=True` only)
        ├── PluginConflictError            two plugins claim one name
        ├── PluginOrderError               plugins require each other in a circle, or require one that is absent
        ├── PluginTypeError (TypeError)    a plugin returned something its interface does not allow
        └── MissingExtraError (ImportError) a plugin needs an optional install

Messages say what happened, where (file, line, field, plugin) and what to do; they never quote people's text or secrets.
"""

from __future__ import annotations

__all__ = [
    "IndexUnavailableError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "PersonaError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginOrderError",
    "PluginTypeError",
    "SettingsError",
    "StorageBusyError",
    "StorageError",
    "StorageFullError",
    "TuningError",
]


class PersonaError(Exception):
    """Root of every error raised by the SDK; catch this one to catch them all."""


class InputError(PersonaError, ValueError):
    """What the caller passed cannot be used; nothing was written.

    `field` names the offending field, when one is to blame.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(PersonaError, LookupError):
    """A named trait, persona version or call does not exist."""


class SettingsError(PersonaError, ValueError):
    """A setting is unknown or impossible."""


class StorageError(PersonaError, OSError):
    """Memory could not be read or written; what was acknowledged before is unaffected."""


class StorageBusyError(StorageError):
    """Another process or thread holds the lock; trying again may work."""


class StorageFullError(StorageError):
    """There is no room, or no permission, to write."""


class IndexUnavailableError(PersonaError, OSError):
    """The index of similar people cannot be read or written now; memory, from which it can be built, is unaffected."""


class ModelError(PersonaError, RuntimeError):
    """A chat model is needed and missing, or it answered something unusable.

    `final` says that asking it about anybody else is of no use either: the budget is spent, or the key is refused.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class PluginError(PersonaError):
    """Something is wrong with a plugin; `plugin` is its name."""

    def __init__(self, message: str, *, plugin: str | None = None) -> None:
        super().__init__(message)
        self.plugin = plugin


class PluginLoadError(PluginError, ImportError):
    """A plugin could not be imported or registered."""


class PluginConflictError(PluginError):
    """Two plugins claim one name."""


class PluginOrderError(PluginError):
    """Plugins require each other in a circle, or require one that is absent."""


class PluginTypeError(PluginError, TypeError):
    """A plugin returned something its interface does not allow."""


class MissingExtraError(PluginError, ImportError):
    """A plugin needs an optional install; the message names the extra."""


class TuningError(PersonaError, RuntimeError):
    """A model could not be trained on this machine, or in this way; the message says what to change."""
