"""Requests as they go over the wire: what tailoring left alone stays as it came, and nothing that is sent raises."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk.models import ChatCall, Message
from persona_sdk.tailoring import with_block
from persona_sdk.wire import wire_of
from persona_sdk.wire.protocol import as_dict

CHAT, RESPONSES = wire_of("/v1/chat/completions"), wire_of("/v1/responses")
both = pytest.mark.parametrize("wire", [CHAT, RESPONSES], ids=["chat", "responses"])

texts = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", ""])
parts = st.sampled_from(["text", "input_text", "image_url"]).flatmap(
    lambda kind: st.fixed_dictionaries({"type": st.just(kind), "text": texts}, optional={"detail": texts})
)
extras = {"name": texts, "tool_call_id": texts, "id": texts, "x": anything, "item": anything, "text": anything}
messages = st.fixed_dictionaries({"role": roles}, optional={"content": st.none() | texts | st.lists(parts), **extras})
items = messages | st.fixed_dictionaries({"type": st.sampled_from(["function_call", "reasoning"]), "call_id": texts})
others = st.dictionaries(st.sampled_from(["temperature", "tools", "stream", "n", "user", "metadata"]), anything)


@st.composite
def bodies(draw, wire):
    """A body with a conversation, and whatever else it may hold."""
    body = draw(others) | {"model": "m"}
    if wire is CHAT:
        return body | {"messages": draw(st.lists(messages, min_size=1, max_size=5))}
    given = draw(st.lists(items, min_size=1, max_size=5) | texts)
    return body | {"input": given} | draw(st.fixed_dictionaries({}, optional={"instructions": st.none() | texts}))


def call_of(request, **changes):
    return ChatCall(messages=request.messages, user_id="ada", model=request.model).override(**changes)


@st.composite
def tailorings(draw, given):
    """What tailors make of messages: some dropped, some changed, some put in, many of them copies."""
    sent = []
    for message in given:
        done = draw(st.sampled_from(["keep", "keep", "copy", "drop", "grow", "before"]))
        if done == "before":
            sent.append(Message(role=draw(st.sampled_from(["system", "user"])), content="+" + draw(texts)))
        if done == "grow" and message.role != "item":
            sent.append(message.model_copy(update={"content": f"{message.text} {draw(texts)}"}))
        elif done != "drop":
            sent.append(message.model_copy(deep=True) if done == "copy" else message)
    return tuple(sent) or given


# What was left alone


@both
@settings(max_examples=50)
@given(data=st.data())
def test_an_untouched_call_is_the_very_same_bytes(wire, data):
    raw = json.dumps(data.draw(bodies(wire))).encode()
    request = wire.read(raw)
    if request is not None:
        assert wire.write(request, call_of(request)) is raw
        copies = tuple(copy.deepcopy(m) for m in request.messages)
        assert wire.write(request, call_of(request, messages=copies)) is raw


@both
@settings(max_examples=50)
@given(data=st.data())
def test_only_the_conversation_differs_and_it_is_what_tailors_made(wire, data):
    raw = json.dumps(data.draw(bodies(wire))).encode()
    request = wire.read(raw)
    if request is None:
        return
    before = json.dumps(request.body)
    sent = data.draw(tailorings(request.messages))
    written = json.loads(wire.write(request, call_of(request, messages=sent)))
    assert json.dumps(request.body) == before
    assert same(beside(written), beside(request.body))
    if wire is CHAT:
        assert same(written["messages"], [as_dict(m) for m in sent])
        return
    assert [m.text for m in wire.read(json.dumps(written).encode()).messages] == [m.text for m in sent]
    instructed = bool(request.body.get("instructions"))
    for place, item in enumerate(listed(request.body), start=instructed):
        if any(m is request.messages[place] for m in sent):
            assert any(same(item, w) for w in listed(written))


def beside(body):
    """What in a body is not the conversation."""
    return {k: v for k, v in body.items() if k not in ("messages", "input", "instructions")}


def same(one, other):
    """Whether two documents are written alike, down to 1, 1.0 and true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def listed(body):
    return [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]


