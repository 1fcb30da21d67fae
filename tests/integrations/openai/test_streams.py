"""Streams: what the caller gets is what the server sent, piece by piece, and the engine learns the answer of it."""

import asyncio

import httpx2
import openai
import pytest
from pydantic import BaseModel

from persona_integrations.openai import personalize
from tests.support.chatting import ADA, Does, make_personalizer


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int


def chat(client, text="why is it so?", **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="m", messages=messages, stream=True, **more)


def responses(client, text="why is it so?", **more):
    return client.responses.create(model="m", input=text, stream=True, **more)


every_stream = pytest.mark.parametrize("stream", [chat, responses])


def documents(events):
    """Events as they say it, without the ids, which count on from answer to answer."""
    text = [event.to_json() for event in events]
    for one in ("chatcmpl-up", "resp_up", "msg_"):
        text = ["".join(part.lstrip("0123456789") for part in t.split(one)) for t in text]
    return text


@pytest.fixture
def silent(bare):
    """A personalised client whose tailors have nothing to say."""
    personalizer, plugin = make_personalizer(Does(lambda call: call))
    yield personalize(bare, personalizer, user_id="ada"), plugin
    personalizer.close()


@pytest.mark.parametrize("mark", ["", "[pieces=40]", "[split=3]", "[split=61]", "[gzip]", "[pad=700]"])
@every_stream
def test_a_caller_sees_the_same_events_one_by_one(way, server, bare, silent, stream, mark):
    client, plugin = silent
    theirs, mine = (way.pieces(stream(one, f"why? {mark}")) for one in (bare, client))
    assert documents(mine) == documents(theirs)
    assert [type(event) for event in mine] == [type(event) for event in theirs]
    assert server.requests[0].body == server.requests[1].body
    ((_, answer),) = plugin.answers
    if stream is chat:
        assert answer == "".join(e.choices[0].delta.content or "" for e in mine)
    else:
        assert answer == mine[-1].response.output_text


@pytest.mark.parametrize("mark", ["", "[pieces=40]", "[split=7]", "[gzip]"])
@every_stream
def test_the_bytes_are_the_same(way, server, bare, silent, stream, mark):
    def pieces(client):
        made = client.chat.completions if stream is chat else client.responses
        asked = {"messages": [{"role": "user", "content": mark}]} if stream is chat else {"input": mark}
        with way.within(made.with_streaming_response.create(model="m", stream=True, **asked)) as response:
            return b"".join(way.pieces(response.iter_bytes()))

    theirs, mine = pieces(bare), pieces(silent[0])
    assert len(mine) == len(theirs)
    assert len(silent[1].answers) == 1


@every_stream
def test_a_stream_of_somebody_is_tailored_and_told(way, server, made, client, stream):
    opened = way.done(stream(client.for_user("ada")))
    way.pieces(opened)
    assert opened.response.elapsed.total_seconds() > 0
    assert ADA in str(server.requests[0].json)
    assert [text for _, text in made[1].answers] == ["echo: why is it so?"]


def test_a_piece_is_handed_on_when_it_comes(way, server, client):
    held = "one two three [hold]"  # the server says the second half when it is told to

    stream = way.each(chat(client.for_user("ada"), held))
    pieces = [next(stream), next(stream)]
    server.release.set()
    pieces.extend(stream)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == f"echo: {held}"


def test_the_answer_is_known_before_its_last_piece_is_given(way, made, client):
    stream = way.done(chat(client.for_user("ada")))
    while not next(pieces := way.each(stream)).choices[0].finish_reason:
        assert made[1].answers == []
    assert [text for _, text in made[1].answers] == ["echo: why is it so?"]
    assert len(list(pieces)) == 0
    way.done(stream.close())
    assert len(made[1].answers) == 1


def test_usage_and_what_else_is_asked_for_is_given(way, client):
    pieces = way.pieces(chat(client.for_user("ada"), stream_options={"include_usage": True}, n=2))
    assert pieces[-1].usage.prompt_tokens == 11
    assert {c.index for p in pieces for c in p.choices} == {0, 1}


