"""The official clients, sync and async, before a server on loopback that speaks the whole protocol."""

import asyncio
import contextlib
import ssl

import httpx2
import openai
import pytest

from persona_integrations.openai import personalize
from tests.support.chatting import make_personalizer
from tests.support.upstream import upstream

_END = object()
#: Nothing here speaks TLS, and reading the certificates anew for each client takes longer than the tests.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Sync:
    """Calls the synchronous client."""

    kind = openai.OpenAI
    azure = openai.AzureOpenAI
    default = openai.DefaultHttpxClient

    def __init__(self):
        self.closing = contextlib.ExitStack()

    def http(self, **options):
        """An HTTP client that is closed in the end."""
        made = httpx2.Client(verify=_TLS, **options)
        self.closing.callback(made.close)
        return made

    def done(self, result):
        """The result of a call."""
        return result

    def each(self, stream):
        """Iterate over a stream."""
        return iter(stream)

    def pieces(self, stream):
        """All that a stream gives."""
        return list(self.each(stream))

    @contextlib.contextmanager
    def within(self, manager):
        """What a context manager gives."""
        with manager as given:
            yield given

    def hook(self, does):
        """An event hook that does something."""
        return does

    def file(self, data):
        """Something that is read while it is sent."""
        return iter([data])


class Async:
    """Calls the asynchronous client, in a loop of its own."""

    kind = openai.AsyncOpenAI
    azure = openai.AsyncAzureOpenAI
    default = openai.DefaultAsyncHttpxClient

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.loop.close)

    def http(self, **options):
        made = httpx2.AsyncClient(verify=_TLS, **options)
        self.closing.callback(lambda: self.done(made.aclose()))
        return made

    def done(self, result):
        return self.loop.run_until_complete(result)

    def each(self, stream):
        opened = stream if hasattr(stream, "__aiter__") else self.done(stream)
        pieces = aiter(opened)
        while (piece := self.done(anext(pieces, _END))) is not _END:
            yield piece

    def pieces(self, stream):
        return list(self.each(stream))

    @contextlib.contextmanager
    def within(self, manager):
        given = self.done(manager.__aenter__())
        try:
            yield given
        finally:
            self.done(manager.__aexit__(None, None, None))

    def hook(self, does):
        async def hooked(given):
            does(given)

        return hooked

    async def file(self, data):
        yield data


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def way(request):
    made = request.param()
    with made.closing:
        yield made


@pytest.fixture(scope="session")
def _server():
    with upstream() as running:
        yield running


@pytest.fixture
def server(_server):
    """The server, which knows nothing of other tests."""
    _server.reset()
    return _server


@pytest.fixture
def bare(way, server):
    """The client as it is without us."""
    http = way.default(verify=_TLS)
    client = way.kind(base_url=server.url, api_key="key", max_retries=0, timeout=30, http_client=http)
    yield client
    way.done(client.close())


@pytest.fixture
def made():
    """A personalizer that knows Ada and Bob, and the plugin that sees what it does."""
    personalizer, plugin = make_personalizer()
    yield personalizer, plugin
    personalizer.close()


@pytest.fixture
def client(bare, made):
    """The same client, personalised."""
    return personalize(bare, made[0])
