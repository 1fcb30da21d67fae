"""What people did with an answer, posted by the id the app knows it by."""

import json
import threading

import pytest

from tests.integrations.server.running import asks, until
from tests.integrations.server.test_trouble import unwell

FEEDBACK = "/v1/feedback"


@pytest.fixture
def gateway(shared_gateway, up):
    return shared_gateway


@pytest.fixture
def answered(gateway):
    """Two answers that Ann got, and one of Bob's."""
    made = [gateway.chat(f"Question {n}?", user=user) for n, user in enumerate(("ann", "ann", "bob"))]
    until(lambda: gateway.metric("queued") == 0)
    return [answer.json()["id"] for answer in made]


def post(gateway, **given):
    return gateway.http.post(FEEDBACK, json=given)


def last(gateway, user="ann"):
    return gateway.signals(user)[-1]


@pytest.mark.parametrize(
    ("given", "score"),
    [
        ({"thumb": "up"}, 1.0),
        ({"thumb": "down"}, -1.0),
        ({"score": 0.25}, 0.25),
        ({"score": -1}, -1.0),
        ({"score": 0}, 0.0),
    ],
)
def test_a_thumb_or_a_score(gateway, answered, given, score):
    before = gateway.metric("signals_total", kind="rating")
    answer = post(gateway, response_id=answered[0], **given)
    assert answer.status_code == 201
    signal = last(gateway)  # at once: it is durable
    assert answer.json() == {"id": signal.id, "kind": "rating"}
    assert (signal.score, signal.response, signal.response_id) == (score, "echo: Question 0?", answered[0])
    assert signal.prompt[-1].text == "Question 0?"  # without what a tailor told the model
    assert len(signal.prompt) == 1
    assert gateway.metric("signals_total", kind="rating") == before + 1


def test_an_edit(gateway, answered):
    assert post(gateway, response_id=answered[0], edited="Better.").json()["kind"] == "edit"
    assert (last(gateway).original, last(gateway).edited) == ("echo: Question 0?", "Better.")


def test_one_answer_over_another(gateway, answered):
    assert post(gateway, response_id=answered[1], over=answered[0]).json()["kind"] == "preference"
    assert (last(gateway).chosen, last(gateway).rejected) == ("echo: Question 1?", "echo: Question 0?")
    assert post(gateway, response_id=answered[1], rejected="Worse.").json()["kind"] == "preference"
    assert (last(gateway).chosen, last(gateway).rejected) == ("echo: Question 1?", "Worse.")


def test_somebody_elses_answer_is_no_alternative(gateway, answered):
    answer = post(gateway, response_id=answered[0], over=answered[2])
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "over"


def test_the_same_feedback_twice_is_one(gateway, answered):
    for _ in range(2):
        answer = post(gateway, response_id=answered[0], thumb="up", id="click-1")
        assert (answer.status_code, answer.json()["id"]) == (201, "click-1")
    assert [s.id for s in gateway.signals("ann")].count("click-1") == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_by_the_id_of_the_answer_or_of_the_call(gateway, path, stream):
    body = asks(user="bob") if "chat" in path else {"model": "m", "input": "Hello", "user": "bob"}
    answer = gateway.http.post(path, json={**body, "stream": stream})
    call = answer.headers["x-persona-call-id"]
    assert post(gateway, response_id=call, thumb="up").status_code == 201
    number = last(gateway, "bob").response_id
    assert number in answer.text
    assert number.startswith(("chatcmpl-up", "resp_up"))
    assert post(gateway, response_id=number, thumb="down").status_code == 201
    assert last(gateway, "bob").response.startswith("echo: ")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"response_id": "ID"},
        {"response_id": "ID", "thumb": "up", "score": 1},
        {"response_id": "ID", "thumb": "up", "edited": "x"},
        {"response_id": "ID", "thumb": "sideways"},
        {"response_id": "ID", "score": 2},
        {"response_id": "ID", "score": True},
        {"response_id": "ID", "edited": ""},
        {"response_id": "ID", "edited": "echo: Question 0?"},
        {"response_id": "ID", "edited": "\ud800"},
        {"response_id": "ID", "rejected": " "},
        {"response_id": "ID", "thumb": "up", "id": "a\nb"},
        {"response_id": "ID", "thumb": "up", "id": "\ud800"},
        {"response_id": "ID", "thumb": "up", "more": 1},
        {"response_id": "ID", "thumb": "up", "\ud800": 1},
        {"response_id": "", "thumb": "up"},
        {"response_id": "\ud800", "thumb": "up"},
    ],
)
def test_what_cannot_be_feedback_is_refused(gateway, answered, given):
    before = gateway.signals("ann")
    given = {**given, "response_id": answered[0]} if given.get("response_id") == "ID" else given
    answer = gateway.http.post(FEEDBACK, content=json.dumps(given), headers=JSON)
    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert gateway.signals("ann") == before


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(gateway, content):
    answer = gateway.http.post(FEEDBACK, content=content, headers=JSON)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("number", ["chatcmpl-unknown", "a\x00b", "x" * 512])
def test_an_answer_nobody_knows(gateway, number):
    answer = gateway.http.post(FEEDBACK, content=json.dumps({"response_id": number, "thumb": "up"}), headers=JSON)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_feedback_that_is_faster_than_the_record_of_its_answer(up):
    release = threading.Event()
    with unwell(up, release.wait, "append") as gateway:
        number = gateway.chat("Hello", user="bob").json()["id"]
        given = []
        poster = threading.Thread(target=lambda: given.append(post(gateway, response_id=number, thumb="up")))
        explained = []
        reader = threading.Thread(target=lambda: explained.append(gateway.http.get(f"/v1/explanations/{number}")))
        poster.start()
        reader.start()
        until(lambda: gateway.metric("queued") >= 0 and not given)
        release.set()
        poster.join()
        reader.join()
        assert given[0].status_code == 201
        assert explained[0].status_code == 200
        assert last(gateway, "bob").kind == "rating"


def test_feedback_leads_to_a_persona(gateway, up):
    long = "Well, that depends on many things, and it is a long story with many details to weigh."
    up.reply = lambda asked: "Yes." if len(up.requests) % 2 else long
    for number in range(20):
        answer = gateway.chat(f"Is {number} a good number?", user="learner").json()
        short = answer["choices"][0]["message"]["content"] == "Yes."
        assert post(gateway, response_id=answer["id"], thumb="up" if short else "down").status_code == 201
    assert "shorter" in gateway.personalizer.persona("learner").summary
    gateway.chat("Is it raining?", user="learner")
    assert b"Prefers shorter answers" in up.requests[-1].body
