"""Whom a request is about, and what is made of what they say and ask."""

import json

import pytest

from tests.integrations.server import raw
from tests.integrations.server.running import asks, personalizer_of, running, until

NOTE = b"Prefers shorter answers"
CHAT = "/v1/chat/completions"


def tailored(up):
    return NOTE in up.requests[-1].body


@pytest.mark.parametrize(
    ("headers", "body", "who"),
    [
        ({"X-Persona-User": "ann"}, {}, True),
        ({"X-Persona-User": "ann"}, {"user": "bob", "safety_identifier": "bob"}, True),
        ({"X-Persona-User": "bob"}, {"user": "ann", "safety_identifier": "ann"}, False),
        ({"X-Persona-User": ""}, {"user": "ann"}, True),
        ({}, {"user": "ann"}, True),
        ({}, {"safety_identifier": "ann"}, True),
        ({}, {"safety_identifier": "ann", "user": "bob"}, True),
        ({}, {"safety_identifier": "bob", "user": "ann"}, False),
        ({}, {"user": ["ann"]}, False),
        ({}, {}, False),
        ({"X-Persona": "off"}, {"user": "ann"}, False),
        ({"X-Persona": "OFF"}, {"user": "ann"}, False),
        ({"X-Persona": "no-learn"}, {"user": "ann"}, True),
    ],
)
def test_who_is_meant(shared_gateway, up, headers, body, who):
    shared_gateway.http.post(CHAT, json=asks(**body), headers=headers)
    assert tailored(up) is who
    sent = {name for name, _ in up.requests[-1].headers}
    assert not sent & {b"x-persona-user", b"x-persona"}
    shared_gateway.http.post("/v1/responses", json={"model": "m", "input": "x", **body}, headers=headers)
    assert tailored(up) is who


def test_a_header_of_another_name(start, up):
    gateway = start(user_header="X-Chat-User")
    gateway.http.post(CHAT, json=asks(), headers={"x-chat-user": "ann"})
    assert tailored(up)
    assert not up.requests[-1].header("x-chat-user")
    gateway.http.post(CHAT, json=asks(), headers={"x-persona-user": "ann"})
    assert not tailored(up)


def test_a_name_in_a_header_is_the_same_as_in_a_body(gateway, up):
    for name in ("Zoë", "日本", "o'hara/50%"):
        headers = [("x-persona-user", name.encode()), ("content-type", "application/json")]
        raw.ask(gateway.url, "POST", CHAT, headers, json.dumps(asks("I like tea.")).encode())
        until(lambda who=name: gateway.signals(who))
        gateway.chat("I like jazz.", user=name)
        until(lambda who=name: [s.text for s in gateway.signals(who)] == ["I like tea.", "I like jazz."])


