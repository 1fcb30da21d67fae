"""Plugins: how to add a way of remembering, inferring, scoring or tailoring, or to look on.

A plugin is a module (or any object) with functions marked `@hookimpl`. `persona_register` is handed a registry and
adds named factories to it; a factory is given the settings when its product is first needed:

    >>> from persona_sdk.hooks import PluginHost, hookimpl
    >>> from persona_sdk.models import TailorStep
    >>> from persona_sdk.settings import Settings
    >>> from persona_sdk.tailoring import Tailor, TailorResult
    >>> class Polite(Tailor):
    ...     name = "polite"
    ...     def tailor(self, call, context):
    ...         return TailorResult(call.override(params={"stop": ["\\n\\n"]}), TailorStep(tailor=self.name))
    >>> class MyPlugin:
    ...     @hookimpl
    ...     def persona_register(self, registry):
    ...         registry.add_tailor("polite", lambda settings: Polite())
    ...     @hookimpl
    ...     def persona_on_skip(self, stage, plugin, reason):
    ...         print(f"{plugin} was skipped: {reason}")

An app passes plugins of its own in code, and asks for what they added by name:

    >>> settings = Settings()
    >>> host = PluginHost(settings, extra=[MyPlugin()], discover=False)
    >>> host.registry.tailor("polite", settings).name
    'polite'
    >>> [(s.name, s.kinds, s.state) for s in host.statuses()]
    [('MyPlugin', ('tailor', 'observer'), 'loaded')]

The `persona_on_…` hooks observe. They are told what happened, one after the other, and change nothing: one that
raises is logged and the others still run. An observer asks for the arguments it wants, by name:

    >>> host.on_skip("tailor", "polite", "raised ValueError at polite:7")
    polite was skipped: raised ValueError at polite:7

A plugin that others can install is a distribution with an entry point, found at start-up:

    [project.entry-points."persona_sdk.plugins"]
    polite = "my_package.polite"

A plugin that cannot be loaded is reported and left out, never half loaded (`strict=True` raises instead). `specs` has
every hook with its arguments; `persona_sdk.testing` has test suites for what a plugin implements.
"""

from persona_sdk.hooks.manager import PluginHost, PluginStatus
from persona_sdk.hooks.registry import Registry
from persona_sdk.hooks.specs import hookimpl, hookspec

__all__ = ["PluginHost", "PluginStatus", "Registry", "hookimpl", "hookspec"]
