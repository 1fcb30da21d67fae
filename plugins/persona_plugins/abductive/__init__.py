"""The `abductive` plugin: sentences about a person, proposed by a model or common to many, tested on their choices."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from persona_sdk.errors import SettingsError
from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.inference import Inferrer
from persona_sdk.scoring import Scorer, StatementScorer
from persona_sdk.settings import Settings

if TYPE_CHECKING:
    from persona_plugins.abductive.sources import Sources
    from persona_sdk.calling import Caller, Limits

#: What the plugin can be told in `Settings.options["abductive"]`.
_OPTIONS = ("allowed", "budget", "embedder", "limits", "model", "population_budget", "proposals", "scorer")
_DEFAULT_EMBEDDER = "minilm"


class _Built:
    """Builds what the plugin offers from the settings; the registry knows the models of other plugins."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._callers: list[tuple[Any, Limits, Caller]] = []

    def options(self, settings: Settings) -> dict[str, Any]:
        given = dict(settings.options.get("abductive", {}))
        for name in given:
            if name not in _OPTIONS:
                raise SettingsError(f"abductive: unknown option {name!r}; known are {', '.join(_OPTIONS)}")
        return given

    def model(self, settings: Settings) -> tuple[str, Any] | None:
        """Return the chat model and its name, None if none is named."""
        given = self.options(settings).get("model", settings.model)
        if given is None:
            return None
        if isinstance(given, str):
            return given, self._registry.chat_model(given)
        return _called(given), given

    def asking(self, settings: Settings) -> Caller | None:
        """Return what asks the model: one for all users of it, so that limits and counts are shared."""
        named = self.model(settings)
        if named is None:
            return None
        from persona_sdk.calling import Caller, Limits  # noqa: PLC0415 - loaded when used

        name, model = named
        try:
            limits = Limits.model_validate(self.options(settings).get("limits") or {})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise SettingsError(f"abductive: limits.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        for known, given, caller in self._callers:  # models need not be hashable
            if known is model and given == limits:
                return caller
        caller = Caller(model, name=name, limits=limits)
        self._callers.append((model, limits, caller))
        return caller

    def embedding(self, settings: Settings) -> StatementScorer:
        from persona_plugins.abductive.scorers.embedding import EmbeddingScorer  # noqa: PLC0415 - imports numpy

        given = self.options(settings).get("embedder", settings.embedder) or _DEFAULT_EMBEDDER
        return EmbeddingScorer(self._registry.embedder(given) if isinstance(given, str) else given)

    def likelihood(self, settings: Settings) -> StatementScorer:
        from persona_plugins.abductive.scorers.likelihood import LikelihoodScorer  # noqa: PLC0415 - loaded when used

        named = self.model(settings)
        if named is None:
            raise SettingsError("the scorer 'likelihood' needs a model that gives likelihoods: set `model` to 'local'")
        return LikelihoodScorer(named[1], name=named[0])

    def judge(self, settings: Settings) -> StatementScorer:
        from persona_plugins.abductive.scorers.judge import JudgeScorer  # noqa: PLC0415 - loaded when used

        caller = self.asking(settings)
        if caller is None:
            raise SettingsError("the scorer 'judge' needs a chat model: set `model`, for example to 'openai:gpt-4.1'")
        return JudgeScorer(caller)

    def tested_by(self, settings: Settings) -> StatementScorer:
        """Return the scorer that sentences are tested with."""
        return self._registry.statement_scorer(self.options(settings).get("scorer", "embedding"), settings)

    def sources(self, settings: Settings, *, with_common: bool = True) -> Sources:
        from persona_plugins.abductive.sources import Sources  # noqa: PLC0415 - loaded when used

        caller = self.asking(settings) if self.options(settings).get("proposals", True) else None
        if caller is None:
            return Sources(with_common=with_common)
        from persona_plugins.abductive.dialogue import Reader  # noqa: PLC0415 - loaded when used
        from persona_plugins.abductive.hygiene import CATEGORIES  # noqa: PLC0415 - loaded when used
        from persona_plugins.abductive.proposing import Proposer  # noqa: PLC0415 - loaded when used

        given = self.options(settings).get("allowed", ())
        allowed = frozenset([given] if isinstance(given, str) else given)
        if not allowed <= set(CATEGORIES):
            unknown = ", ".join(sorted(allowed - set(CATEGORIES)))
            raise SettingsError(f"abductive: allowed names {unknown}, which is none of {', '.join(sorted(CATEGORIES))}")
        return Sources(Proposer(caller, allowed=allowed), Reader(caller, allowed=allowed), with_common=with_common)

    def inferrer(self, name: str, base: str, settings: Settings) -> Inferrer:
        from persona_plugins.abductive.inferrer import Abductive  # noqa: PLC0415 - imports numpy

        below = self._registry.inferrer(base, settings) if base else None
        budgets = {k: v for k, v in self.options(settings).items() if k.endswith("budget")}
        return Abductive(self.tested_by(settings), self.sources(settings), base=below, name=name, **budgets)

    def untested(self, settings: Settings) -> Inferrer:
        from persona_plugins.abductive.untested import Untested  # noqa: PLC0415 - imports numpy

        return Untested(self.tested_by(settings), self.sources(settings, with_common=False))

    def scorer(self, name: str, base: str, settings: Settings) -> Scorer:
        from persona_plugins.abductive.state import AbductiveScorer  # noqa: PLC0415 - loaded when used

        below = self._registry.scorer(base, settings) if base else None
        return AbductiveScorer(self.tested_by(settings), below, name=name)


def _called(model: Any) -> str:
    """Name a model object so that journals tell it from another one of its kind."""
    parameters = repr(sorted(getattr(model, "_identifying_params", {}).items(), key=lambda item: item[0]))
    known = str(getattr(model, "model_name", "") or getattr(model, "model", ""))
    return f"{type(model).__name__}:{known}:{hashlib.sha256(parameters.encode()).hexdigest()[:8]}"


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the inferrers (alone, on top of `contrastive`, and untested as a control) and the three scorers."""
    built = _Built(registry)
    for name, base in (("abductive", ""), ("contrastive+abductive", "contrastive")):
        registry.add_inferrer(name, functools.partial(built.inferrer, name, base))
        registry.add_scorer(name, functools.partial(built.scorer, name, base))
    registry.add_inferrer("abductive-untested", built.untested)
    registry.add_statement_scorer("embedding", built.embedding)
    registry.add_statement_scorer("likelihood", built.likelihood)
    registry.add_statement_scorer("judge", built.judge)
