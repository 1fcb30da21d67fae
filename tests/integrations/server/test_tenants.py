"""Two tenants of one gateway, whose people have the same names: neither sees anything of the other."""

import asyncio
import json

import pytest

from tests.integrations.server.running import asks, events, personalizer_of, running, teach, until

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SECRET = "zorblaxian"


@pytest.fixture
def mine(locked):
    return locked.caller(locked.key("mine"))


@pytest.fixture
def yours(locked):
    return locked.caller(locked.key("yours"))


def test_what_is_known_of_somebody_is_the_tenants_own(locked, mine, yours, up):
    teach(locked.personalizer.for_tenant("yours"), "ann")
    for caller, notes in ((mine, False), (yours, True)):
        caller.post(CHAT, json=asks(user="ann"))
        assert (b"Prefers shorter answers" in up.requests[-1].body) is notes
    mine.post(CHAT, json=asks(f"I love {SECRET} bread.", user="ann"))
    until(lambda: locked.signals("ann", "mine")[1:])
    assert SECRET in mine.get("/v1/personas/ann/export").text
    mine.post("/v1/personas/ann/said", json={"text": f"I don't eat {SECRET} bread."})
    trait = mine.get("/v1/personas/ann").json()["traits"][0]["trait"]["key"]
    mine.post("/v1/personas/ann/reject", json={"trait": trait})
    assert SECRET in mine.get("/v1/personas/ann/rulings").text
    for path in ("", "/ann", "/ann/versions", "/ann/export", "/ann/rulings"):
        answer = yours.get(f"/v1/personas{path}")
        assert answer.status_code == 200
        assert SECRET not in answer.text
    assert len(yours.get("/v1/personas/ann/versions").json()) == 1
    assert mine.get("/v1/personas/ann/versions").json() != yours.get("/v1/personas/ann/versions").json()
    assert mine.delete("/v1/personas/ann").json()["signals"] == 3
    assert mine.get("/v1/personas").json() == []
    assert yours.get("/v1/personas").json() == ["ann"]
    assert yours.get("/v1/personas/ann").json()["version"] == 1


async def test_many_at_once_are_not_mixed_up(locked, up):
    teach(locked.personalizer.for_tenant("yours"), "ann")
    clients = {tenant: locked.async_openai(locked.key(tenant)) for tenant in ("mine", "yours")}

    async def ask(number, tenant):
        asked = [{"role": "user", "content": f"{tenant} {number}?"}]
        answer = await clients[tenant].chat.completions.create(model="m", messages=asked, user="ann")
        return answer.choices[0].message.content

    asked = [(number, tenant) for number in range(20) for tenant in clients]
    answers = await asyncio.gather(*(ask(*one) for one in asked))
    assert answers == [f"echo: {tenant} {number}?" for number, tenant in asked]
    for request in up.requests:
        assert (b"Prefers shorter answers" in request.body) is (b"yours " in request.body)
    for client in clients.values():
        await client.close()
    locked.recorded("answer", least=40)
    for tenant in clients:
        said = {s.text for s in locked.signals("ann", tenant) if s.kind == "utterance"}
        assert said == {f"{tenant} {number}?" for number in range(20)}


def test_an_answer_is_the_tenants_own(locked, mine, yours):
    response = mine.post(CHAT, json=asks(user="ann"))
    locked.recorded("answer")
    other = yours.post(CHAT, json=asks(user="ann"))
    locked.recorded("answer", least=2)
    for answer in (response.json()["id"], response.headers["x-persona-call-id"]):
        assert mine.get(f"/v1/explanations/{answer}").status_code == 200
        assert yours.get(f"/v1/explanations/{answer}").status_code == 404
        given = {"response_id": answer, "thumb": "up"}
        assert yours.post("/v1/feedback", json=given).status_code == 404
        assert yours.post("/v1/feedback", json={"response_id": other.json()["id"], "over": answer}).status_code == 404
        assert mine.post("/v1/feedback", json=given).status_code == 201
    assert [s.kind for s in locked.signals("ann", "mine")] == ["utterance", "rating", "rating"]
    assert [s.kind for s in locked.signals("ann", "yours")] == ["utterance"]
    assert locked.signals("ann", "default")[-1].kind == "preference"  # as before


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_for_its_own_tenant_only(locked, mine, yours, up, stream):
    body = {"model": "m", "input": "Hello", "stream": stream}
    answer = mine.post(RESPONSES, json=body)
    if stream:
        last = events(answer.content)[-1].partition(b"data: ")[2]
        number = json.loads(last)["response"]["id"]
    else:
        number = answer.json()["id"]
    asked = len(up.requests)
    for more in ({}, {"user": "ann"}):
        refused = yours.post(RESPONSES, json={**body, **more, "previous_response_id": number})
        assert refused.status_code == 404
        assert number not in refused.text
    assert len(up.requests) == asked
    went_on = mine.post(RESPONSES, json={**body, "previous_response_id": number})
    assert went_on.status_code == 200
    assert up.requests[-1].json["previous_response_id"] == number


