"""What goes wrong: a call never breaks because of us, and what others raise comes out as without us."""

import contextlib
import logging

import httpx2
import openai
import pytest

from persona_integrations.openai import personalize
from persona_sdk.errors import PluginError, StorageError
from tests.support.chatting import Does, make_personalizer
from tests.support.transports import Sometimes

SECRET = "my landlord is Mr. Quince"
ASKED = [{"role": "user", "content": SECRET}]


def chat(client, text=SECRET, **more):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)


def raised_by(way, clients, *asked, **more):
    """What a call raises, with each of these clients."""
    raised = []
    for client in clients:
        with pytest.raises(openai.OpenAIError) as error:
            way.done(chat(client, *asked, **more))
        raised.append((type(error.value), str(error.value), type(error.value.__cause__)))
    return raised


# The server's and the network's


@pytest.mark.parametrize("mark", ["[400]", "[401]", "[403]", "[404]", "[409]", "[422]", "[429]", "[500]", "[503]"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_the_server_refuses_comes_out_as_without_us(way, server, bare, made, client, mark, stream):
    errors = raised_by(way, [bare, client.for_user("ada")], f"why? {mark}", stream=stream)
    assert errors[0] == errors[1]
    assert len(server.requests) == 2
    assert made[1].answers == []


@pytest.mark.parametrize("mark", ["[cut]", "[reset]", "[protocol]", "[redirect]"])
def test_so_does_what_the_network_does(way, server, bare, made, client, mark):
    errors = raised_by(way, [bare, client.for_user("ada")], f"why? {mark}")
    assert errors[0] == errors[1]
    assert made[1].answers == []


def test_so_does_impatience(way, server, bare, client):
    errors = raised_by(way, [bare, client.for_user("ada")], "why? [slow]", timeout=0.1)
    assert errors[0] == errors[1]
    assert errors[0][0] is openai.APITimeoutError


@pytest.mark.parametrize("mark", ["[garbage]", "[empty]"])
def test_an_answer_that_is_none_is_the_callers(way, bare, made, client, mark):
    def given(one):
        try:
            return way.done(chat(one, f"why? {mark}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            return type(error), str(error)

    assert given(bare) == given(client.for_user("ada"))
    assert made[1].answers == []


def test_a_client_that_tries_again_sends_the_same_again(way, server, client):
    busy = [httpx2.Response(503, headers={"Retry-After-Ms": "1"}) for _ in range(2)]
    http = way.http(transport=Sometimes(*busy))
    trying = client.for_user("ada").with_options(max_retries=2, http_client=http)
    assert way.done(chat(trying)).choices[0].message.content == f"echo: {SECRET}"
    assert len({r.content for r in http._transport.requests}) == 1
    assert [r.headers["x-stainless-retry-count"] for r in http._transport.requests] == ["0", "1", "2"]
    assert server.requests[0].body == http._transport.requests[0].content


# Ours


@pytest.mark.parametrize("user_id", ["   ", "x" * 513, "a\tb"])
def test_an_unusable_id_leaves_the_call_as_it_came(way, server, bare, client, caplog, user_id):
    way.done(chat(bare, user=user_id))
    with caplog.at_level(logging.DEBUG, "persona_sdk"):
        way.done(chat(client, user=user_id))
    assert server.requests[0].body == server.requests[1].body
    (record,) = (r for r in caplog.records if r.name == "persona_sdk")
    assert record.levelno == logging.WARNING
    assert SECRET not in caplog.text
    assert user_id not in caplog.text


def breaking(monkeypatch, personalizer, method, error):
    def breaks(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(personalizer, method, breaks)


@pytest.mark.parametrize("error", [StorageError("the disk is full"), ZeroDivisionError(SECRET)])
@pytest.mark.parametrize("method", ["tailor", "answered", "notice", "choose"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_engine_that_fails_takes_no_answer_away(way, server, bare, monkeypatch, caplog, method, error, stream):
    personalizer, _ = make_personalizer(Does(lambda call: call.override(n=2)))
    client = personalize(bare, personalizer, user_id="ada", learn=True)
    breaking(monkeypatch, personalizer, method, error)
    if stream:
        pieces = way.pieces(chat(client, stream=True))
        assert "".join(p.choices[0].delta.content or "" for p in pieces) == f"echo: {SECRET}"
    else:
        assert way.done(chat(client)).choices[0].message.content == f"echo: {SECRET}"
    warnings = [r for r in caplog.records if r.name == "persona_sdk" and r.levelno == logging.WARNING]
    assert len(warnings) == (0 if stream and method == "choose" else 1)
    assert SECRET not in caplog.text
    assert "ada" not in caplog.text
    personalizer.close()


def test_a_required_tailor_that_fails_fails_the_call(way, server, bare):
    def fails(call):
        raise ZeroDivisionError

    personalizer, _ = make_personalizer(Does(fails, required=True))
    client = personalize(bare, personalizer, user_id="ada").with_options(max_retries=3)
    for stream in (False, True):
        with pytest.raises(PluginError, match="required"):
            way.done(chat(client, stream=stream))
    assert server.requests == []
    personalizer.close()


def test_a_tailor_that_fails_is_left_out(way, server, bare):
    def fails(call):
        raise ZeroDivisionError

    personalizer, _ = make_personalizer(Does(fails))
    way.done(chat(personalize(bare, personalizer, user_id="ada")))
    assert server.requests[0].json["messages"] == ASKED
    personalizer.close()


@pytest.mark.parametrize("body", [{"messages": "why?"}, {"messages": []}, {"messages": [{"content": "why?"}]}, {}])
def test_what_cannot_be_read_is_for_the_server_to_judge(way, server, bare, client, body):
    for one in (bare, client.for_user("ada")):
        with contextlib.suppress(openai.BadRequestError):
            way.done(one.post("/chat/completions", cast_to=object, body={"model": "m", **body}))
    assert server.requests[0].body == server.requests[1].body


def test_logs_name_nobody_and_quote_nothing(way, client, made, caplog):
    with caplog.at_level(logging.DEBUG, "persona_sdk"):
        response = way.done(chat(client.for_user("Ada Lovelace")))
        way.pieces(chat(client.for_user("Ada Lovelace"), stream=True))
        way.done(client.feedback(response, edited="secret"))
    text = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("persona"))
    for private in (SECRET, "Ada Lovelace", "secret", "echo"):
        assert private not in text
