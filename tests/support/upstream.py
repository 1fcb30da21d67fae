"""A server on loopback that speaks OpenAI's protocol, for tests of what stands before one: an ASGI app under uvicorn.

Answers echo what was asked, or say what `reply` makes of it. What came in is kept as bytes. What goes wrong is said by
the request itself, in its last user message, so that requests at once each get their own:

    [500]       any status from 300 on, with the headers of one       [empty]     200, and nothing in it
    [cut]       breaks off in the middle, [cut=N] after N pieces      [garbage]   neither JSON nor events
    [reset]     the connection dies before an answer                  [protocol]  an answer that is not HTTP
    [slow]      no answer until `release` is set, or for [slow=S]     [hold]      half of it, the rest upon `release`
    [gzip]      compressed, although that was asked not to be         [redirect]  points elsewhere
    [error]     an error as an event, in the middle of a stream       [split=N]   pieces of N bytes
    [pieces=N]  an answer of so many words                            [pace=S]    so many seconds between pieces
    [pad=N]     each piece is N bytes longer
"""

import asyncio
import base64
import gzip
import itertools
import json
import re
import struct
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.support.upstream_answers import Asked, chat, chat_events, response, response_events

__all__ = ["Received", "Upstream", "serving", "upstream"]

_MARKER = re.compile(r"\[(\d{3}|[a-z]+)(?:=([\d.]+))?\]")
MODELS = ("m", "org/model")


@dataclass(frozen=True)
class Received:
    """A request as it came in: `target` is the path as it was sent, with its query."""

    method: str
    target: str
    headers: tuple
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        """The values of a header, as text."""
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]


class _BrokenOffError(Exception):
    """Ends a connection where no answer is at its end."""


