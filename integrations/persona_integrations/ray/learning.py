"""`learn_with_ray`: people waiting to be learnt from go through Ray Data, and are remembered here as they come back."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from persona_sdk.calling import Limits
from persona_sdk.deriving import Work
from persona_sdk.errors import InputError, MissingExtraError, PluginError, SettingsError
from persona_sdk.hooks import PluginHost
from persona_sdk.journal import MemoryJournal
from persona_sdk.language import Spent

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.learning import Learner
    from persona_sdk.models import Persona
    from persona_sdk.settings import Settings

__all__ = ["learn_with_ray"]

#: People a worker learns from side by side if a model is asked: it waits most of the time.
AT_ONCE = 8
#: People learnt from in this process first, so that everybody else has somebody to be compared with.
_FIRST = 3


def learn_with_ray(
    personalizer: Personalizer,
    *,
    workers: int = 2,
    batch: int = 16,
    address: str | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> int:
    """Learn from everyone whose signals are new, on `workers` Ray workers; return how many were learnt from.

    Each persona is remembered in this process as it comes back, `batch` people at a time, so a run that was killed is
    simply started again. What models answer is in the journal at once, and limits are divided among the workers.
    Ray is used as it is initialised, else at `address` or `RAY_ADDRESS`, else a Ray of one's own is started.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: the settings hold objects that cannot be sent to workers, or need a plugin given in code.
        ModelError: as in `Personalizer.learn_pending`.
        PluginError: a worker failed.
    """
    for name, value in (("workers", workers), ("batch", batch)):
        if value < 1:
            raise InputError(f"{name}: must be at least 1, not {value}", field=name)
    settings = _portable(personalizer._settings)
    with _connected(address, workers):
        from persona_integrations.ray.desk import open_desk  # noqa: PLC0415 - imports Ray

        learner, tenant = personalizer._learner, personalizer.tenant
        with open_desk(lambda user_id: MemoryJournal(personalizer._memory, tenant, user_id)) as desk:
            run = _Run(learner, tenant, settings, desk, (workers, batch))
            return learner.learn_pending(tenant, progress, elsewhere=run.learn)


class _Run:
    """One run: pages of people through a pool of workers."""

    def __init__(self, learner: Learner, tenant: str, settings: Settings, desk: Any, size: tuple[int, int]) -> None:
        self._learner, self._tenant, self._settings, self._desk = learner, tenant, settings, desk
        self._workers, self._batch = size
        self._first = _FIRST

    def learn(self, people: Iterable[str]) -> Iterator[tuple[str, Persona | None]]:
        """Learn from a page of people; yield what became of each, None for who could not be learnt from."""
        works: dict[int, Work] = {}
        for place, user_id in enumerate(people):
            work = self._learner.gather(self._tenant, user_id)
            alone = work is not None and work.request.other_state is None
            if work is None or (alone and self._first > 0):
                self._first -= alone
                yield user_id, self._learner.attempt(self._tenant, user_id)
            else:
                works[place] = work
        for place, persona in self._derived(works) if works else ():
            yield works[place].request.user_id, persona

    def _derived(self, works: Mapping[int, Work]) -> Iterator[tuple[int, Persona | None]]:
        import ray  # noqa: PLC0415 - an optional install, slow

        from persona_integrations.ray.deriving import Deriver, Result, batch_of  # noqa: PLC0415 - imports Ray

        pool = min(self._workers, -(-len(works) // self._batch))
        given = {
            "settings": divided(self._settings, pool, self._learner.spent()),
            "population": self._learner.population(self._tenant),
            "desk": self._desk,
            "at_once": AT_ONCE if self._settings.model else 1,
        }
        data = ray.data.from_items(batch_of(works), override_num_blocks=-(-len(works) // self._batch)).map_batches(
            Deriver,
            fn_constructor_kwargs=given,
            batch_size=self._batch,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=pool),
        )
        try:
            for table in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for one in table.column("result").to_pylist():
                    result: Result = pickle.loads(one)  # noqa: S301 - made by our own workers
                    self._learner.spent_elsewhere(result.spent)
                    yield result.place, self._accept(works[result.place], result)
        except ray.exceptions.RayError as error:
            kind = type(getattr(error, "cause", None) or error).__name__
            raise PluginError(f"a Ray worker failed ({kind}); Ray's log says where") from error

    def _accept(self, work: Work, result: Any) -> Persona | None:
        def finished() -> Persona:
            if result.error is not None:
                raise result.error
            return self._learner.accept(work, result.outcome)

        return self._learner.attempted(finished)


def divided(settings: Settings, workers: int, spent: Spent) -> Settings:
    """Return settings for one of several workers: every plugin's `limits`, less what was spent, in equal parts.

    A worker that has used its part up ends the run, even if another has some left; started again, it goes on.
    """
    options = {plugin: dict(told) for plugin, told in settings.options.items()}
    for told in options.values():
        if "limits" in told:
            told["limits"] = _part(Limits.model_validate(told["limits"] or {}), workers, spent)
    return settings.model_copy(update={"options": options})


def _part(limits: Limits, workers: int, spent: Spent) -> Limits:
    pace, budget, calls = limits.requests_per_minute, limits.budget, limits.max_calls
    return limits.model_copy(
        update={
            "concurrency": max(1, limits.concurrency // workers),
            "requests_per_minute": pace / workers if pace else None,
            "budget": None if budget is None else max(0.0, budget - spent.cost) / workers,
            "max_calls": None if calls is None else max(0, calls - spent.calls) // workers,
        }
    )


def _portable(settings: Settings) -> Settings:
    """Return the settings as workers get them: without the database, which only this process opens."""
    sent = settings.model_copy(update={"database_url": "sqlite://", "tailors": ()})
    for plugin, told in sent.options.items():
        for name, value in told.items():
            try:
                pickle.dumps(value)
            except (pickle.PicklingError, TypeError, AttributeError):
                raise SettingsError(
                    f"option {name!r} of {plugin!r} is a {type(value).__name__}, which cannot be sent to Ray workers: "
                    "name a specification instead, such as 'openai:gpt-4.1-mini', from which each worker builds its own"
                ) from None
    try:
        PluginHost(sent).registry.require("inferrer", sent.inferrer)
    except SettingsError as error:
        raise SettingsError(f"{error}; Ray workers know installed plugins only, not those given in code") from None
    return sent


@contextmanager
def _connected(address: str | None, workers: int) -> Iterator[None]:
    """Have Ray, quietly; what was started here is ended here.

    Raises:
        MissingExtraError: it is not installed.
        PluginError: there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray.data  # noqa: PLC0415 - an optional install, slow
    except ImportError:
        raise MissingExtraError("learning with Ray needs the extra `ray`: pip install 'persona-sdk[ray]'") from None
    mine = not ray.is_initialized()
    if mine:
        _begin(address or os.environ.get("RAY_ADDRESS") or "local", workers)
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars, level = before
        log.setLevel(level)
        if mine:
            ray.shutdown()


def _begin(address: str, workers: int) -> None:
    import ray  # noqa: PLC0415 - an optional install, slow

    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    if local:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except ConnectionError:
        raise PluginError(f"there is no Ray cluster at {address}: start one, or leave the address out") from None
