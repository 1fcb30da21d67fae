"""Answers as they come over the wire: the same however they are cut, and nothing that is sent raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk.wire import Answer, wire_of
from persona_sdk.wire.events import EventReader

CHAT, RESPONSES = wire_of("/v1/chat/completions"), wire_of("/v1/responses")
both = pytest.mark.parametrize("wire", [CHAT, RESPONSES], ids=["chat", "responses"])
every_way = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])


def read(wire, *pieces, streaming):
    reader = wire.reader(streaming=streaming)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def event(document, *, name="", end="\n"):
    text = document if isinstance(document, str) else json.dumps(document)
    return (f"event: {name}{end}" if name else "").encode() + f"data: {text}{end}{end}".encode()


def chat_stream(*words, finish="stop", done=True, end="\n"):
    head = {"id": "chatcmpl-1", "model": "m", "object": "chat.completion.chunk"}
    deltas = [{"role": "assistant", "content": None}, *({"content": word} for word in words)]
    events = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish:
        events.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 3, "completion_tokens": len(words)}
    events.append(head | {"choices": [], "usage": usage})
    return b"".join([*(event(e, end=end) for e in events), *([event("[DONE]", end=end)] if done else [])])


def response_stream(*words, last="response.completed", status="completed"):
    head = {"id": "resp_1", "model": "m"}
    ended = {**head, "status": status, "usage": {"input_tokens": 3, "output_tokens": len(words)}}
    events = [
        event({"type": "response.created", "response": {**head, "status": "in_progress"}}, name="response.created"),
        *(event({"type": "response.output_text.delta", "delta": word, "item_id": "i"}) for word in words),
        event({"type": "response.output_text.done", "text": "".join(words)}),
    ]
    return b"".join([*events, event({"type": last, "response": ended}, name=last)] if last else events)


STREAMS = {CHAT: chat_stream, RESPONSES: response_stream}


def whole(wire, text, **more):
    if wire is CHAT:
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
        body = {"id": "chatcmpl-1", "model": "m", "choices": choices, "usage": usage}
    else:
        part = {"type": "output_text", "text": text}
        output = [{"type": "reasoning", "summary": []}, {"type": "message", "content": [part]}]
        usage = {"input_tokens": 3, "output_tokens": 2}
        body = {"id": "resp_1", "model": "m", "status": "completed", "output": output, "usage": usage}
    return json.dumps(body | more).encode()


def expected(wire, text, tokens):
    chat = wire is CHAT
    ids = {"response_id": "chatcmpl-1" if chat else "resp_1", "finish": "stop" if chat else "completed"}
    return Answer(text=text, model="m", complete=True, input_tokens=3, output_tokens=tokens, **ids)


@st.composite
def cut(draw, data):
    """The bytes, cut somewhere, maybe between the bytes of a character."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


words = st.lists(st.text(max_size=6).filter(lambda t: t.isprintable()), max_size=4)


@both
@settings(max_examples=50)
@given(said=words, data=st.data())
def test_a_stream_is_read_the_same_however_it_is_cut(wire, said, data):
    pieces = data.draw(cut(STREAMS[wire](*said)))
    assert read(wire, *pieces, streaming=True) == expected(wire, "".join(said), len(said))


@both
@settings(max_examples=50)
@given(said=st.text(max_size=20), data=st.data())
def test_a_body_is_read_the_same_however_it_is_cut(wire, said, data):
    pieces = data.draw(cut(whole(wire, said)))
    assert read(wire, *pieces, streaming=False) == expected(wire, said, 2)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_either_way_and_comments_are_passed_over(end):
    data = f": ping{end}{end}".encode() + chat_stream("a", "b", end=end) + f"id: 7{end}{end}".encode()
    for size in (1, 2, 7, len(data)):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert read(CHAT, *pieces, streaming=True).text == "ab"