class Upstream:
    """What was asked (`requests`), and how it answers.

    `at_once` are the requests at work now, `most_at_once` at most so far; `left` those whose client was gone before the
    answer's end. `sent` counts the bytes of answers.
    """

    def __init__(self):
        self.url = ""  # with "/v1"
        self.release = threading.Event()
        self._ids = itertools.count(100_000)
        self.reset()

    def reset(self):
        """Forget what was asked, and answer as at first; ids go on."""
        self.requests, self.reply = [], lambda asked: f"echo: {asked.text}"
        self.at_once = self.most_at_once = self.left = self.sent = 0
        self.pace = 0.0
        self.release.clear()
        #: Go with every answer; a cookie among them, which is the gateway's to keep to itself.
        self.headers = [
            (b"x-request-id", b"req-7"),
            (b"openai-processing-ms", b"12"),
            (b"x-ratelimit-remaining-requests", b"41"),
            (b"set-cookie", b"session=upstream; Path=/"),
        ]

    @property
    def wire(self):
        """The messages of the last request as (role, content)."""
        return [(m["role"], m.get("content")) for m in self.requests[-1].json["messages"]]

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body, more = body + message.get("body", b""), message.get("more_body", False)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        target = (scope["raw_path"] + query).decode("latin-1")
        self.requests.append(Received(scope["method"], target, tuple(scope["headers"]), body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        gone = asyncio.Event()
        watcher = asyncio.create_task(_watch(receive, gone))
        try:
            await _Answering(self, Asked.of(scope["path"], body), send, gone).run(scope)
        except _BrokenOffError:
            send.__self__.transport.close()  # uvicorn's: ASGI has no word for this
        finally:
            watcher.cancel()
            self.at_once -= 1
            self.left += gone.is_set()

    def number(self):
        """Return what tells an answer from all others."""
        return next(self._ids)


class _Answering:
    """One answer."""

    def __init__(self, upstream, asked, send, gone):
        self.upstream, self.asked, self.gone = upstream, asked, gone
        self._send = send
        self.marks = dict(_MARKER.findall(asked.text))

    async def run(self, scope):
        marks = self.marks
        status = next((int(m) for m in marks if m.isdigit() and int(m) >= 300), None)
        if "slow" in marks:
            await (self._pause(float(marks["slow"])) if marks["slow"] else self._held())
        if "reset" in marks or "protocol" in marks:
            if "protocol" in marks:
                self._send.__self__.transport.write(b"220 this is a mail server\r\n\r\n")
            raise _BrokenOffError
        if "redirect" in marks:
            await self._whole(307, b"", [(b"location", (self.upstream.url + "/elsewhere").encode())])
        elif status is not None:
            about = {"message": f"it broke on: {self.asked.text}", "type": "server_error", "param": None, "code": None}
            await self._json({"error": about}, status, [(b"retry-after", b"3")])
        elif "empty" in marks:
            await self._whole(200, b"", [(b"content-type", self._kind)])
        elif "garbage" in marks:
            garbage = b"event: \xff\ndata: {]\n\n: \x00\ndata\n\n{" if self.asked.stream else b'{"id": "chatcmpl-'
            await self._whole(200, garbage, [(b"content-type", self._kind)])
        else:
            await self._answer(scope["method"], scope["path"])

    @property
    def _kind(self):
        return b"text/event-stream; charset=utf-8" if self.asked.stream else b"application/json"

    async def _answer(self, method, path):
        try:
            document = self._made(method, path.removeprefix("/v1").split("/")[1:])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # it asks for what makes no sense
            return await self._json({"error": {"message": "cannot be used", "type": "invalid_request_error"}}, 400)
        if isinstance(document, list):
            return await self._stream(document)
        if document is None:
            return await self._json({"error": {"message": "no such path", "type": "invalid_request_error"}}, 404)
        return await self._json(document)

    def _made(self, method, path):
        """Return what is asked for: a document, a list of events, None if there is no such thing."""
        asked = self.asked
        match method, path:
            case "POST", ["chat", "completions"]:
                texts, number = self._texts(asked.n), self.upstream.number()
                return list(chat_events(asked, texts, number)) if asked.stream else chat(asked, texts, number)
            case "POST", ["responses"]:
                [text], number = self._texts(1), self.upstream.number()
                return list(response_events(asked, text, number)) if asked.stream else response(asked, text, number)
            case "POST", ["embeddings"]:
                return _embeddings(asked.body)
            case "GET", ["models"]:
                return {"object": "list", "data": [_model(name) for name in MODELS]}
            case "GET", ["models", *rest] if "/".join(rest) in MODELS:
                return _model("/".join(rest))
        return None

    def _texts(self, n):
        if "pieces" in self.marks:
            return [" ".join(f"word{i}" for i in range(int(self.marks["pieces"])))] * n
        return [self.upstream.reply(self.asked) for _ in range(n)]

    async def _json(self, body, status=200, headers=()):
        await self._whole(status, json.dumps(body).encode(), [(b"content-type", b"application/json"), *headers])

    async def _whole(self, status, body, headers):
        if "gzip" in self.marks:
            body, headers = gzip.compress(body), [*headers, (b"content-encoding", b"gzip")]
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, [*headers, length])
        if "cut" in self.marks or "hold" in self.marks:
            await self._body(body[: len(body) // 2], more=True)
            await self._halfway()
            body = body[len(body) // 2 :]
        await self._body(body, more=False)

    async def _stream(self, events):
        pieces = [_event(one, int(self.marks.get("pad") or 0)) for one in events]
        if "error" in self.marks:
            pieces[len(pieces) // 2 :] = [_event({"error": {"message": "overloaded", "type": "server_error"}}, 0)]
        half = int(self.marks.get("cut") or len(pieces) // 2)
        if size := int(self.marks.get("split") or 0):
            joined = b"".join(pieces)
            pieces = [joined[i : i + size] for i in range(0, len(joined), size)]
        squeeze = zlib.compressobj(wbits=31) if "gzip" in self.marks else None
        coding = [(b"content-encoding", b"gzip")] if squeeze else []
        await self._start(200, [(b"content-type", self._kind), (b"cache-control", b"no-cache"), *coding])
        pace = float(self.marks.get("pace") or self.upstream.pace)
        for number, piece in enumerate(pieces):
            if number == half and ("cut" in self.marks or "hold" in self.marks):
                await self._halfway()
            await asyncio.sleep(0)  # sending to nobody never waits: it would not be seen that they are gone
            if self.gone.is_set():
                return
            sent = squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH) if squeeze else piece
            await self._body(sent, more=True)
            if pace:
                await self._pause(pace)
        await self._body(squeeze.flush() if squeeze else b"", more=False)

    async def _halfway(self):
        if "hold" in self.marks:
            await self._held()
        else:
            raise _BrokenOffError

    async def _pause(self, seconds):
        with suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), seconds)

    async def _held(self):
        """Wait until `release` is set, or the client is gone."""
        while not (self.upstream.release.is_set() or self.gone.is_set()):
            await asyncio.sleep(0.01)

    async def _start(self, status, headers):
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *self.upstream.headers]}
        )

    async def _body(self, body, *, more):
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self.upstream.sent += len(body)


def _event(document, pad):
    """A piece of a stream. A comment makes it longer: readers pass over those."""
    longer = b": " + b"." * pad + b"\n" if pad else b""
    if isinstance(document, str):
        return longer + f"data: {document}\n\n".encode()
    name = f"event: {document['type']}\n".encode() if "sequence_number" in document else b""
    return longer + name + b"data: " + json.dumps(document).encode() + b"\n\n"


def _model(name):
    return {"id": name, "object": "model", "created": 1, "owned_by": "tests"}


def _embeddings(body):
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = [[float(len(str(text))), 0.5, -1.0] for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    return {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


async def _watch(receive, gone):
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _lifespan(receive, send):
    while (kind := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{kind}.complete"})
    await send({"type": f"{kind}.complete"})


@contextmanager
def serving(app, **options):
    """Serve an ASGI app on a free port, in a thread; give its base URL, without a path."""
    import uvicorn

    told = {"log_config": None, "log_level": "warning", "timeout_graceful_shutdown": 5, **options}
    config = uvicorn.Config(app, port=0, **told)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the app did not start")
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def upstream():
    """Serve an `Upstream`; give it."""
    made = Upstream()
    with serving(made) as url:
        made.url = f"{url}/v1"
        try:
            yield made
        finally:
            made.release.set()