def test_the_helpers_for_streams_work(way, made, client):
    asked = {"model": "m", "messages": [{"role": "user", "content": "Rome"}], "response_format": Weather}

    with way.within(client.for_user("ada").chat.completions.stream(**asked)) as stream:
        way.pieces(stream)
        completion = way.done(stream.get_final_completion())
    assert completion.choices[0].message.parsed.model_dump() == {"place": "echo: Rome", "degrees": 7}
    assert len(made[1].answers) == 1


def test_the_helpers_for_streams_of_responses_work(way, made, client):
    with way.within(client.for_user("ada").responses.stream(model="m", input="Rome", text_format=Weather)) as stream:
        response = way.done(stream.get_final_response())
    assert response.output_parsed.model_dump() == {"place": "echo: Rome", "degrees": 7}
    assert len(made[1].answers) == 1


# What breaks


@every_stream
def test_a_stream_that_breaks_off_breaks_off_as_without_us(way, made, bare, client, stream):
    raised = []
    for one in (bare, client.for_user("ada")):
        with pytest.raises(openai.APIConnectionError) as error:
            way.pieces(stream(one, "one two three [cut]"))
        raised.append((type(error.value), str(error.value), type(error.value.__cause__)))
    assert raised[0] == raised[1]
    assert made[1].answers == []


@every_stream
def test_an_error_within_a_stream_comes_out_and_there_is_no_answer(way, made, bare, client, stream):
    raised = []
    for one in (bare, client.for_user("ada")):
        with pytest.raises(openai.APIError) as error:
            way.pieces(stream(one, "one two three [error]"))
        raised.append((type(error.value), str(error.value)))
    assert raised[0] == raised[1]
    assert made[1].answers == []


def test_what_was_said_until_somebody_stopped_is_the_answer(way, made, client):
    stream = way.done(chat(client.for_user("ada"), "one two three [hold]"))
    pieces = way.each(stream)
    for _ in range(3):
        next(pieces)
    assert made[1].answers == []
    way.done(stream.close())
    ((_, text),) = made[1].answers
    assert text.startswith("echo: one")
    assert "three" not in text


def test_a_task_that_is_cancelled_leaves_what_was_said(server, made):
    async def cancelled():
        bare = openai.AsyncOpenAI(base_url=server.url, api_key="key", max_retries=0)
        client = personalize(bare, made[0], user_id="ada")
        begun = asyncio.Event()

        async def listen():
            async with await chat(client, "one two three [hold]") as stream:
                async for piece in stream:
                    if "one" in (piece.choices[0].delta.content or ""):
                        begun.set()

        task = asyncio.create_task(listen())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.close()

    asyncio.run(cancelled())
    ((_, text),) = made[1].answers
    assert text.startswith("echo: one")


def test_a_slow_stream_is_a_timeout_as_without_us(way, made, bare, client):
    for one in (bare, client.for_user("ada")):
        with pytest.raises(openai.APITimeoutError):
            way.pieces(chat(one, "one two three [hold]", timeout=0.2))
    assert made[1].answers == []


def test_what_is_compressed_and_no_answer_is_passed_on(way, made, client):
    """Bytes that say they are compressed and are not are for the caller to complain about."""
    http = way.http(transport=_Says(b"no gzip", {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}))
    with pytest.raises(openai.APIConnectionError):
        way.pieces(chat(client.for_user("ada").with_options(http_client=http)))
    assert made[1].answers == []


class _Says(httpx2.MockTransport):
    """Answers everything with the same bytes."""

    def __init__(self, body, headers):
        def answer(request):
            return httpx2.Response(200, headers=headers, stream=_Bytes(body))

        super().__init__(answer)


class _Bytes(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, body):
        self.body = body

    def __iter__(self):
        yield self.body

    async def __aiter__(self):
        yield self.body