@settings(max_examples=50)
@given(st.lists(messages, min_size=1, max_size=5), texts.map("note: {}".format))
def test_a_block_changes_the_system_message_and_nothing_else(given_messages, block):
    raw = json.dumps({"model": "m", "messages": given_messages}).encode()
    request = CHAT.read(raw)
    raw = CHAT.write(request, call_of(request, messages=with_block(request.messages, block)))
    sent = json.loads(raw)["messages"]
    where = [i for i, m in enumerate(sent) if m not in given_messages]
    assert block in Message(**sent[where[0]]).text
    del sent[where[0]]
    rest = list(given_messages)
    if len(sent) < len(rest):
        del rest[where[0]]
    assert sent == rest
    assert all(json.dumps(m).encode() in raw for m in rest)  # keys are in the order they came in


def test_what_a_message_did_not_have_is_not_added():
    raw = json.dumps({"messages": [{"role": "assistant", "tool_calls": []}, {"role": "user", "content": "?"}]}).encode()
    request = CHAT.read(raw)
    named = request.messages[0].model_copy(update={"name": "bot"})
    sent = json.loads(CHAT.write(request, call_of(request, messages=(named, request.messages[1]))))
    assert sent["messages"] == [
        {"role": "assistant", "tool_calls": [], "name": "bot"},
        {"role": "user", "content": "?"},
    ]


# Model, parameters, person


@pytest.mark.parametrize(
    ("changes", "model"), [({}, "m"), ({"model": "other"}, "other"), ({"model": "other", "adapter": "ada-7"}, "ada-7")]
)
@both
def test_the_model_is_the_one_named_last(wire, changes, model):
    request = wire.read(b'{"model": "m", "messages": [{"role": "user", "content": "?"}], "input": "?"}')
    assert json.loads(wire.write(request, call_of(request, **changes)))["model"] == model


def test_what_the_app_says_wins_over_what_a_tailor_proposes():
    request = CHAT.read(b'{"messages": [{"role": "user", "content": "?"}], "temperature": 0}')
    call = call_of(request, params={"temperature": 1, "top_p": 0.5, "seed": float("nan"), "stop": {1, 2}})
    body = json.loads(CHAT.write(request, call))
    assert (body["temperature"], body["top_p"]) == (0, 0.5)
    assert body.keys() == {"messages", "temperature", "top_p"}  # what is no JSON is left out, the rest is not
    assert CHAT.write(request, call_of(request, params={"temperature": 1})) is request.raw


@pytest.mark.parametrize(
    ("fields", "user_id"),
    [
        ({}, None),
        ({"user": "ada"}, "ada"),
        ({"safety_identifier": "ada", "user": "bob"}, "ada"),
        ({"safety_identifier": "", "user": "bob"}, "bob"),
        ({"user": 7}, None),
        ({"user": ["ada"]}, None),
    ],
)
@both
def test_whom_a_body_names(wire, fields, user_id):
    body = {"messages": [{"role": "user", "content": "?"}], "input": "?", **fields}
    assert wire.read(json.dumps(body).encode()).user_id == user_id


@pytest.mark.parametrize(("n", "read"), [(3, 3), (0, 1), (-1, 1), (True, 1), ("3", 1), (None, 1), (2.0, 1)])
def test_how_many_answers_are_asked_for(n, read):
    body = {"messages": [{"role": "user", "content": "?"}], "n": n, "stream": n}
    request = CHAT.read(json.dumps(body).encode())
    assert (request.n, request.stream, request.model) == (read, n is True, None)


# Responses


def responses(**body):
    return RESPONSES.read(json.dumps({"model": "m", **body}).encode())


def written(request, *sent):
    body = json.loads(RESPONSES.write(request, call_of(request, messages=sent)))
    return body.get("instructions"), body["input"]


NOTE = Message(role="system", content="Likes it short.")


def test_a_system_message_in_front_becomes_the_instructions():
    request = responses(input="Why?")
    assert written(request, NOTE, *request.messages) == ("Likes it short.", "Why?")


