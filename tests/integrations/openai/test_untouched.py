"""Whatever a caller passes stays as it was, and what is sent differs from it where tailoring changed it."""

import copy
import json

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_integrations.openai import personalize
from tests.support.chatting import ADA
from tests.support.transports import Sometimes, completion

texts = st.text(max_size=12)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    | st.just({"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}),
    min_size=1,
    max_size=2,
)
functions = st.fixed_dictionaries({"name": texts, "arguments": texts})
calls = st.lists(
    st.fixed_dictionaries({"id": texts, "type": st.just("function"), "function": functions}), min_size=1, max_size=2
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer"]), "content": texts | parts}),
    st.fixed_dictionaries({"role": st.just("user"), "content": texts | parts}, optional={"name": texts}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": texts | st.none()}, optional={"tool_calls": calls}),
    st.fixed_dictionaries({"role": st.just("tool"), "content": texts, "tool_call_id": texts}),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
schemas = st.fixed_dictionaries({"name": texts, "parameters": st.dictionaries(texts, json_values, max_size=2)})
tools = st.lists(schemas.map(lambda f: {"type": "function", "function": f}), max_size=2)
options = st.fixed_dictionaries(
    {},
    optional={
        "tools": tools,
        "temperature": st.floats(0, 2),
        "stop": st.lists(texts, max_size=2),
        "metadata": st.dictionaries(texts, texts, max_size=2),
        "extra_body": st.dictionaries(texts.filter(lambda t: t != "messages"), json_values, max_size=3),
        "extra_query": st.dictionaries(st.sampled_from(["a", "b"]), texts, max_size=2),
        "extra_headers": st.just({"X-Persona-User": "ada", "X-Other": "1"}),
    },
)


@pytest.fixture(scope="module")
def network():
    return Sometimes()


@pytest.fixture
def pair(way, made, network):
    """The client with and without us, on a network that says yes."""
    bare = way.kind(base_url="http://127.0.0.1:9/v1", api_key="k", http_client=way.http(transport=network))
    return bare, personalize(bare, made[0])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversation=st.lists(messages, min_size=1, max_size=5), more=options, bound=st.booleans())
def test_nothing_of_the_callers_is_changed(way, network, pair, conversation, more, bound):
    bare, client = pair
    before = copy.deepcopy((conversation, more))
    network.answers.extend([completion("yes"), completion("yes")])
    network.requests.clear()
    for one in (bare, client.for_user("ada") if bound else client):
        given_more = {k: v for k, v in more.items() if k != "extra_headers"} if one is bare else more
        way.done(one.chat.completions.create(model="m", messages=conversation, **given_more))
    assert (conversation, more) == before
    plain, sent = (json.loads(r.content) for r in network.requests)
    if sent["messages"] == plain["messages"]:  # nobody is named, or there is nothing to say
        assert network.requests[0].content == network.requests[1].content
        return
    assert bound or "extra_headers" in more
    assert {**sent, "messages": 0} == {**plain, "messages": 0}
    assert ADA in str(sent["messages"][0]["content"])
    assert sent["messages"][1:] in (plain["messages"], plain["messages"][1:])


def test_models_and_generators_are_sent_as_ever(way, network, pair):
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="yes")
    before = message.model_dump()
    network.requests.clear()
    for one in pair:
        network.answers.append(completion("yes"))
        asked = (m for m in [{"role": "user", "content": "why?"}, message, {"role": "user", "content": "so?"}])
        way.done(one.chat.completions.create(model="m", messages=asked, user="ada"))
    plain, sent = (json.loads(r.content) for r in network.requests)
    assert sent["messages"][1:] == plain["messages"]
    assert message.model_dump() == before
