"""llama.cpp in this process: loaded models by their options, shared by all who ask, and cleanly gone at exit."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Condition, Event, Lock, current_thread
from typing import Any
from urllib.parse import urlsplit

from persona_sdk.errors import ModelError

__all__ = ["Kept", "Loaded", "Options", "loaded"]

#: Takes one part of an answer; true says that no more is wanted.
Take = Callable[[dict[str, Any]], bool]

#: Seconds that the end of the process waits for calls under way; each stops at its next token.
_PATIENCE = 20.0

#: A bias that leaves a sampler no choice.
_SURELY = 1e4
#: More than any vocabulary has.
_ALL = 10**7
#: Asks for one token, and how probable it was before biases and samplers.
_ONE = {"max_tokens": 1, "post_sampling_probs": False, "temperature": 0, "cache_prompt": True}


@dataclass(frozen=True, slots=True)
class Options:
    """What a model is loaded with. Whoever asks for the same gets the same loaded model."""

    path: str
    n_ctx: int
    n_parallel: int
    n_threads: int


class Kept:
    """Keeps the first exception raised inside, to raise it `again` where its caller is.

    llama.cpp drops what a callback raises, and a thread has nobody to raise it to.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.error = self.error or error
        return True

    def again(self) -> None:
        """Raise what was kept, if anything was."""
        if self.error is not None:
            raise self.error


class Slots:
    """Who may use which slot of a model: a slot keeps what it read last, and need not read it again."""

    def __init__(self, number: int) -> None:
        self._read: dict[int, str] = dict.fromkeys(range(number), "")  # the least recently used first
        self._busy: set[int] = set()
        self._change = Condition()

    @contextmanager
    def one(self, text: str) -> Iterator[int]:
        """Wait for a slot for this text, preferably one that read its beginning, and have it for as long as needed."""
        with self._change:
            self._change.wait_for(lambda: len(self._busy) < len(self._read))
            free = [slot for slot in self._read if slot not in self._busy]
            slot = max(free, key=lambda slot: _shared(self._read[slot], text))
            self._busy.add(slot)
            del self._read[slot]
            self._read[slot] = text
        try:
            yield slot
        finally:
            with self._change:
                self._busy.remove(slot)
                self._change.notify()


def _shared(text: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))


