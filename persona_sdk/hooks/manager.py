"""The plugin host: finds plugins, loads each on its own, keeps what became of it, and tells observers.

pluggy holds the specifications and the order of implementations. Loading and calling are done here, because there one
broken distribution would stop start-up, one raising observer would silence the others, a misspelt hook would pass
unnoticed and an `async` one would never run.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from persona_sdk.errors import PluginConflictError, PluginLoadError
from persona_sdk.hooks import specs
from persona_sdk.hooks.registry import Registry
from persona_sdk.pipeline import fault
from persona_sdk.settings import Settings

if TYPE_CHECKING:
    from persona_sdk.inference import Population
    from persona_sdk.models import Persona, Tailored
    from persona_sdk.signals import Signal

__all__ = ["GROUP", "PluginHost", "PluginStatus"]

#: The entry-point group plugins are found in.
GROUP = "persona_sdk.plugins"
#: The environment variable with names of plugins, or of distributions, to leave out; separated by commas.
DISABLE = "PERSONA_DISABLE_PLUGINS"
#: What stands for the distribution of a plugin object passed in code.
IN_CODE = "objects passed in code"

_REGISTER = "persona_register"
_ARGUMENTS = {
    name: tuple(inspect.signature(hook).parameters)
    for name, hook in vars(specs).items()
    if name.startswith("persona_") and inspect.isfunction(hook)
}
_log = logging.getLogger("persona_sdk")


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """What became of one plugin; `reason` says why it is not loaded."""

    name: str
    version: str
    distribution: str
    kinds: tuple[str, ...] = ()
    state: Literal["loaded", "failed", "disabled"] = "loaded"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin that was found and is not loaded yet."""

    status: PluginStatus
    load: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class _Hook:
    """One implementation of a hook, and the arguments it asks for."""

    plugin: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]


class PluginHost:
    """All plugins of one `Personalizer`: those installed (unless not `discover`), then the `extra` objects.

    A plugin that cannot be loaded is left out as a whole, logged, and listed by `statuses`. With `strict` (by default
    `settings.strict_plugins`) it raises.

    Raises:
        PluginConflictError: two plugins claim one name; both distributions are named.
        PluginLoadError: a plugin cannot be loaded and this is `strict`.
    """

    def __init__(
        self, settings: Settings, *, extra: Iterable[object] = (), strict: bool | None = None, discover: bool = True
    ) -> None:
        self.registry = Registry()
        self._strict = settings.strict_plugins if strict is None else strict
        self._manager = pluggy.PluginManager("persona_sdk")
        self._manager.add_hookspecs(specs)
        self._statuses: list[PluginStatus] = []
        disabled = {part.strip() for part in os.environ.get(DISABLE, "").split(",")}
        for found in chain(_installed() if discover else (), self._passed(extra)):
            if disabled & {found.status.name, found.status.distribution}:
                self._statuses.append(replace(found.status, state="disabled", reason=f"named in {DISABLE}"))
            else:
                self._admit(found)
        self._observers = {hook: self._implementations(hook) for hook in _ARGUMENTS if hook != _REGISTER}

    def statuses(self) -> list[PluginStatus]:
        """Return what became of every plugin, in the order they were found."""
        return list(self._statuses)

    # Observers: each is told on its own, and what one raises reaches the log only.

    def on_signal(self, signal: Signal) -> None:
        """Tell observers that a new signal was stored."""
        if self._observers["persona_on_signal"]:
            self._tell("persona_on_signal", signal=signal)

    def on_persona(self, persona: Persona, accepted: bool, reason: str) -> None:
        """Tell observers how learning ended."""
        if self._observers["persona_on_persona"]:
            self._tell("persona_on_persona", persona=persona, accepted=accepted, reason=reason)

    def on_population(self, population: Population) -> None:
        """Tell observers that a tenant's population was learnt anew."""
        if self._observers["persona_on_population"]:
            self._tell("persona_on_population", population=population)

    def on_tailored(self, tailored: Tailored) -> None:
        """Tell observers that a call was tailored."""
        if self._observers["persona_on_tailored"]:
            self._tell("persona_on_tailored", tailored=tailored)

    def on_answer(self, tailored: Tailored, answer: str) -> None:
        """Tell observers that a tailored call was answered."""
        if self._observers["persona_on_answer"]:
            self._tell("persona_on_answer", tailored=tailored, answer=answer)

    def on_skip(self, stage: str, plugin: str, reason: str) -> None:
        """Tell observers, and the log, that a plugin was left out of a call."""
        _log.warning("%s: plugin %r was skipped: %s", stage, plugin, reason)
        if self._observers["persona_on_skip"]:
            self._tell("persona_on_skip", stage=stage, plugin=plugin, reason=reason)

    def on_forget(self, tenant: str, user_id: str) -> None:
        """Tell observers that a person was forgotten."""
        if self._observers["persona_on_forget"]:
            self._tell("persona_on_forget", tenant=tenant, user_id=user_id)

    def _tell(self, hook: str, **arguments: object) -> None:
        for observer in self._observers[hook]:
            try:
                answer = observer.function(**{name: arguments[name] for name in observer.arguments})
                if inspect.iscoroutine(answer):
                    answer.close()
                    _log.error("%s of plugin %r is async: it never ran", hook, observer.plugin)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer never changes the answer
                _log.error("%s of plugin %r: %s", hook, observer.plugin, fault(error))

    def _implementations(self, hook: str) -> tuple[_Hook, ...]:
        known = reversed(getattr(self._manager.hook, hook).get_hookimpls())  # pluggy calls the last one first
        return tuple(_Hook(i.plugin_name, hook, i.function, _parameters(i.function)) for i in known)

    # Loading

    def _passed(self, extra: Iterable[object]) -> Iterator[_Found]:
        for plugin in extra:
            if self._manager.is_registered(plugin):
                continue
            base = getattr(plugin, "__name__", type(plugin).__name__).rpartition(".")[2]
            taken = {status.name for status in self._statuses}
            name = base if base not in taken else next(n for i in count(2) if (n := f"{base}-{i}") not in taken)
            yield _Found(PluginStatus(name, str(getattr(plugin, "__version__", "")), IN_CODE), partial(_itself, plugin))

    def _admit(self, found: _Found) -> None:
        name = found.status.name
        for other in self._statuses:
            if other.name == name and other.state == "loaded":
                both = f"{other.distribution} and {found.status.distribution}"
                raise PluginConflictError(f"two plugins are named {name!r}: in {both}{_CURE}", plugin=name)
        try:
            observes = self._load(found)
        except PluginConflictError as error:
            raise PluginConflictError(f"{error}{_CURE}", plugin=error.plugin) from error
        except (Exception, SystemExit) as error:  # one broken plugin must not stop the others
            reason = str(error) if isinstance(error, PluginLoadError) else f"{type(error).__name__}: {error}"
            self.registry.drop(name, reason)
            message = f"plugin {name!r} of {found.status.distribution} was not loaded: {reason}"
            if self._strict:
                raise PluginLoadError(message, plugin=name) from error
            _log.warning("%s", message)
            self._statuses.append(replace(found.status, state="failed", reason=reason))
        else:
            kinds = self.registry.kinds(name) + (("observer",) if observes else ())
            self._statuses.append(replace(found.status, kinds=kinds))

    def _load(self, found: _Found) -> bool:
        """Load one plugin, all of it or nothing, and return whether it observes anything."""
        plugin, name = found.load(), found.status.name
        if inspect.isclass(plugin):
            raise PluginLoadError(f"{plugin.__name__} is a class; a plugin is a module or an instance", plugin=name)
        if self._manager.is_registered(plugin):
            raise PluginLoadError(f"it is loaded already, as {self._manager.get_name(plugin)!r}", plugin=name)
        hooks = self._hooks(plugin, name)
        for hook in hooks:
            if hook.hook == _REGISTER:
                registry = self.registry.signed(name, found.status.distribution)
                hook.function(**dict.fromkeys(hook.arguments, registry))
        self._manager.register(plugin, name)
        return any(hook.hook != _REGISTER for hook in hooks)

    def _hooks(self, plugin: Any, name: str) -> list[_Hook]:
        """Return the hooks a plugin implements, checked more strictly than pluggy does."""
        hooks: list[_Hook] = []
        problems: list[str] = []
        for attribute in dir(plugin):
            marked = self._manager.parse_hookimpl_opts(plugin, attribute)
            if marked is None:
                if attribute in _ARGUMENTS and _unmarked(getattr(plugin, attribute)):
                    problems.append(f"{attribute} is not marked with @hookimpl")
                continue
            hook, function = marked.get("specname") or attribute, getattr(plugin, attribute)
            if hook not in _ARGUMENTS:
                if not marked.get("optionalhook"):
                    problems.append(_misspelt("hook", hook, _ARGUMENTS))
                continue
            wrapper = marked.get("wrapper") or marked.get("hookwrapper")
            problems += _problems(hook, function, bool(wrapper))
            hooks.append(_Hook(name, hook, function, _parameters(function)))
        if not hooks and not problems:
            problems.append("it has no function marked with @hookimpl")
        if problems:
            raise PluginLoadError("; ".join(problems), plugin=name)
        return hooks


