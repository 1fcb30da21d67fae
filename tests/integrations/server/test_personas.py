"""What is known of people, read and changed over HTTP."""

import io
from urllib.parse import quote

import pytest

from persona_sdk.engine import Personalizer
from tests.integrations.server.running import asks, until

SECRET = "zorblaxian"
ODD = [
    "o'hara",
    "a/b",
    "/a",
    "a/",
    "a//b",
    "versions",
    "a b",
    "50%",
    "%2F",
    "%",
    "日本",
    "Zoë",
    "?x=1",
    "#1",
    ".",
    "..",
    "a/../b",
    "a+b",
]


def at(user, rest=""):
    return f"/v1/personas/{quote(user, safe='').replace('.', '%2E')}{rest}"


def known(gateway, user="ann"):
    return gateway.http.get(at(user)).json()


def keys(persona):
    return [reason["trait"]["key"] for reason in persona["traits"]]


def test_what_is_known_and_why(gateway):
    ann = known(gateway)
    assert (ann["user_id"], ann["version"], ann["pinned"], ann["note"]) == ("ann", 1, False, "")
    assert ann["summary"].startswith("Prefers shorter answers")
    assert ann["lift"]["choices"] == 10
    [reason] = ann["traits"]
    assert reason["trait"]["key"] == "style:length"
    assert reason["evidence"]
    assert known(gateway, "nobody")["note"] == "nothing is known of this person yet"


def test_who_is_known(gateway):
    for number in range(5):
        gateway.personalizer.said(f"user {number}", "Hello.")
    assert gateway.http.get("/v1/personas").json() == ["ann", *(f"user {n}" for n in range(5))]
    assert gateway.http.get("/v1/personas?start=1&limit=2").json() == ["user 0", "user 1"]
    for odd in ("start=-1", "limit=0", "limit=1001", "start=x", f"start={10**20}"):
        assert gateway.http.get(f"/v1/personas?{odd}").status_code == 422


def test_what_they_say_is_a_quoted_trait(gateway):
    answer = gateway.http.post(at("bob", "/said"), json={"text": "I don't eat meat.", "id": "said-1"})
    assert (answer.status_code, answer.json()) == (201, {"id": "said-1", "kind": "utterance"})
    gateway.http.post(at("bob", "/said"), json={"text": "I don't eat meat.", "id": "said-1"})
    [reason] = known(gateway, "bob")["traits"]
    assert reason["trait"]["stated"]
    assert reason["trait"]["evidence"][0]["quote"] == "I don't eat meat"
    assert len(gateway.signals("bob")) == 1
    for odd in ({"text": ""}, {"text": "  "}, {}, {"text": 1}, {"text": "x", "id": ""}, {"text": "x", "more": 1}):
        assert gateway.http.post(at("bob", "/said"), json=odd).status_code == 422


def test_versions_rulings_and_pins(gateway):
    first = gateway.http.get(at("ann", "/versions")).json()
    assert [p["version"] for p in first] == [1]
    rejected = gateway.http.post(at("ann", "/reject"), json={"trait": "style:length"}).json()
    assert rejected["version"] == 2
    assert "style:length" not in keys(rejected)
    [ruling] = gateway.http.get(at("ann", "/rulings")).json()
    assert (ruling["trait"], ruling["ruling"]) == ("style:length/against", "rejected")
    assert ruling["statement"].startswith("Prefers shorter answers")
    allowed = gateway.http.post(at("ann", "/allow"), json={"trait": "style:length/against"}).json()
    assert keys(allowed) == ["style:length"]
    assert gateway.http.get(at("ann", "/rulings")).json() == []
    kept = gateway.http.post(at("ann", "/keep"), json={"trait": "style:length"}).json()
    assert kept["traits"][0]["trait"]["status"] == "pinned"
    back = gateway.http.post(at("ann", "/rollback"), json={"version": 2}).json()
    assert keys(back) == keys(rejected)
    pinned = gateway.http.post(at("ann", "/pin"), json={"version": 1}).json()
    assert pinned["pinned"]
    assert keys(pinned) == ["style:length"]
    assert known(gateway)["pinned"]
    assert not gateway.http.post(at("ann", "/unpin")).json()["pinned"]
    versions = gateway.http.get(at("ann", "/versions")).json()
    assert [p["version"] for p in versions] == list(range(1, len(versions) + 1))


NOT_THERE = [
    ("/reject", {"trait": "none"}, 404),
    ("/reject", {"trait": "\x00"}, 404),
    ("/keep", {"trait": "none"}, 404),
    ("/keep", {"trait": ""}, 422),
    ("/allow", {"trait": "none"}, 200),
    ("/pin", {"version": 7}, 404),
    ("/pin", {"version": 2**40}, 422),
    ("/rollback", {"version": 7}, 404),
    ("/rollback", {"version": 0}, 422),
    ("/rollback", {}, 422),
    ("/rollback", None, 422),
]


def test_what_is_not_there(gateway):
    for path, body, status in NOT_THERE:
        answer = gateway.http.post(at("ann", path), json=body)
        assert answer.status_code == status, (path, body, answer.text)
        if status != 200:
            assert answer.json()["error"]["message"]


def test_an_export_can_be_read_again(gateway, tmp_path):
    gateway.personalizer.said("ann", "I eat\nno \u2028 meat, 日本.")
    answer = gateway.http.get(at("ann", "/export"))
    assert answer.headers["content-type"] == "application/x-ndjson"
    (tmp_path / "ann.jsonl").write_bytes(answer.content)
    with Personalizer(f"sqlite:///{tmp_path / 'other.db'}", learning="manual") as other:
        report = other.import_jsonl(tmp_path / "ann.jsonl")
        assert (report.new, report.problems) == (11, [])
        assert other.signals("ann") == gateway.signals("ann")
    exported = io.StringIO()
    gateway.personalizer.export_jsonl(exported, user_id="ann")
    assert exported.getvalue() == answer.text
    assert gateway.http.get(at("nobody", "/export")).content == b""