class Loaded:
    """One loaded model. Calls from several threads are answered side by side, `n_parallel` at a time."""

    def __init__(self, options: Options) -> None:
        import xllamacpp  # noqa: PLC0415 - an optional install of 100 MB

        self.name = os.path.basename(options.path)
        self._key = secrets.token_urlsafe(32)
        self._closing, self._calls, self._change = False, 0, Condition()
        self._slots = Slots(options.n_parallel)
        try:
            self._server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), options, self._key))
        except (RuntimeError, ValueError):
            raise ModelError(
                f"{self.name}: llama.cpp cannot load it; is it a GGUF file of a chat model, and is there memory for "
                f"{options.n_parallel} × {options.n_ctx} tokens?"
            ) from None
        self._address = urlsplit(self._server.listening_address).netloc
        props = self.ask("GET", "/props")
        #: How long a conversation may be, answer included; less than was wanted where the model cannot do more.
        self.context = int(props["default_generation_settings"]["n_ctx"])
        ends = self.tokens(str(props.get("eos_token", "")), special=True)
        #: The token that ends an answer, None if the file names none.
        self.end = ends[0] if len(ends) == 1 else None
        self._whole = self.tokens("a")[0]

    def chat(self, body: Mapping[str, Any], take: Take) -> None:
        """Answer a conversation, part by part, on the calling thread.

        Raises:
            ModelError: the conversation is longer than the context, or llama.cpp failed.
        """
        with self._slots.one(json.dumps(body["messages"])) as slot:
            self._call("handle_chat_completions", {**body, "id_slot": slot}, take)

    def log_probabilities(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log probability of each token after the prompt and the tokens before it.

        Each token is forced by a bias that leaves no choice; what is reported is the probability before the bias. A
        grammar that forces all in one call is no faster, and cannot have tokens that are a part of a character.

        Raises:
            ModelError: llama.cpp failed.
        """
        read, found = list(prompt), []
        with self._slots.one(json.dumps(read)) as slot:
            for token in tokens:
                found.append(self._log_probability(read, token, slot))
                read.append(token)
        return found

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens; `special` reads control tokens."""
        asked = {"content": text, "parse_special": special, "add_special": False}
        return [int(token) for token in self.ask("POST", "/tokenize", asked)["tokens"]]

    def prompt(self, messages: list[dict[str, Any]]) -> str:
        """Return the text that a conversation is for this model, up to where its answer begins."""
        return str(self.ask("POST", "/apply-template", {"messages": messages})["prompt"])

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask llama.cpp's own server on the loopback what its Python binding has no function for.

        Raises:
            ModelError: it did not answer.
        """
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = HTTPConnection(self._address, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            read = response.read()
            if response.status != 200:
                raise ModelError(f"{self.name}: llama.cpp refused {path} (status {response.status})")
            answer: dict[str, Any] = json.loads(read)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{self.name}: llama.cpp did not answer {path} ({type(error).__name__})") from None
        finally:
            connection.close()
        return answer

    def close(self) -> None:
        """Stop the calls under way at their next token, then unload the model."""
        with self._change:
            self._closing = True
            self._change.wait_for(lambda: not self._calls, timeout=_PATIENCE)
            if _child:
                self.leak()
            elif not self._calls:
                self._server = None

    def leak(self) -> None:
        """Never take the server down: after a fork its threads are the parent's, and cannot be waited for."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._server))

    def _log_probability(self, read: Sequence[int], token: int, slot: int) -> float:
        step = self._step(read, token, slot)
        if step is None:  # a part of a character, of which llama.cpp says nothing: it is in the list of all tokens
            listed = (self._step(read, self._whole, slot, number=_ALL) or {}).get("top_logprobs", ())
            step = next((one for one in listed if one["id"] == token), None)
        if step is None or step["id"] != token:
            raise ModelError(f"{self.name}: llama.cpp did not keep to an answer's tokens")
        return float(step["logprob"])

    def _step(self, read: Sequence[int], token: int, slot: int, *, number: int = 1) -> dict[str, Any] | None:
        """Force a token, and return what is said of it, with that `number` of the most probable ones."""
        forced = {"prompt": read, "id_slot": slot, "logit_bias": [[token, _SURELY]], "n_probs": number, **_ONE}
        said = (self._complete(forced)["choices"][0].get("logprobs") or {}).get("content")
        return dict(said[0]) if said else None

    def _complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        whole: list[dict[str, Any]] = []

        def take(part: dict[str, Any]) -> bool:
            whole.append(part)
            return False

        self._call("handle_completions", body, take)
        return whole[-1]

    def _call(self, function: str, body: Mapping[str, Any], take: Take) -> None:
        kept = Kept()

        def each(part: dict[str, Any]) -> bool:
            with kept:
                if "error" in part:
                    raise self._failed(part["error"])
                return self._closing or take(part)
            return True

        with self._under_way():
            try:
                answer = getattr(self._server, function)(dict(body), each)
            except (RuntimeError, ValueError, TypeError) as error:
                # The message may quote what it could not read.
                refused = f"{self.name}: llama.cpp refused the request ({type(error).__name__})"
                schema = "; it may not be able to follow the schema" if "response_format" in body else ""
                raise ModelError(refused + schema) from None
        kept.again()
        if isinstance(answer, dict) and "error" in answer:
            raise self._failed(answer["error"])
        if self._closing:
            raise self._ended()

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """Make the end of the process wait for what is done inside, or begin nothing any more."""
        with self._change:
            ending = self._closing
            self._calls += not ending
        if ending:
            raise self._ended()
        try:
            yield
        finally:
            with self._change:
                self._calls -= 1
                self._change.notify_all()

    def _ended(self) -> ModelError:
        """Hold a daemon thread for good, as the interpreter itself is about to: an error would be printed, at most."""
        if current_thread().daemon:
            Event().wait()
        return ModelError(f"{self.name}: the process is ending")

    def _failed(self, error: Mapping[str, Any]) -> ModelError:
        if error.get("type") == "exceed_context_size_error":
            long, room = error.get("n_prompt_tokens"), error.get("n_ctx")
            return ModelError(
                f"{self.name}: the conversation is {long} tokens long, and may be {room}; shorten it, or load the "
                "model with a larger n_ctx"
            )
        return ModelError(f"{self.name}: llama.cpp failed ({error.get('type')}, code {error.get('code')})")


def _parameters(parameters: Any, options: Options, key: str) -> Any:
    parameters.model.path = options.path
    parameters.n_ctx = options.n_ctx * options.n_parallel  # llama.cpp divides it among the slots
    parameters.n_parallel = options.n_parallel
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = options.n_threads
    parameters.verbosity = -1  # nothing on stdout or stderr
    parameters.fit_params = False  # load what was asked for, or fail
    parameters.warmup = False
    parameters.cache_ram_mib = 0  # its own default keeps up to 8 GiB of old conversations
    # It always opens a port on the loopback, which everybody on the machine can reach: without the key it refuses them.
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.endpoint_slots = False
    return parameters


_servers: dict[Options, Loaded] = {}
_lock = Lock()
_ready = _ended = _child = False


def loaded(options: Options) -> Loaded:
    """Return the model with these options, loading it if nobody did in this process.

    Raises:
        ModelError: it cannot be loaded.
    """
    with _lock:
        if _ended:
            raise ModelError(f"{os.path.basename(options.path)}: the process is ending")
        _prepare()
        if options not in _servers:
            _servers[options] = Loaded(options)
        return _servers[options]


def _prepare() -> None:
    """See to the end of the process, and to forks of it, once something is loaded."""
    global _ready  # noqa: PLW0603 - once a process
    if _ready:
        return
    _ready = True
    atexit.register(_close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _close() -> None:
    """Unload everything while Python is whole: later, a call that ends could not give its answer back to Python."""
    global _ended  # noqa: PLW0603 - once a process
    with _lock:
        _ended = True
        for server in _servers.values():
            server.close()
        _servers.clear()
        if _child:
            # llama.cpp's own end would wait for threads that are the parent's. Python has written everything by then.
            with suppress(AttributeError, OSError):
                libc = ctypes.CDLL(None)
                libc.on_exit(libc._exit, None)


def _forked() -> None:
    """Begin anew in a forked process: threads do not come along."""
    global _lock, _child
    # Another thread may have held the lock.
    _lock, _child = Lock(), True
    for server in _servers.values():
        server.leak()
    _servers.clear()
