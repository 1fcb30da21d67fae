"""Who is asked for, and what a server receives then, to the byte."""

import json

import httpx2
import openai
import pytest
from pydantic import BaseModel

from persona_integrations.openai import personalize
from tests.support.chatting import ADA, BOB, Does, make_personalizer

ASKED = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "why so?"}]
BY_HEADER = {"extra_headers": {"X-Persona-User": "ada"}}


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int


def system(server):
    """What the last request told the model in front."""
    body = server.requests[-1].json
    return body["messages"][0]["content"] if "messages" in body else body.get("instructions")


def headers(received):
    """The headers of a request, but for its length, and a cookie that the first answer sets."""
    return sorted((k, v) for k, v in received.headers if k not in (b"content-length", b"cookie"))


#: Everything that asks for an answer, as what it does with a client.
CHATS = {
    "chat": lambda c, **more: c.chat.completions.create(model="m", messages=ASKED, **more),
    "chat parse": lambda c, **more: c.chat.completions.parse(
        model="m", messages=ASKED, response_format=Weather, **more
    ),
    "chat raw": lambda c, **more: c.chat.completions.with_raw_response.create(model="m", messages=ASKED, **more),
    "responses": lambda c, **more: c.responses.create(model="m", input="why so?", instructions="Be kind.", **more),
    "responses parse": lambda c, **more: c.responses.parse(
        model="m", input="why so?", instructions="Be kind.", text_format=Weather, **more
    ),
    "responses items": lambda c, **more: c.responses.create(
        model="m", input=[{"role": "user", "content": "why so?"}], instructions="Be kind.", **more
    ),
}
every_chat = pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)


@every_chat
def test_a_call_that_names_nobody_is_the_same_to_the_byte(way, server, bare, client, chat):
    way.done(chat(bare))
    way.done(chat(client))
    one, other = server.requests
    assert one.body == other.body
    assert (one.method, one.target, headers(one)) == (other.method, other.target, headers(other))


@every_chat
def test_a_call_of_somebody_differs_in_what_the_model_is_told_and_in_nothing_else(way, server, bare, client, chat):
    plain, tailored = way.done(chat(bare)), way.done(chat(client, **BY_HEADER))
    one, other = server.requests
    assert (one.method, one.target, headers(one)) == (other.method, other.target, headers(other))
    assert other.header("content-length") == [str(len(other.body))]
    assert system(server) == f"Be kind. [{ADA}]"
    body = other.json
    if "messages" in body:
        body["messages"][0]["content"] = "Be kind."
    else:
        body["instructions"] = "Be kind."
    assert body == one.json
    assert type(tailored) is type(plain)


@every_chat
def test_an_answer_is_told_once(way, made, client, chat):
    way.done(chat(client, **BY_HEADER))
    (answer,) = made[1].answers
    assert "why so?" in answer[1]


@pytest.mark.parametrize(
    ("bound", "more", "known"),
    [
        (None, {}, None),
        (None, {"user": "bob"}, BOB),
        (None, {"safety_identifier": "ada", "user": "bob"}, ADA),
        ("bob", {"safety_identifier": "ada"}, BOB),
        ("bob", {"safety_identifier": "ada", **BY_HEADER}, ADA),
        ("bob", {"extra_headers": {"x-persona-user": ""}}, BOB),
        (None, {"extra_body": {"user": "ada"}}, ADA),
    ],
)
@pytest.mark.parametrize("chat", [CHATS["chat"], CHATS["responses"]], ids=["chat", "responses"])
def test_the_first_name_counts(way, server, client, chat, bound, more, known):
    way.done(chat(client if bound is None else client.for_user(bound), **more))
    assert system(server) == ("Be kind." if known is None else f"Be kind. [{known}]")
    assert server.requests[-1].header("x-persona-user") == []


def test_the_person_can_be_bound_at_first_and_by_default_headers(way, server, bare, made):
    for client in (
        personalize(bare, made[0], user_id="ada"),
        personalize(bare, made[0]).with_options(default_headers={"X-Persona-User": "ada"}),
        personalize(bare.with_options(default_headers={"X-Persona-User": "ada"}), made[0]),
    ):
        way.done(CHATS["chat"](client))
        assert system(server) == f"Be kind. [{ADA}]"
        assert server.requests[-1].header("x-persona-user") == []