@pytest.mark.parametrize(
    "odd",
    [
        '{"model":"m","previous_response_id":"NUMBER"}',
        '{"model":"m","input":[],"previous_response_id":"NUMBER"}',
        '{"model":"m","input":["x"],"previous_response_id":"NUMBER"}',
        '{"model":"m","input":null,"previous_response_id":"NUMBER"}',
        '{"model":"m","input":[{"type":"message","role":7}],"previous_response_id":"NUMBER"}',
        '{"model":"m","input":"x","previous_response_id":"NUMBER","previous_response_id":"OWN"}',
        '{"model":"m","input":"x","previous_response_id":"OWN","previous_response_id":"NUMBER"}',
        '{"model":"m","input":"x","previous_response_id":"NUMBER","previous_response_id":null}',
        '{"model":"m","input":"x","Previous_Response_ID":"NUMBER"}',
        '{"model":"m","input":"x","previous_respon\u017fe_id":"NUMBER"}',
        '{"model":"m","input":"x","previous\\u005fresponse_id":"NUMBER"}',
        '{"model":"m","input":"x","previous_response_id":["NUMBER"]}',
        '{"model":"m","input":"\x01","previous_response_id":"NUMBER"}',
        '{"model":"m","input":"x","previous_response_id":"NUMBER",}',
        '[{"model":"m","input":"x","previous_response_id":"NUMBER"}]',
        '{"model":"m","input":"x","conversation":"conv_1"}',
        '{"model":"m","input":"x","conversation":{"id":"conv_1"}}',
    ],
)
def test_no_way_of_writing_it_down_gets_at_anothers_conversation(shared_locked, up, odd):
    mine, yours = (shared_locked.caller(shared_locked.key(tenant)) for tenant in ("mine", "yours"))
    number = mine.post(RESPONSES, json={"model": "m", "input": "Hello"}).json()["id"]
    own = yours.post(RESPONSES, json={"model": "m", "input": "Hello"}).json()["id"]
    asked = len(up.requests)
    body = odd.replace("NUMBER", number).replace("OWN", own).encode()
    sent = yours.post(RESPONSES, content=body, headers={"content-type": "application/json"})
    assert sent.status_code in (400, 404)
    assert len(up.requests) == asked


def test_who_said_what_first_is_known_after_a_restart(up, folder):
    with personalizer_of(folder) as one, running(up, one, auth="keys") as gateway:
        key, other = gateway.key("mine"), gateway.key("yours")
        number = gateway.caller(key).post(RESPONSES, json={"model": "m", "input": "x"}).json()["id"]
    with personalizer_of(folder) as one, running(up, one, auth="keys") as gateway:
        body = {"model": "m", "input": "x", "previous_response_id": number}
        assert gateway.caller(other).post(RESPONSES, json=body).status_code == 404
        assert gateway.caller(key).post(RESPONSES, json=body).status_code == 200


def test_without_keys_there_is_one_tenant_and_nothing_to_keep_apart(gateway, up):
    body = {"model": "m", "input": "x", "previous_response_id": "resp_of_before", "conversation": "conv_1"}
    assert gateway.http.post(RESPONSES, json=body).status_code == 200
    assert up.requests[-1].json == body