def test_instructions_are_the_first_message():
    request = responses(input=[{"role": "user", "content": "Why?"}], instructions="Be kind.")
    assert [(m.role, m.text) for m in request.messages] == [("system", "Be kind."), ("user", "Why?")]
    changed = request.messages[0].model_copy(update={"content": "Be kind and short."})
    assert written(request, changed, request.messages[1]) == (
        "Be kind and short.",
        [{"role": "user", "content": "Why?"}],
    )
    assert written(request, request.messages[1]) == (None, [{"role": "user", "content": "Why?"}])


def test_instructions_that_are_no_text_are_left_alone():
    request = responses(input="Why?", instructions=[{"role": "system", "content": "Be kind."}])
    assert written(request, NOTE, *request.messages) == (
        [{"role": "system", "content": "Be kind."}],
        [{"role": "system", "content": "Likes it short."}, {"role": "user", "content": "Why?"}],
    )


def test_items_that_are_no_messages_stay_where_and_as_they_are():
    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "1", "output": "a cat"}
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look!"}]}
    request = responses(input=[asked, call, result])
    assert [m.role for m in request.messages] == ["user", "item", "item"]
    assert written(request, NOTE, *request.messages) == ("Likes it short.", [asked, call, result])
    part = {"type": "text", "text": "Now!"}
    changed = request.messages[0].model_copy(update={"content": [*asked["content"], part]})
    grown = {**asked, "content": [*asked["content"], {"type": "input_text", "text": "Now!"}]}
    assert written(request, changed, *request.messages[1:]) == (None, [grown, call, result])


# Whatever is sent


@both
@settings(max_examples=50)
@given(raw=st.binary(max_size=60))
def test_any_bytes_can_be_read(wire, raw):
    wire.read(raw)


@both
@settings(max_examples=50)
@given(body=anything, conversation=anything, more=anything)
def test_any_json_can_be_read_and_written(wire, body, conversation, more):
    for document in (body, {"messages": conversation, "input": conversation, "instructions": more, "user": more}):
        request = wire.read(json.dumps(document).encode())
        if request is not None:
            wire.write(request, call_of(request, messages=with_block(request.messages, "note")))


@both
@settings(max_examples=50)
@given(content=st.none() | texts | st.lists(anything | st.binary() | st.just({1}), max_size=3), data=st.data())
def test_whatever_a_tailor_writes_a_body_comes_out(wire, content, data):
    request = wire.read(json.dumps(data.draw(bodies(wire))).encode())
    if request is not None:
        odd = Message(role=data.draw(roles | st.just("item")), content=content, item=content)
        changed = request.messages[0].model_copy(update={"content": content, "item": content})
        for sent in ((odd,), (odd, *request.messages), (changed, *request.messages[1:])):
            assert isinstance(wire.write(request, call_of(request, messages=sent)), bytes)


@pytest.mark.parametrize("depth", [200, 400, 900, 2_000, 100_000])
@both
def test_something_nested_deeply_raises_nothing_and_what_was_changed_is_sent(wire, depth):
    field = "messages" if wire is CHAT else "input"
    deep = "[" * depth + "]" * depth
    request = wire.read(f'{{"{field}": [{{"role": "user", "content": "secret", "x": {deep}}}]}}'.encode())
    if request is None:
        assert depth > 500
    else:
        masked = request.messages[0].model_copy(update={"content": "***"})
        assert b"secret" not in wire.write(request, call_of(request, messages=(masked,)))


@pytest.mark.parametrize("body", ['{"messages": [{"role": "user", "content": "secret"}], "temperature": %s}'])
@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_neither_are_numbers_that_json_does_not_have(body, number):
    request = CHAT.read((body % number).encode())
    masked = request.messages[0].model_copy(update={"content": "***"})
    assert b"secret" not in CHAT.write(request, call_of(request, messages=(masked,)))


@pytest.mark.parametrize(
    ("path", "wire"),
    [
        ("/v1/chat/completions", CHAT),
        ("/chat/completions/", CHAT),
        ("/openai/deployments/gpt/chat/completions", CHAT),
        ("/v1/responses", RESPONSES),
        ("/v1/responses/resp_1", None),
        ("/v1/responses/compact", None),
        ("/v1/completions", None),
        ("/v1/embeddings", None),
        ("", None),
    ],
)
def test_which_paths_have_conversations(path, wire):
    assert wire_of(path) is wire
