"""`ChatLocal`: a LangChain chat model on this machine's processor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough

from persona_plugins.local_models import files, likelihoods, structured
from persona_plugins.local_models.server import Kept, Loaded, Options, loaded
from persona_sdk.chat.messages import content_text, valid_text
from persona_sdk.language import LogLikelihood, Messages

__all__ = ["ChatLocal"]

#: What the packaged model is told where nobody tells it anything. Its own template says that it is SmolLM, of Hugging
#: Face, whereupon it answers the simplest questions in French.
_SYSTEM = "You are a helpful assistant."


class ChatLocal(BaseChatModel):
    """A chat model in a GGUF file, run by llama.cpp in this process: SmolLM2 with 135M parameters, or any `path`.

    It is loaded when first used. Objects with the same path, context and threads share one loaded model, which answers
    `n_parallel` calls at a time; pickled or forked, it is loaded again on the other side. `n_ctx` is what one
    conversation may be long, answer included, in tokens. `n_threads` defaults to all processors but one: llama.cpp's
    threads wait for each other, and on a processor that others use, too, all would wait for the one that lost it.

    An answer ends after `max_tokens` at the latest. A small model may not end by itself, least of all inside a string
    of a schema that does not bound it: bound strings and lists, and keep `max_tokens` low. Text that spells the model's
    control tokens acts as them.

    `system` is said where a conversation has no system message; None is "You are a helpful assistant." for the
    packaged model, and nothing for others.

    Raises:
        MissingExtraError: llama.cpp, or the packaged model, is not installed.
        InputError: there is no such file.
    """

    path: str = ""
    n_ctx: int = 4096
    n_parallel: int = 4
    n_threads: int | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    system: str | None = None

    def __init__(self, path: str | os.PathLike[str] = "", **fields: Any) -> None:
        super().__init__(path=os.fspath(path), **fields)
        files.chat_file(self.path)

    @property
    def _llm_type(self) -> str:
        return "local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("path", "n_ctx", "max_tokens", "temperature", "seed", "system")
        return {name: getattr(self, name) for name in names}

    def log_likelihoods(self, asked: Sequence[tuple[Messages, str]]) -> list[LogLikelihood]:
        """Return, for each conversation and answer, the log-likelihood of that answer, the end of the turn included.

        It is exact up to the rounding of arithmetic, which depends on what else is being computed. Of an answer that
        does not fit the context the part that fits is scored, without an end.

        Raises:
            ModelError: a conversation leaves no room for an answer.
        """
        conversations = [(self._conversation(messages), valid_text(answer)) for messages, answer in asked]
        # More answers at a time than threads to compute them would only take turns, and take longer.
        return likelihoods.score(self._model(), conversations, min(self.n_parallel, self._threads()))

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **kwargs: Any) -> Runnable[Any, Any]:
        """Return a model whose answers follow a pydantic class or a JSON schema: it can say nothing else.

        An answer that is cut at `max_tokens` raises LangChain's OutputParserException, or, with `include_raw`, is
        returned beside it. A schema that llama.cpp cannot follow raises a ModelError when it is first asked.
        """
        kwargs.pop("method", None)  # there is one way here, and it is strict
        kwargs.pop("strict", None)
        form = {"name": "answer", "schema": structured.json_schema(schema)}
        model = self.bind(response_format={"type": "json_schema", "json_schema": form}, **kwargs)
        reader: Runnable[Any, Any] = RunnableLambda(lambda message: structured.read(message, schema))
        if not include_raw:
            return model | reader
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | reader, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        parts: list[AIMessageChunk] = []

        def take(part: dict[str, Any]) -> bool:
            parts.append(self._chunk(part))
            return False

        self._model().chat(self._body(messages, stop, kwargs), take)
        message = AIMessage(
            content="".join(str(part.content) for part in parts),
            usage_metadata=next((part.usage_metadata for part in parts if part.usage_metadata), None),
            response_metadata=next((part.response_metadata for part in parts if part.response_metadata), {}),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        body, model = self._body(messages, stop, kwargs), self._model()
        for part in _pulled(lambda take: model.chat(body, take)):
            chunk = self._chunk(part)
            if chunk.content or chunk.usage_metadata or chunk.response_metadata:
                yield ChatGenerationChunk(message=chunk)

    def _model(self) -> Loaded:
        return loaded(Options(str(files.chat_file(self.path)), self.n_ctx, self.n_parallel, self._threads()))

    def _threads(self) -> int:
        return self.n_threads or max(1, _processors() - 1)

    def _body(self, messages: Any, stop: list[str] | None, more: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stop": stop,
        }
        body |= more  # what is bound, or said in the call, goes before what the object was made with
        body |= {"stream": True, "stream_options": {"include_usage": True}, "messages": self._conversation(messages)}
        return {name: value for name, value in body.items() if value is not None}

    def _conversation(self, messages: Any) -> list[dict[str, Any]]:
        """Return the conversation as llama.cpp takes it: text only."""
        conversation: list[dict[str, Any]] = []
        for number, message in enumerate(convert_to_openai_messages(list(messages)), start=1):
            text = content_text(message.get("content"), number, "local models")
            conversation.append({"role": message["role"], "content": text})
        system = (_SYSTEM if not self.path else "") if self.system is None else self.system
        if system and not any(message["role"] in ("system", "developer") for message in conversation):
            conversation.insert(0, {"role": "system", "content": valid_text(system)})
        return conversation

    def _chunk(self, part: Mapping[str, Any]) -> AIMessageChunk:
        choice: Mapping[str, Any] = next(iter(part.get("choices") or ()), {})
        chunk = AIMessageChunk(content=choice.get("delta", {}).get("content") or "")
        if choice.get("finish_reason"):
            chunk.response_metadata = {"finish_reason": choice["finish_reason"], "model_provider": "local"}
        if part.get("usage"):
            used = part["usage"]
            cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            chunk.usage_metadata = UsageMetadata(
                input_tokens=used["prompt_tokens"],
                output_tokens=used["completion_tokens"],
                total_tokens=used["total_tokens"],
                input_token_details=InputTokenDetails(cache_read=cached),
            )
            chunk.chunk_position = "last"
        return chunk


def _pulled(push: Callable[[Callable[[dict[str, Any]], bool]], None]) -> Iterator[dict[str, Any]]:
    """Turn a function that hands out parts into an iterator of them; closing the iterator stops the function."""
    parts: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()
    stopped = False

    def take(part: dict[str, Any]) -> bool:
        parts.put(part)
        return stopped

    def run() -> None:
        with Kept() as kept:
            push(take)
        parts.put(kept.error)  # None is the end

    # A daemon: it must not keep the process from ending, and the server waits for it then.
    Thread(target=run, name="local-model", daemon=True).start()
    try:
        while (part := parts.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            yield part
    finally:
        stopped = True


def _processors() -> int:
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))  # fewer than the machine's in a container
    return os.cpu_count() or 1