_CURE = f"; uninstall one, or name it or its distribution in {DISABLE}"


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _unmarked(function: object) -> bool:
    return inspect.isroutine(function) and not hasattr(function, "persona_sdk_spec")


def _misspelt(what: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"there is no {what} {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _problems(hook: str, function: Callable[..., Any], wrapper: bool) -> Iterator[str]:
    """Say what would keep an implementation from ever being called, or called rightly."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield f"{hook} is async, and nothing would await it: write a plain function"
    elif wrapper or inspect.isgeneratorfunction(function):
        yield f"{hook} has a yield: hooks are plain functions, and none wraps another"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            yield f"{hook} takes {parameter}: name the arguments it wants of {', '.join(_ARGUMENTS[hook])}"
        elif parameter.name not in _ARGUMENTS[hook]:
            takes = f" ({hook} takes {', '.join(_ARGUMENTS[hook])})"
            yield _misspelt("argument", parameter.name, _ARGUMENTS[hook]) + takes


def _itself(plugin: object) -> object:
    return plugin


def _unreadable(error: Exception) -> object:
    raise PluginLoadError(f"its metadata cannot be read ({fault(error)})") from error


def _installed() -> list[_Found]:
    """Find entry points, one distribution at a time: an unreadable one must not hide the others. First on path wins."""
    found: dict[str, list[_Found]] = {}
    for distribution in importlib.metadata.distributions():
        where = str(getattr(distribution, "_path", distribution))
        try:
            text = distribution.read_text("entry_points.txt")
            if text is None or GROUP not in text:
                continue
            name, version = distribution.metadata["Name"] or where, distribution.version or ""
            points = distribution.entry_points.select(group=GROUP)
            here = [_Found(PluginStatus(point.name, version, name), point.load) for point in points]
        except Exception as error:  # noqa: BLE001 - a stranger's broken metadata must not stop start-up
            name, here = where, [_Found(PluginStatus(where, "", where), partial(_unreadable, error))]
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), here)
    return sorted((f for each in found.values() for f in each), key=lambda f: (f.status.name, f.status.distribution))
