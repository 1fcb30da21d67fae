"""`TunedChat`: a LangChain chat model with many adapters, each call answered with the one it names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from persona_plugins.lora.batching import Asked, Part
from persona_plugins.lora.loading import require_torch
from persona_plugins.lora.sampling import Sampling
from persona_plugins.lora.serving import Options, Served, base_folder, served
from persona_sdk.chat.messages import content_text, valid_text
from persona_sdk.errors import InputError
from persona_sdk.language import LogLikelihood, Messages
from persona_sdk.pipeline import contained

__all__ = ["TunedChat"]

#: What `model=` may say for the base model itself.
_BASE = ("", "base", "__base__")
_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")


class TunedChat(BaseChatModel):
    """A chat model run by transformers in this process, with any number of LoRA adapters beside it.

    `adapters` is a folder of adapters made by `persona tune`; `base` is the model they were trained on: a folder of
    transformers, a GGUF file, "local" for the packaged SmolLM2, None for the one that was recorded then. `model=` in a
    call names the adapter that answers, as it would name a model of a server; None or "base" is the base itself.
    `adapter` is the one that answers where a call names none.

    Calls made at the same time are computed together, each with its own adapter, up to `max_batch`; `batch` sends all
    its inputs at once. Adapters are read when first used, and kept while they fit into `memory_budget` bytes. One that
    cannot be used, because it is missing, damaged, of another base, or withdrawn since somebody was forgotten, is
    answered by the base, with a warning in the log and `adapter` None in the answer's `response_metadata`; with
    `strict` such a call fails.

    A conversation without a system message gets `system`; None is the one that the adapter's rows had. Objects with
    the same base, adapters and memory share one loaded model; pickled or forked, it is loaded again on the other side.
    Text that spells the model's control tokens acts as them.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """

    adapters: str = "adapters"
    base: str | None = None
    adapter: str | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    system: str | None = None
    strict: bool = False
    memory_budget: int = 1 << 30
    max_batch: int = 16
    dtype: str = "auto"
    device: str = "auto"

    def __init__(self, adapters: str | os.PathLike[str] = "adapters", **fields: Any) -> None:
        if fields.get("base") is not None:
            fields["base"] = os.fspath(fields["base"])
        super().__init__(adapters=os.fspath(adapters), **fields)
        require_torch()

    @property
    def _llm_type(self) -> str:
        return "tuned"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("adapters", "base", "adapter", "system", *_SAMPLING)}

    def with_adapter(self, name: str | None) -> TunedChat:
        """Return this model answering, and finding answers likely, with an adapter; None is the base."""
        return self.model_copy(update={"adapter": name})

    def log_likelihoods(self, asked: Sequence[tuple[Messages, str]], adapter: str | None = None) -> list[LogLikelihood]:
        """Return, for each conversation and answer, the log-likelihood of that answer, the end of the turn included.

        It is that of the model with `adapter`, or with this object's own if None. It is exact up to the rounding of
        arithmetic. Of an answer that does not fit the context the part that fits is scored, without an end.

        Raises:
            ModelError: a conversation leaves no room for an answer.
        """
        here = self._served()
        name = self._named(adapter)
        conversations = [(self._conversation(messages, name, here), valid_text(answer)) for messages, answer in asked]
        return here.log_likelihoods(conversations, name, strict=self.strict)

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Answer several inputs, all at once: they are computed together, whatever adapters they name."""
        if not inputs:
            return []
        contained(lambda: self._served().batcher.announce(len(inputs)))  # what fails here fails for each of them
        configs = get_config_list(config, len(inputs))
        # Threads that only wait, more than a batch has rows. LangChain's own number is that of processors.
        threads = min(len(inputs), 4 * max(1, self.max_batch))
        together = [{**one, "max_concurrency": one.get("max_concurrency") or threads} for one in configs]
        return super().batch(inputs, together, return_exceptions=return_exceptions, **kwargs)  # type: ignore[arg-type]

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        (chunk,) = self._chunks(messages, stop, kwargs, whole=True)
        return _result(chunk)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        (chunk,) = [chunk async for chunk in self._achunks(messages, stop, kwargs, whole=True)]
        return _result(chunk)

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        return self._chunks(messages, stop, kwargs)

    def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        return self._achunks(messages, stop, kwargs)

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, said: dict[str, Any], *, whole: bool = False
    ) -> Iterator[ChatGenerationChunk]:
        """Yield an answer as it is made, or all of it at once if `whole`."""
        parts: SimpleQueue[Part] = SimpleQueue()
        name, sampling = self._named(said.pop("model", None)), self._sampling(stop, said)
        deliver = _gathered(parts.put) if whole else parts.put
        call = _Call(self._served(), name)
        try:
            call.ask(self._conversation(messages, name, call.here), sampling, deliver, self)
            while True:
                part = parts.get()
                yield call.chunk(part)
                if part.last:
                    return
        finally:
            call.leave()

    async def _achunks(
        self, messages: list[BaseMessage], stop: list[str] | None, said: dict[str, Any], *, whole: bool = False
    ) -> AsyncIterator[ChatGenerationChunk]:
        parts: asyncio.Queue[Part] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        name, sampling = self._named(said.pop("model", None)), self._sampling(stop, said)

        def put(part: Part) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, part)

        deliver = _gathered(put) if whole else put

        def begin() -> _Call:  # reads files, and the first time loads a model
            call = _Call(self._served(), name)
            call.ask(self._conversation(messages, name, call.here), sampling, deliver, self)
            return call

        begun = asyncio.ensure_future(asyncio.to_thread(begin))
        try:
            call = await asyncio.shield(begun)
            while True:
                part = await parts.get()
                yield call.chunk(part)
                if part.last:
                    return
        finally:
            begun.add_done_callback(_left)

    def _served(self) -> Served:
        adapters = str(os.path.abspath(os.path.expanduser(self.adapters)))
        options = Options(
            str(base_folder(self.base, adapters)),
            adapters,
            self.memory_budget,
            self.max_batch,
            self.dtype,
            self.device,
        )
        return served(options)

    def _named(self, model: str | None) -> str | None:
        """Return the adapter that a call is answered with, None for the base."""
        name = self.adapter if model is None else model
        return None if name in _BASE else name

    def _sampling(self, stop: list[str] | None, said: Mapping[str, Any]) -> Sampling:
        unknown = sorted(name for name, value in said.items() if name not in _SAMPLING and value is not None)
        if unknown:
            raise InputError(
                f"{', '.join(unknown)}: a tuned model here takes model, stop, {', '.join(_SAMPLING)}", field=unknown[0]
            )
        values = {name: getattr(self, name) for name in _SAMPLING}
        values |= {name: value for name, value in said.items() if value is not None}
        return Sampling(**values, stop=(stop,) if isinstance(stop, str) else tuple(stop or ()))

    def _conversation(self, messages: Any, adapter: str | None, here: Served) -> list[dict[str, Any]]:
        """Return the conversation as a chat template takes it: roles and text."""
        conversation: list[dict[str, Any]] = []
        for number, message in enumerate(convert_to_openai_messages(list(messages)), start=1):
            text = content_text(message.get("content"), number, "tuned models")
            conversation.append({"role": message["role"], "content": text})
        if not any(message["role"] in ("system", "developer") for message in conversation):
            system = here.pool.system(adapter) if adapter and self.system is None else self.system
            if system:
                conversation.insert(0, {"role": "system", "content": valid_text(system)})
        return conversation


class _Call:
    """One answer being made: what it holds in the meantime, and its parts as LangChain's chunks."""

    def __init__(self, here: Served, name: str | None) -> None:
        self.here, self.name = here, name
        self._asked: Asked | None = None

    def ask(
        self,
        conversation: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        deliver: Callable[[Part], None],
        of: TunedChat,
    ) -> None:
        """Begin; parts of the answer are delivered until one is the last."""
        tokens = self.here.speech.prompt(conversation)
        weights = self.here.pool.take(self.name, strict=of.strict) if self.name else None
        self._asked = Asked(tokens, weights, sampling, deliver)
        try:
            self.here.batcher.ask(self._asked)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Say that nobody listens any more. Leaving twice is harmless."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.left = True
            if asked.weights is not None:
                self.here.pool.release(asked.weights)

    def chunk(self, part: Part) -> ChatGenerationChunk:
        """Return a part as a chunk; the last one has the counts, and what answered."""
        if part.error is not None:
            raise part.error
        chunk = AIMessageChunk(content=part.text)
        if part.finish:
            weights = self._asked.weights if self._asked else None
            adapter = weights.name if weights else None
            chunk.response_metadata = {
                "finish_reason": part.finish,
                "model_provider": "tuned",
                "model_name": adapter or self.here.pool.base.name,
                "adapter": adapter,
            }
            chunk.usage_metadata = UsageMetadata(
                input_tokens=part.read, output_tokens=part.made, total_tokens=part.read + part.made
            )
            chunk.chunk_position = "last"
        return ChatGenerationChunk(message=chunk)


def _left(begun: asyncio.Future[_Call]) -> None:
    if not begun.cancelled() and begun.exception() is None:
        begun.result().leave()


def _gathered(deliver: Callable[[Part], None]) -> Callable[[Part], None]:
    """Deliver all parts as one: who waits for the whole answer is not woken by every token."""
    texts: list[str] = []

    def take(part: Part) -> None:
        texts.append(part.text)
        if part.last:
            deliver(replace(part, text="".join(texts)))

    return take


def _result(chunk: ChatGenerationChunk) -> ChatResult:
    said: Any = chunk.message
    message = AIMessage(
        content=said.content, usage_metadata=said.usage_metadata, response_metadata=said.response_metadata
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