def test_an_event_may_have_several_lines_of_data():
    reader = EventReader()
    assert list(reader.feed(b"event: a\ndata: b\nid: 7\n: ping\ndata: c\n\n")) == [b"b\nc"]
    assert list(reader.feed(b"data: {\ndata:  1\ndata:}\n")) == []
    assert list(reader.feed(b"\n\ndata:x\n\ndata: not at its end\n")) == [b"{\n 1\n}", b"x"]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response_that_ended_is_complete_however_it_ended(status):
    assert read(RESPONSES, response_stream("a", last=f"response.{status}", status=status), streaming=True).complete
    answer = read(RESPONSES, whole(RESPONSES, "a", status=status), streaming=False)
    assert (answer.text, answer.finish, answer.complete) == ("a", status, True)


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_response_that_is_not_there_yet_is_not_complete(status):
    answer = read(RESPONSES, whole(RESPONSES, "", status=status, output=[]), streaming=False)
    assert (answer.response_id, answer.complete, answer.failed) == ("resp_1", False, False)


# What breaks


@both
def test_a_stream_that_broke_off_is_not_complete(wire):
    data = chat_stream("a", "b", finish=None, done=False) if wire is CHAT else response_stream("a", "b", last="")
    answer = read(wire, data[:-2], streaming=True)
    assert (answer.text, answer.complete, answer.failed) == ("ab", False, False)


@pytest.mark.parametrize(
    ("wire", "last"),
    [
        (CHAT, {"error": {"message": "overloaded"}}),
        (RESPONSES, {"error": {"message": "overloaded"}}),
        (RESPONSES, {"type": "error", "message": "overloaded"}),
        (RESPONSES, {"type": "response.failed", "response": {"id": "resp_1", "status": "failed"}}),
    ],
)
def test_a_server_that_fails_within_a_stream_says_so(wire, last):
    data = chat_stream("a", finish=None, done=False) if wire is CHAT else response_stream("a", last="")
    answer = read(wire, data, event(last), streaming=True)
    assert (answer.text, answer.complete, answer.failed) == ("a", False, True)


def test_a_whole_response_may_have_failed():
    answer = read(RESPONSES, whole(RESPONSES, "", status="failed", output=[]), streaming=False)
    assert (answer.complete, answer.failed) == (False, True)


def test_a_tool_call_has_no_text():
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    answer = read(CHAT, whole(CHAT, "", choices=[{"index": 0, "message": message}]), streaming=False)
    assert (answer.text, answer.complete) == ("", True)


def test_of_several_choices_the_first_is_the_answer():
    choices = [{"index": i, "message": {"content": text}} for i, text in ((1, "b"), (0, "a"))]
    assert read(CHAT, whole(CHAT, "", choices=choices), streaming=False).text == "a"
    stream = b"".join(event({"choices": [{"index": i, "delta": {"content": t}}]}) for i, t in ((1, "b"), (0, "a")))
    assert read(CHAT, stream, streaming=True).text == "a"


@both
@every_way
def test_what_is_too_long_is_not_read_and_not_kept(wire, streaming):
    reader = wire.reader(streaming=streaming)
    reader.feed(STREAMS[wire]("a"))
    for _ in range(33):
        reader.feed(b"data: " + b"x" * 2**20 + b"\n\n")
    assert reader.finish() == Answer()
    assert not reader._body
    assert not reader._events._rest


@both
def test_a_long_line_in_many_pieces_is_read_in_no_time(wire):
    long = "x" * 2**22
    data = STREAMS[wire](long)
    pieces = [data[i : i + 512] for i in range(0, len(data), 512)]
    assert read(wire, *pieces, streaming=True).text == long


# Whatever is sent

texts = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
names = texts | st.sampled_from("id model usage choices index delta message content type response output text".split())
documents = st.recursive(scalars, lambda i: st.lists(i, max_size=3) | st.dictionaries(names, i, max_size=4))
KINDS = ["response.created", "response.completed", "response.failed", "response.output_text.delta", "error"]
shaped = st.fixed_dictionaries(
    {"choices": documents | st.lists(documents, max_size=2), "output": documents | st.lists(documents, max_size=2)},
    optional={"type": st.sampled_from(KINDS), "response": documents, "usage": documents, "delta": documents},
)


@both
@every_way
@settings(max_examples=50)
@given(data=st.binary(max_size=80), document=documents | shaped)
def test_nothing_that_is_sent_raises(wire, streaming, data, document):
    read(wire, data, streaming=streaming)
    assert isinstance(read(wire, event(document), data, streaming=streaming), Answer)
    assert isinstance(read(wire, json.dumps(document).encode(), streaming=streaming), Answer)


@both
@every_way
def test_not_even_nesting_without_end_does(wire, streaming):
    read(wire, event("[" * 100_000), b"[" * 100_000, streaming=streaming)
