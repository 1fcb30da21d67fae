"""The registry: which plugin offers what under which name, built when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, TypeAlias, cast

from persona_sdk.errors import PluginConflictError, PluginTypeError, SettingsError
from persona_sdk.index import VectorIndex
from persona_sdk.inference import Inferrer
from persona_sdk.language import ChatModel, Embedder
from persona_sdk.memory import Memory
from persona_sdk.pipeline import contained
from persona_sdk.scoring import Scorer, StatementScorer
from persona_sdk.settings import Settings
from persona_sdk.similar import SimilarPeople
from persona_sdk.tailoring import Tailor

__all__ = ["KINDS", "Factory", "Registry"]

_log = logging.getLogger("persona_sdk")

#: What a plugin can add, and what a factory for it must return.
KINDS: dict[str, type] = {
    "memory": Memory,
    "inferrer": Inferrer,
    "scorer": Scorer,
    "statement_scorer": StatementScorer,
    "tailor": Tailor,
    "similar": SimilarPeople,
    "index": VectorIndex,
    "chat_model": ChatModel,
    "embedder": Embedder,
}
#: Kinds that are asked for as "provider:name", and whose products have no `name` of ours.
_PROVIDED = ("chat_model", "embedder", "index")
#: The chat model provider that is asked about every provider nobody registered.
ANY_PROVIDER = "*"

Factory: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    factory: Factory
    plugin: str
    distribution: str


@dataclass(slots=True)
class _Book:
    """What all views of one registry share: entries and products by (kind, name), and why plugins failed to load."""

    entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)
    built: dict[tuple[str, str], list[tuple[object, Any]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)
    building: dict[tuple[str, str], RLock] = field(default_factory=dict)


class Registry:
    """Named factories of whatever plugins offer. A plugin is given one in `persona_register`.

    The getters build a product once for given settings and keep it. They raise a SettingsError for a name nobody
    registered, a PluginTypeError when a factory returns something else than it was registered for, and whatever the
    factory raises (a MissingExtraError when an optional install is absent), with a note naming the plugin.
    """

    def __init__(self) -> None:
        self._book, self._plugin, self._distribution = _Book(), "", ""

    def add_memory(self, name: str, factory: Callable[[Settings], Memory]) -> None:
        """Offer a memory under `name`."""
        self._add("memory", name, factory)

    def add_inferrer(self, name: str, factory: Callable[[Settings], Inferrer]) -> None:
        """Offer an inferrer under `name`."""
        self._add("inferrer", name, factory)

    def add_scorer(self, name: str, factory: Callable[[Settings], Scorer]) -> None:
        """Offer a scorer under `name`, which is that of the inferrer whose state it reads."""
        self._add("scorer", name, factory)

    def add_statement_scorer(self, name: str, factory: Callable[[Settings], StatementScorer]) -> None:
        """Offer a scorer of answers under a sentence."""
        self._add("statement_scorer", name, factory)

    def add_tailor(self, name: str, factory: Callable[[Settings], Tailor]) -> None:
        """Offer a tailor under `name`."""
        self._add("tailor", name, factory)

    def add_similar(self, name: str, factory: Callable[[Settings], SimilarPeople]) -> None:
        """Offer a way of finding similar people, and of borrowing from them, under `name`."""
        self._add("similar", name, factory)

    def add_index(self, provider: str, factory: Callable[[str], VectorIndex]) -> None:
        """Offer an engine that finds near vectors: the factory is given what stands after "provider:", or ""."""
        self._add("index", provider, factory)

    def add_chat_model(self, provider: str, factory: Callable[[str], ChatModel]) -> None:
        """Offer the chat models of a provider: the factory is given what stands after "provider:", or "".

        The provider "*" is given whole specifications whose provider nobody offers.
        """
        self._add("chat_model", provider, factory)

    def add_embedder(self, provider: str, factory: Callable[[str], Embedder]) -> None:
        """Offer the embedders of a provider: the factory is given what stands after "provider:", or ""."""
        self._add("embedder", provider, factory)

    def memory(self, name: str, settings: Settings) -> Memory:
        """Return the memory of this name."""
        return cast("Memory", self._get("memory", name, settings))

    def inferrer(self, name: str, settings: Settings) -> Inferrer:
        """Return the inferrer of this name."""
        return cast("Inferrer", self._get("inferrer", name, settings))

    def scorer(self, name: str, settings: Settings) -> Scorer | None:
        """Return the scorer of this name, None if there is none: not every inferrer has one."""
        if ("scorer", name) not in self._book.entries:
            return None
        return cast("Scorer", self._get("scorer", name, settings))

    def tailor(self, name: str, settings: Settings) -> Tailor:
        """Return the tailor of this name."""
        return cast("Tailor", self._get("tailor", name, settings))

    def similar(self, name: str, settings: Settings) -> SimilarPeople:
        """Return what finds similar people under this name."""
        return cast("SimilarPeople", self._get("similar", name, settings))

    def index(self, spec: str) -> VectorIndex:
        """Return the index that "provider" or "provider:where" stands for; the same one for the same words."""
        provider, _, where = spec.partition(":")
        return cast("VectorIndex", self._get("index", provider, where))

    def statement_scorer(self, name: str, settings: Settings) -> StatementScorer:
        """Return the statement scorer of this name."""
        return cast("StatementScorer", self._get("statement_scorer", name, settings))

    def chat_model(self, spec: str) -> ChatModel:
        """Return the chat model that "provider" or "provider:name" stands for; the same one for the same words."""
        provider, _, name = spec.partition(":")
        if ("chat_model", provider) not in self._book.entries and ("chat_model", ANY_PROVIDER) in self._book.entries:
            provider, name = ANY_PROVIDER, spec
        return cast("ChatModel", self._get("chat_model", provider, name))

    def embedder(self, spec: str) -> Embedder:
        """Return the embedder that "provider" or "provider:name" stands for; the same one for the same words."""
        provider, _, name = spec.partition(":")
        return cast("Embedder", self._get("embedder", provider, name))

    def require(self, kind: str, name: str) -> None:
        """Raise what the getter would for a name nobody registered, without building anything."""
        if (kind, name) not in self._book.entries:
            raise SettingsError(self._unknown(kind, name))

    def names(self, kind: str) -> list[str]:
        """Return the names registered for one of `KINDS`, sorted."""
        return sorted(name for of, name in self._book.entries if of == kind)

    def signed(self, plugin: str, distribution: str) -> Registry:
        """Return a view of this registry whose additions are recorded as this plugin's."""
        view = Registry()
        view._book, view._plugin, view._distribution = self._book, plugin, distribution
        return view

    def kinds(self, plugin: str) -> tuple[str, ...]:
        """Return the kinds of what a plugin added."""
        return tuple(k for k in KINDS if any(of == k and e.plugin == plugin for (of, _), e in self._all()))

    def drop(self, plugin: str, reason: str) -> None:
        """Take back what a plugin added: it failed to load for this `reason`, which the getters will mention."""
        with self._book.lock:
            self._book.failures[plugin] = reason
            for key, entry in self._all():
                if entry.plugin == plugin:
                    del self._book.entries[key]

    def close(self) -> None:
        """Close what was built to find similar people, and then the indexes. Closing twice is harmless."""
        with self._book.lock:
            built = [(of, product) for (of, _), kept in self._book.built.items() for _, product in kept]
        for kind in ("similar", "index"):  # not under the lock: who is closed may still be asking for the other
            for of, product in built:
                if of == kind and (failure := contained(product.close)[1]):
                    _log.warning("closing a plugin's %s failed: %s", of, failure)

    def _all(self) -> list[tuple[tuple[str, str], _Entry]]:
        return list(self._book.entries.items())

    def _add(self, kind: str, name: str, factory: Factory) -> None:
        if not isinstance(name, str) or not name.strip() or not callable(factory):
            what = f"add_{kind}() of plugin {self._plugin!r} takes a name and a callable"
            raise PluginTypeError(f"{what}, not {name!r} and {type(factory).__name__}", plugin=self._plugin)
        with self._book.lock:
            taken = self._book.entries.get((kind, name))
            if taken is not None:
                both = f"plugin {taken.plugin!r} of {taken.distribution} and plugin {self._plugin!r} of "
                message = f"{kind} {name!r} is offered by {both}{self._distribution}"
                raise PluginConflictError(message, plugin=self._plugin)
            self._book.entries[kind, name] = _Entry(factory, self._plugin, self._distribution)

    def _get(self, kind: str, name: str, settings: object) -> object:
        with self._book.lock:
            entry = self._book.entries.get((kind, name))
            if entry is None:
                raise SettingsError(self._unknown(kind, name))
            kept = self._book.built.setdefault((kind, name), [])
            building = self._book.building.setdefault((kind, name), RLock())
        for known, product in kept:
            if known == settings:
                return product
        with building:  # its own: one that takes seconds to build must not stop a chat that needs another
            for known, product in kept:
                if known == settings:
                    return product
            product = self._build(kind, name, entry, settings)
            kept.append((settings, product))
            return product

    def _build(self, kind: str, name: str, entry: _Entry, settings: object) -> object:
        by = f"{getattr(entry.factory, '__qualname__', entry.factory)!s} of plugin {entry.plugin!r}"
        try:
            product = entry.factory(settings)
        except Exception as error:
            error.add_note(f"{kind} {name!r} could not be built by {by} ({entry.distribution})")
            raise
        if not isinstance(product, KINDS[kind]):
            wanted = KINDS[kind].__name__
            message = f"{kind} {name!r}: {by} returned {type(product).__name__}, not a {wanted}"
            raise PluginTypeError(message, plugin=entry.plugin)
        if kind not in _PROVIDED and getattr(product, "name", None) != name:
            said = getattr(product, "name", None)
            message = f"{kind} {name!r}: {by} returned one whose `name` is {said!r}; they must be the same"
            raise PluginTypeError(message, plugin=entry.plugin)
        return product

    def _unknown(self, kind: str, name: str) -> str:
        known = ", ".join(self.names(kind)) or "none"
        failed = "".join(f"; plugin {p!r} failed to load: {why}" for p, why in sorted(self._book.failures.items()))
        return f"no {kind} is named {name!r}; known: {known}{failed}"