def test_an_answer_explained(gateway):
    answer = gateway.chat(user="ann")
    gateway.recorded("answer")
    for number in (answer.json()["id"], answer.headers["x-persona-call-id"]):
        why = gateway.http.get(f"/v1/explanations/{number}").json()
        assert (why["user_id"], why["version"]) == ("ann", 1)
        assert why["reasons"][0]["trait"]["key"] == "style:length"
    for odd in ("unknown", "ann", "%00", "a/b"):
        assert gateway.http.get(f"/v1/explanations/{odd}").status_code == 404


def test_nothing_of_who_was_erased_is_left(gateway, folder):
    gateway.chat(f"I love {SECRET} bread.", user="bob")
    gateway.recorded("answer")
    answer = gateway.chat(f"What {SECRET} bread is best?", user="bob").json()["id"]
    gateway.http.post("/v1/feedback", json={"response_id": answer, "edited": f"Take {SECRET} rye."})
    assert gateway.http.get(at("bob")).json()["version"] == 1
    erased = gateway.http.delete(at("bob"))  # at once: the second answer may still be on its way to memory
    assert erased.json() == {"signals": 3, "versions": 1}
    assert known(gateway, "bob")["version"] == 0
    assert gateway.http.post("/v1/feedback", json={"response_id": answer, "thumb": "up"}).status_code == 404
    assert gateway.http.get(f"/v1/explanations/{answer}").status_code == 404
    assert gateway.http.get("/v1/personas").json() == ["ann"]
    for path in folder.glob("persona.db*"):
        assert SECRET.encode() not in path.read_bytes()
    assert gateway.http.delete(at("bob")).json() == {"signals": 0, "versions": 0}


def test_what_was_said_before_an_erasure_does_not_come_back(gateway):
    for number in range(20):
        gateway.chat(f"I love {SECRET} bread number {number}.", user="bob")
    gateway.http.delete(at("bob"))
    gateway.chat("Hello", user="carl")
    until(lambda: gateway.signals("carl"))
    assert gateway.signals("bob") == []


@pytest.mark.parametrize("user", ODD)
def test_people_with_odd_names(shared_locked, up, user):
    tenant = f"has {user}"
    caller = shared_locked.caller(shared_locked.key(tenant))
    caller.post("/v1/chat/completions", json=asks("I like tea.", user=user))
    until(lambda: shared_locked.signals(user, tenant))
    assert caller.get("/v1/personas").json() == [user]
    assert caller.get(at(user)).json()["user_id"] == user
    assert caller.post(at(user, "/said"), json={"text": "I like jazz."}).status_code == 201
    assert [s.text for s in shared_locked.signals(user, tenant)] == ["I like tea.", "I like jazz."]
    assert caller.get(at(user, "/export")).text.count("\n") == 2
    assert caller.delete(at(user)).json()["signals"] == 2


def test_people_with_impossible_names(gateway):
    routes = (("POST", "/said"), ("DELETE", ""), ("GET", ""), ("GET", "/export"), ("GET", "/versions"))
    for user in ("%00", "%0A", "%20", "x" * 513, "%ED%A0%80%00"):
        for method, rest in routes:
            body = {"text": "x"} if rest == "/said" else None
            answer = gateway.http.request(method, f"/v1/personas/{user}{rest}", json=body)
            assert answer.status_code in ((404, 422) if body else (200, 404, 422)), (method, rest, answer.text)
    assert gateway.http.get("/v1/personas").json() == ["ann"]


def test_best_of_n(start, up):
    gateway = start({"tailors": ("best_of_n",), "options": {"best_of_n": {"n": 4}}})
    long = "Well, that depends on many things, and there is a long story to it, with details to weigh. "
    answers = iter([long * 3, long, "Yes.", long * 2])
    up.reply = lambda asked: next(answers)
    asked = asks("Is it raining?", user="ann")
    answer = gateway.http.post("/v1/chat/completions", json=asked).json()
    assert answer["choices"][0]["message"]["content"] == "Yes."
    assert [r.json for r in up.requests] == [asked] * 4
    given = gateway.http.post("/v1/feedback", json={"response_id": answer["id"], "thumb": "up"})
    assert given.status_code == 201
    assert gateway.signals("ann")[-1].response == "Yes."


def test_best_of_n_asks_once_where_there_is_nothing_to_choose(start, up):
    gateway = start({"tailors": ("best_of_n",), "options": {"best_of_n": {"n": 4}}})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    for more in ({"stream": True}, {"tools": [tool]}, {"n": 2}, {"response_format": {"type": "json_object"}}):
        up.requests.clear()
        assert gateway.chat("Is it raining?", user="ann", **more).status_code == 200
        assert len(up.requests) == 1
    up.requests.clear()
    gateway.chat("Is it raining?", user="bob")
    assert len(up.requests) == 1


def test_best_of_those_that_came(start, up):
    gateway = start({"tailors": ("best_of_n",), "options": {"best_of_n": {"n": 3}}})
    answers = iter(["A long answer with many words in it, all of them needed."])
    up.reply = lambda asked: {}[0] if (said := next(answers, None)) is None else said  # an error is a 400 of theirs
    answer = gateway.chat("Is it raining?", user="ann")
    assert answer.json()["choices"][0]["message"]["content"].startswith("A long answer")
    for fault, status in (("[500]", 500), ("[429]", 429), ("[reset]", 502), ("[cut]", 502)):
        up.reply = str
        assert gateway.chat(f"Is it raining? {fault}", user="ann").status_code == status