def test_a_name_that_cannot_be_used_stops_no_chat(gateway, up):
    names = ["\n", "a\x00b", "\ud800", "x" * 600, " "]
    for name in names:
        asked = json.dumps(asks(user=name))
        answer = gateway.http.post(CHAT, content=asked, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert up.requests[-1].body == asked.encode()
    assert gateway.metric("personal_total", outcome="nobody") == len(names)


def test_whom_nothing_is_said_about_is_counted(gateway, up):
    gateway.chat(user="ann")
    gateway.chat(user="bob")
    gateway.chat()
    gateway.http.post(CHAT, json=asks(user="ann"), headers={"X-Persona": "off"})
    counted = {o: gateway.metric("personal_total", outcome=o) for o in ("tailored", "silent", "nobody", "failed")}
    assert counted == {"tailored": 1, "silent": 1, "nobody": 2, "failed": 0}
    assert gateway.metric("added_seconds_count") == 2


def test_off_learns_nothing_and_no_learn_does_not_either(gateway, up):
    before = gateway.signals("ann")
    for what in ("off", "no-learn"):
        gateway.http.post(CHAT, json=asks("I love jazz.", user="ann"), headers={"X-Persona": what})
    gateway.chat("I love tea.", user="bob")
    until(lambda: gateway.signals("bob"))  # what came before it would be there, too
    assert gateway.signals("ann") == before


def test_a_gateway_that_is_not_to_learn(start, up):
    gateway = start(learn=False)
    gateway.chat("I love tea.", user="bob")
    answer = gateway.chat("Hello?", user="ann")
    gateway.recorded("answer", least=2)
    assert gateway.signals("bob") == []
    assert gateway.http.post("/v1/feedback", json={"response_id": answer.json()["id"], "thumb": "up"}).is_success


def test_what_they_say_is_recorded_and_quoted_back(gateway, up):
    gateway.chat("I don't eat meat.", user="bob")
    until(lambda: gateway.signals("bob"))
    [said] = gateway.signals("bob")
    assert (said.kind, said.text, said.source) == ("utterance", "I don't eat meat.", "gateway")
    assert gateway.personalizer.persona("bob").traits[0].stated
    assert gateway.metric("signals_total", kind="utterance") == 1
    gateway.chat("What meat should I eat?", user="bob")
    assert b"meat" in json.dumps(up.requests[-1].json["messages"][:-1]).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_asked_again_is_a_wish_for_another_answer(gateway, up, stream):
    for count in (1, 2):
        gateway.chat("How tall is Ada?", user="bob", stream=stream)
        gateway.recorded("answer", least=count)
    until(lambda: len(gateway.signals("bob")) == 2)
    again = gateway.signals("bob")[-1]
    assert (again.kind, again.response, again.kept) == ("regeneration", "echo: How tall is Ada?", None)
    assert gateway.metric("signals_total", kind="regeneration") == 1


def test_an_edited_question_and_the_answer_they_stay_with(gateway, up):
    up.reply = lambda asked: f"answer {up.number()}"
    opening = [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": "Hi!"}]
    for count, text in enumerate(["Plan a trip to Rome in May", "Plan a short trip to Rome in May"], 1):
        asked = {"model": "m", "user": "bob", "messages": [*opening, {"role": "user", "content": text}]}
        last = gateway.http.post(CHAT, json=asked).json()["choices"][0]["message"]
        gateway.recorded("answer", least=count)
    assert [s.kind for s in gateway.signals("bob")] == ["utterance", "utterance", "regeneration"]
    messages = [*asked["messages"], last, {"role": "user", "content": "And in June?"}]
    gateway.http.post(CHAT, json={**asked, "messages": messages})
    until(lambda: len(gateway.signals("bob")) == 5)
    stayed = gateway.signals("bob")[-1]
    assert (stayed.kind, stayed.kept) == ("regeneration", last["content"])
    assert stayed.response != last["content"]


def test_which_of_two_answers_they_stay_with(gateway, up):
    up.reply = lambda asked: f"answer {up.number()}"
    for count in (1, 2):
        last = gateway.chat("How tall is Ada?", user="bob").json()["choices"][0]["message"]
        gateway.recorded("answer", least=count)
    messages = [*asks("How tall is Ada?")["messages"], last, {"role": "user", "content": "And Bob?"}]
    gateway.http.post(CHAT, json={"model": "m", "user": "bob", "messages": messages})
    gateway.recorded("notice", least=3)
    stayed = [s for s in gateway.signals("bob") if s.kind == "regeneration"][-1]
    assert stayed.kept == last["content"]
    assert stayed.response != stayed.kept


def test_a_stream_that_broke_off_is_no_answer_they_disliked(gateway, up):
    """An app asks again when the line breaks; that says nothing of the person."""
    for count in (1, 2):
        with pytest.raises(Exception, match="peer closed"):
            gateway.chat("How tall is Ada? [cut=3]", user="bob", stream=True)
        until(lambda n=count: gateway.metric("broken_total", side="upstream") == n)
    gateway.chat("Thanks", user="bob")
    gateway.recorded("notice", least=3)
    assert {s.kind for s in gateway.signals("bob")} == {"utterance"}


def test_a_pipeline_that_starts_again_knows_what_was_answered_before(up, folder):
    with personalizer_of(folder) as one, running(up, one) as gateway:
        answer = gateway.chat(user="ann").json()
        gateway.recorded("answer")
    with personalizer_of(folder) as one, running(up, one) as gateway:
        given = gateway.http.post("/v1/feedback", json={"response_id": answer["id"], "thumb": "down"})
        assert given.status_code == 201
        assert gateway.signals("ann")[-1].response == "echo: How do I boil eggs?"