def test_what_is_no_chat_goes_out_untouched_but_for_the_name(way, server, bare, client, made):
    for one in (bare, client.for_user("ada")):
        way.done(one.embeddings.create(model="m", input="hello", extra_headers={"X-Persona-User": "ada"}))
        way.pieces(one.models.list())
        way.done(one.post("/embeddings", cast_to=httpx2.Response, body={"model": "m", "input": "a", "user": "ada"}))
    plain, personal = server.requests[:3], server.requests[3:]
    assert plain[0].header("x-persona-user") == ["ada"]
    assert personal[0].header("x-persona-user") == []
    assert [r.body for r in plain] == [r.body for r in personal]
    assert headers(plain[1]) == headers(personal[1])
    assert made[1].tailored == []


def test_what_is_read_while_it_is_sent_goes_as_it_comes(way, server, client, made):
    data = json.dumps({"model": "m", "messages": ASKED}).encode()
    sent = {"content": way.file(data), "options": {"headers": {"X-Persona-User": "ada"}}}
    way.done(client.post("/chat/completions", cast_to=httpx2.Response, **sent))
    assert server.requests[0].body == data
    assert server.requests[0].header("x-persona-user") == []
    assert made[1].tailored == []


def test_stored_answers_are_listed_and_not_tailored(way, server, client, made):
    with pytest.raises(openai.NotFoundError):  # by this server, which stores none
        way.done(client.for_user("ada").get("/chat/completions", cast_to=httpx2.Response))
    assert (server.requests[0].method, server.requests[0].body) == ("GET", b"")


def test_the_models_name_and_parameters_are_sent(way, server, bare):
    adapted = Does(lambda call: call.override(adapter="ada-7", params={"temperature": 0.2, "seed": 1}))
    personalizer, _ = make_personalizer(adapted)
    client = personalize(bare, personalizer, user_id="ada")
    way.done(CHATS["chat"](client, temperature=0.9))
    body = server.requests[-1].json
    assert (body["model"], body["temperature"], body["seed"], body["messages"]) == ("ada-7", 0.9, 1, ASKED)


def test_tools_and_parts_stay_as_they_are(way, server, bare, client):
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    conversation = [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}], "name": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
        {"role": "user", "content": "sure?"},
    ]
    tools = [openai.pydantic_function_tool(Weather)]
    for one in (bare, client):
        way.done(one.chat.completions.create(model="m", messages=conversation, tools=tools, safety_identifier="ada"))
    plain, tailored = (r.json for r in server.requests)
    note = {"role": "system", "content": f"[{ADA}]"}
    assert tailored == {**plain, "messages": [note, *plain["messages"]]}


def test_a_tool_call_comes_back_as_it_is(way, made, client):
    tools = [openai.pydantic_function_tool(Weather)]
    chat = CHATS["chat"](client, tools=tools, tool_choice="required", **BY_HEADER)
    call = way.done(chat).choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"place": "why so?", "degrees": 7}
    assert [text for _, text in made[1].answers] == [""]


def test_raw_and_streamed_responses_are_the_clients_own(way, server, client):
    raw = way.done(CHATS["chat raw"](client, **BY_HEADER))
    assert raw.headers["x-request-id"] == "req-7"
    assert raw.parse().choices[0].message.content == "echo: why so?"
    assert "x-persona-user" not in raw.http_request.headers
    streaming = client.chat.completions.with_streaming_response
    manager = streaming.create(model="m", messages=ASKED, **BY_HEADER)
    with way.within(manager) as response:
        text = way.done(response.text())
    assert json.loads(text)["choices"][0]["message"]["content"] == "echo: why so?"
    assert system(server) == f"Be kind. [{ADA}]"


@pytest.mark.parametrize(
    "same",
    [
        lambda c: c.with_options(timeout=5),
        lambda c: c.copy(max_retries=1).copy(),
        lambda c: c.for_user("bob").for_user("ada"),
        lambda c: c.with_options(default_query={"a": "b"}),
    ],
    ids=["with_options", "copy", "for_user", "query"],
)
def test_copies_stay_personal(way, server, client, same):
    copied = same(client.for_user("ada"))
    assert type(copied) is type(client)
    way.done(CHATS["chat"](copied))
    assert system(server) == f"Be kind. [{ADA}]"


def test_a_copy_with_another_http_client_stays_personal(way, server, client):
    seen = []
    http = way.http(event_hooks={"request": [way.hook(seen.append)]})
    way.done(CHATS["chat"](client.for_user("ada").with_options(http_client=http)))
    assert system(server) == f"Be kind. [{ADA}]"
    assert len(seen) == 1


def test_the_client_given_stays_as_it_was(way, server, bare, made):
    before = dict(vars(bare))
    client = personalize(bare, made[0], user_id="ada")
    way.done(CHATS["chat"](client))
    assert vars(bare) == before
    assert type(bare) is way.kind
    way.done(CHATS["chat"](bare, **BY_HEADER))
    assert system(server) == "Be kind."
