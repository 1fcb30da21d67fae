"""Naming the adapter that a person is given: tailoring by a tuned model, here or on a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from persona_sdk.errors import SettingsError
from persona_sdk.models import ChatCall, Message, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult
from persona_sdk.text import estimate_tokens
from persona_sdk.tuning.adapters import Adapters

__all__ = ["Lora"]


class Lora(Tailor):
    """Has a call answered with the adapter that was found best for the person, or else the tenant's default.

    The adapter's name is sent as the model's: `TunedChat`, vLLM and other servers of many adapters take it so. `names`
    maps an adapter's name to the one a server knows it by; all others get `prefix` in front. Someone who was given no
    adapter, or for whom the base model was found as good, is answered as before, and so is a call whose app named a
    model itself, unless `replace` is set.

    An adapter's rows had a system message. A conversation without one gets that, before other tailors add to it.
    """

    name = "lora"
    #: Whether a tuned model helps was measured on all of a person's choices, whatever they were about.
    gated = False

    def __init__(
        self,
        adapters: str | os.PathLike[str] = "adapters",
        prefix: str = "",
        names: Mapping[str, str] | None = None,
        replace: bool = False,
    ) -> None:
        if not isinstance(adapters, str | os.PathLike) or not os.fspath(adapters):
            raise SettingsError("lora: adapters must be the folder of the adapters")
        if not isinstance(prefix, str) or not isinstance(replace, bool):
            raise SettingsError("lora: prefix must be text, and replace true or false")
        if not isinstance(names or {}, Mapping) or not all(isinstance(n, str) for n in (names or {}).values()):
            raise SettingsError("lora: names must map names of adapters to names a server knows them by")
        self._adapters = Adapters(Path(adapters).expanduser())
        self._prefix, self._names, self._replace = prefix, dict(names or {}), replace
        self._systems: dict[Path, str] = {}

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Name the adapter of this person, if they are given one."""
        if call.model and not self._replace:
            return self._skipped(call, "the app named a model itself")
        given = self._adapters.given(call.tenant, call.user_id)
        if given is None:
            return self._skipped(call, "no adapter is assigned to this person, and their tenant has no default")
        if given.adapter is None:
            return self._skipped(call, given.verified)
        system = self._system(given.adapter)
        messages, tokens = call.messages, 0
        if system and not any(message.role in ("system", "developer") for message in messages):
            messages, tokens = (Message(role="system", content=system), *messages), estimate_tokens(system)
        served = self._names.get(given.adapter, self._prefix + given.adapter)
        step = TailorStep(tailor=self.name, tokens_added=tokens, detail=given.verified)
        return TailorResult(call.override(adapter=served, messages=messages), step)

    def forget(self, tenant: str, user_id: str) -> None:
        """Withdraw the adapters that a person's signals are in, or what the operator's policy says (see `Adapters`)."""
        self._adapters.forget(tenant, user_id)

    def _system(self, name: str) -> str:
        """Return the system message of an adapter's rows, read once: a version of an adapter is never changed."""
        folder = self._adapters.path(name)
        if folder not in self._systems:
            self._systems[folder] = self._adapters.card(name).system
        return self._systems[folder]

    def _skipped(self, call: ChatCall, why: str) -> TailorResult:
        return TailorResult(call, TailorStep(tailor=self.name, skipped=why))
