"""`PersonalizedChat`: carries calls between the engine and the model, and decides nothing itself (see `plan`)."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import coerce_to_runnable
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel

from persona_sdk.chat.messages import as_chunk, from_langchain, read_input, text_of
from persona_sdk.chat.plan import Plan, Reading, Request, candidates, stamped
from persona_sdk.chat.telling import atell, tell
from persona_sdk.models import Message, Tailored

__all__ = ["PersonalizedChat"]


class _Engine(Protocol):
    """What of a `Personalizer` is needed here."""

    def tailor(self, user_id: str, messages: Sequence[Message]) -> Tailored: ...
    async def atailor(self, user_id: str, messages: Sequence[Message]) -> Tailored: ...
    def choose(self, tailored: Tailored, answers: Sequence[str]) -> int: ...
    async def achoose(self, tailored: Tailored, answers: Sequence[str]) -> int: ...
    def answered(self, tailored: Tailored, answer: str) -> None: ...


class PersonalizedChat(Runnable[LanguageModelInput, Any]):
    """A chat model that answers each person in their way, and is otherwise the model it wraps.

    The person is `configurable.user_id` of the call's config (given or inherited), else `user_id=` of the call, else
    the one bound by `for_user`. Without a person the model gets the call exactly as it came. Messages that tailoring
    left alone reach the model as the caller's very same objects.

    Messages come back with the call id in `response_metadata["persona_call_id"]`, in a stream in its last chunk; give
    it as `response_id` with feedback. Callbacks and LangGraph's streams find it in the metadata of the model's run.

    Where best-of-n is on, n answers are asked for and one is given; a stream then is that answer in one chunk. Bound
    tools, structured output, retries and fallbacks stay personalised.

    The callback-level methods that chains of old used (`generate`, `generate_prompt`) are the model's own: untailored.
    """

    def __init__(self, engine: _Engine, model: Any, *, user_id: str | None = None, choosing: bool = True) -> None:
        self._engine = engine
        self._model: Any = model if hasattr(model, "invoke") else coerce_to_runnable(model)
        self._user_id = user_id
        self._choosing = choosing

    # Who asks, and which model answers

    def for_user(self, user_id: str) -> PersonalizedChat:
        """Return this chat for one person, whom a call's config or `user_id=` still overrides."""
        return self._over(self._model, user_id=user_id)

    def bind(self, **kwargs: Any) -> PersonalizedChat:
        """Bind arguments of the model; `user_id` binds the person."""
        user_id = kwargs.pop("user_id", None)
        return self._over(self._model.bind(**kwargs) if kwargs else self._model, user_id=user_id)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> PersonalizedChat:
        """Bind tools to the model, as the model does it."""
        return self._over(self._model.bind_tools(tools, **kwargs))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> PersonalizedChat:
        """Have the model answer in a schema; the results are the model's own, and there is no choosing among them."""
        return self._over(self._model.with_structured_output(schema, **kwargs), choosing=False)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> PersonalizedChat:
        """Bind a config; a `user_id` in it binds the person."""
        bound = {**(config or {}), **kwargs}
        user_id = {**bound, **(bound.get("configurable") or {})}.get("user_id")
        return self._over(self._model.with_config(config, **kwargs), user_id=user_id)

    def with_retry(self, *args: Any, **kwargs: Any) -> PersonalizedChat:
        """Have the model try again, with the same tailored messages."""
        return self._over(self._model.with_retry(*args, **kwargs))

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **kwargs: Any) -> PersonalizedChat:  # type: ignore[override]  # LangChain names its own class
        """Have other models step in; they get the same tailored messages, so tailored ones are taken out of theirs."""
        bare = [f._model if isinstance(f, PersonalizedChat) else f for f in fallbacks]
        return self._over(self._model.with_fallbacks(bare, **kwargs))

    def with_listeners(self, *args: Any, **kwargs: Any) -> PersonalizedChat:
        """Listen to the model's runs."""
        return self._over(self._model.with_listeners(*args, **kwargs))

    def with_alisteners(self, *args: Any, **kwargs: Any) -> PersonalizedChat:
        """Listen to the model's runs, asynchronously."""
        return self._over(self._model.with_alisteners(*args, **kwargs))

    def _over(self, model: Any, *, user_id: str | None = None, choosing: bool = True) -> PersonalizedChat:
        other = copy.copy(self)
        other._model = model
        other._user_id = self._user_id if user_id is None else user_id
        other._choosing = self._choosing and choosing
        return other

    def __getattr__(self, name: str) -> Any:
        # While being copied or unpickled there is no model yet, and Python's own protocols are not the model's.
        if name.startswith("__") or "_model" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = getattr(self._model, name)
        return self._personalised(found) if inspect.isroutine(found) else found

    def _personalised(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the model's method such that a runnable it makes of the model is tailored, too."""

        @functools.wraps(method)
        def over(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return self._over(result) if isinstance(result, Runnable) else result

        return over

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model!r})"

    # What LangChain asks about a step of a chain

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the model's name: traces look as they would without tailoring."""
        return str(self._model.get_name(suffix, name=name))

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """What the model takes."""
        return self._model.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """What the model gives."""
        return self._model.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the schema of what the model takes."""
        schema: type[BaseModel] = self._model.get_input_schema(config)
        return schema

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the schema of what the model gives."""
        schema: type[BaseModel] = self._model.get_output_schema(config)
        return schema

    @property
    def config_specs(self) -> list[Any]:
        """What of the model can be configured."""
        specs: list[Any] = self._model.config_specs
        return specs

    # Calls. `input` is LangChain's name for the first argument, and callers pass it by name.

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one conversation.

        Raises:
            InputError: `input` is not messages, or the user id is unusable.
            PluginError: a tailor that is `required` failed.
            Exception: whatever the model raised, unchanged.
        """
        request = self._request(input, config, kwargs)
        if request is None:
            return self._model.invoke(input, config, **kwargs)
        return self._answer(self._plan(request), config)

    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one conversation; see `invoke`."""
        request = self._request(input, config, kwargs)
        if request is None:
            return await self._model.ainvoke(input, config, **kwargs)
        return await self._aanswer(await self._aplan(request), config)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Answer one conversation chunk by chunk; see `invoke`. Best-of-n gives its answer as one chunk."""
        request = self._request(input, config, kwargs)
        if request is None:
            yield from self._model.stream(input, config, **kwargs)
            return
        plan = self._plan(request)
        if plan.n > 1:
            yield as_chunk(self._answer(plan, config))
            return
        reading = Reading(plan.tailored.call_id)
        for chunk in self._model.stream(plan.input, plan.config(config), **plan.kwargs):
            read = reading.read(chunk)
            if reading.just_ended:  # before the last chunk goes out: nobody has to ask for one more
                tell(self._engine, plan.tailored, reading.text)
            yield read
        if not reading.ended:
            tell(self._engine, plan.tailored, reading.text)
            yield from reading.tail()

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Answer one conversation chunk by chunk; see `stream`."""
        request = self._request(input, config, kwargs)
        if request is None:
            async with _closing(self._model.astream(input, config, **kwargs)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        plan = await self._aplan(request)
        if plan.n > 1:
            yield as_chunk(await self._aanswer(plan, config))
            return
        reading = Reading(plan.tailored.call_id)
        async with _closing(self._model.astream(plan.input, plan.config(config), **plan.kwargs)) as chunks:
            async for chunk in chunks:
                read = reading.read(chunk)
                if reading.just_ended:
                    await atell(self._engine, plan.tailored, reading.text)
                yield read
        if not reading.ended:
            await atell(self._engine, plan.tailored, reading.text)
            for chunk in reading.tail():
                yield chunk

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Answer several conversations at once, each for the person its own config names; see `invoke`."""
        batch = super().batch if self._anybody(config, kwargs) else self._model.batch
        answers: list[Any] = batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        return answers

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Answer several conversations at once; see `batch`."""
        batch = super().abatch if self._anybody(config, kwargs) else self._model.abatch
        answers: list[Any] = await batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        return answers

    # What both ways of calling share

    def _person(self, config: RunnableConfig | None, named: str | None) -> str | None:
        configured = (ensure_config(config).get("configurable") or {}).get("user_id")
        return next((u for u in (configured, named, self._user_id) if u is not None), None)

    def _anybody(self, config: RunnableConfig | list[RunnableConfig] | None, kwargs: dict[str, Any]) -> bool:
        """Whether a batch names anybody. If not, the model batches in its own way, and without `user_id`."""
        configs = config if isinstance(config, list) else [config]
        if any(self._person(c, kwargs.get("user_id")) is not None for c in configs):
            return True
        kwargs.pop("user_id", None)
        return False

    def _request(self, given: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Request | None:
        """Read a call, taking `user_id` out of `kwargs`; None when it names nobody."""
        user_id = self._person(config, kwargs.pop("user_id", None))
        if user_id is None:
            return None
        originals = tuple(read_input(given))
        messages = tuple(from_langchain(m) for m in originals)
        return Request(user_id, given, originals, messages, kwargs)

    def _plan(self, request: Request) -> Plan:
        tailored = self._engine.tailor(request.user_id, request.messages)
        return Plan.of(request, tailored, choosing=self._choosing)

    async def _aplan(self, request: Request) -> Plan:
        tailored = await self._engine.atailor(request.user_id, request.messages)
        return Plan.of(request, tailored, choosing=self._choosing)

    def _answer(self, plan: Plan, config: RunnableConfig | None) -> Any:
        if plan.n == 1:
            answer = self._model.invoke(plan.input, plan.config(config), **plan.kwargs)
        else:
            results = self._model.batch(*plan.batch(config), return_exceptions=True, **plan.kwargs)
            answers = candidates(results)
            texts = [text_of(a) for a in answers]
            answer = answers[self._engine.choose(plan.tailored, texts) if len(answers) > 1 else 0]
        tell(self._engine, plan.tailored, text_of(answer))
        return stamped(answer, plan.tailored.call_id)

    async def _aanswer(self, plan: Plan, config: RunnableConfig | None) -> Any:
        if plan.n == 1:
            answer = await self._model.ainvoke(plan.input, plan.config(config), **plan.kwargs)
        else:
            results = await self._model.abatch(*plan.batch(config), return_exceptions=True, **plan.kwargs)
            answers = candidates(results)
            texts = [text_of(a) for a in answers]
            answer = answers[await self._engine.achoose(plan.tailored, texts) if len(answers) > 1 else 0]
        await atell(self._engine, plan.tailored, text_of(answer))
        return stamped(answer, plan.tailored.call_id)


@asynccontextmanager
async def _closing(chunks: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Close a stream whose consumer leaves early: the connection must not wait for the garbage collector."""
    try:
        yield chunks
    finally:
        if close := getattr(chunks, "aclose", None):
            await close()
