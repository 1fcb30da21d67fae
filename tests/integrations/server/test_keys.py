"""A key is of one tenant, may do what its scopes say, and stays between its caller and the gateway."""

import base64

import openai
import pytest

from persona_integrations.server import keys
from tests.integrations.server.running import asks, personalizer_of, running

CHAT = "/v1/chat/completions"
#: What each route wants a key for.
ROUTES = {
    "chat": [
        ("POST", CHAT, asks()),
        ("POST", "/v1/responses", {"model": "m", "input": "x"}),
        ("POST", "/v1/embeddings", {"model": "m", "input": "x"}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/m", None),
    ],
    "feedback": [
        ("POST", "/v1/feedback", {"response_id": "x", "thumb": "up"}),
        ("POST", "/v1/personas/bob/said", {"text": "I like tea."}),
    ],
    "admin": [
        ("GET", "/v1/personas", None),
        ("GET", "/v1/personas/ann", None),
        ("GET", "/v1/personas/ann/versions", None),
        ("GET", "/v1/personas/ann/export", None),
        ("GET", "/v1/personas/ann/rulings", None),
        ("POST", "/v1/personas/ann/pin", {}),
        ("POST", "/v1/personas/ann/unpin", {}),
        ("POST", "/v1/personas/ann/rollback", {"version": 1}),
        ("POST", "/v1/personas/ann/reject", {"trait": "x"}),
        ("POST", "/v1/personas/ann/keep", {"trait": "x"}),
        ("POST", "/v1/personas/ann/allow", {"trait": "x"}),
        ("DELETE", "/v1/personas/ann", None),
        ("GET", "/v1/explanations/x", None),
    ],
}
EVERY = [(scope, *route) for scope, routes in ROUTES.items() for route in routes]


def test_no_route_is_left_out(locked):
    described = locked.http.get("/openapi.json").json()["paths"]
    methods = {(method.upper(), path) for path, of in described.items() for method in of if path.startswith("/v1/")}
    assert len(methods) == len(EVERY)


def test_without_a_key_of_the_gateway_nothing_is_reached(locked, up):
    good = locked.key()
    mixed = "-".join([*locked.key().split("-")[:2], good.split("-", 2)[2]])  # the secret of another key
    wrong = [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {good[:-1]}"},
        {"authorization": f"Bearer {good}x"},
        {"authorization": f"Bearer {mixed}"},
        {"authorization": f"Bearer {good.replace('persona-', 'persona-0')[: len(good)]}"},
        {"authorization": f"Basic {good}"},
        {"authorization": "Basic " + base64.b64encode(f"x:{good}".encode()).decode()},
        {"authorization": "Bearer upstream-secret"},
        {"x-api-key": good},
        {"cookie": f"authorization=Bearer {good}"},
    ]
    for _, method, path, body in EVERY:
        for headers in wrong if path == CHAT else wrong[:1]:
            answer = locked.http.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (path, headers)
            assert answer.json()["error"]["type"] == "authentication_error"
        assert locked.http.request(method, f"{path}?api_key={good}&key={good}", json=body).status_code == 401
    assert up.requests == []
    assert locked.metric("in_flight") == 0


@pytest.mark.parametrize(("scope", "method", "path", "body"), EVERY)
def test_scopes(shared_locked, up, scope, method, path, body):
    for one in ROUTES:
        answer = shared_locked.caller(shared_locked.key("scoped", one)).request(method, path, json=body)
        assert (answer.status_code == 403) is (one != scope), answer.text
        if one != scope:
            assert answer.json()["error"]["type"] == "permission_error"
    both = shared_locked.key("scoped", *(one for one in ROUTES if one != scope))
    assert shared_locked.caller(both).request(method, path, json=body).status_code == 403


def test_the_official_client_is_told(locked):
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(openai.AuthenticationError, match="missing, unknown or revoked"):
        locked.openai(key="persona-wrong").chat.completions.create(**asked)
    with pytest.raises(openai.PermissionDeniedError, match="scope 'chat'"):
        locked.openai(key=locked.key("default", "admin")).chat.completions.create(**asked)
    assert locked.openai(key=locked.key()).chat.completions.create(**asked).choices


def test_a_revoked_key_is_refused_once_it_is_looked_up_again(locked, monkeypatch):
    text, key = locked.gateway.keys.create("default", ["chat"])
    caller = locked.caller(text)
    assert caller.post(CHAT, json=asks()).status_code == 200
    store = keys.KeyStore(locked.gateway.database)  # another process, say
    store.revoke(key.id, "default")
    assert caller.post(CHAT, json=asks()).status_code == 200
    monkeypatch.setattr(keys, "_AGE", 0.0)
    assert caller.post(CHAT, json=asks()).status_code == 401
    monkeypatch.setattr(keys, "_AGE", 60.0)
    assert caller.post(CHAT, json=asks()).status_code == 401


def test_a_key_revoked_here_is_refused_at_once(locked):
    text, key = locked.gateway.keys.create("default", ["chat"])
    assert locked.caller(text).get("/v1/models").status_code == 200
    locked.gateway.keys.revoke(key.id, "default")
    assert locked.caller(text).get("/v1/models").status_code == 401


def test_what_is_kept_of_a_key_is_no_key(locked, folder):
    texts = [locked.key("default", "chat", scope) for scope in ("chat", "feedback", "admin")]
    assert locked.caller(texts[0]).get("/v1/models").status_code == 200
    stored = b"".join(path.read_bytes() for path in folder.glob("persona.db*"))
    for text in texts:
        _, number, secret = text.split("-", 2)
        assert number.encode() in stored
        assert secret.encode() not in stored
        assert base64.urlsafe_b64decode(secret + "=") not in stored


@pytest.mark.parametrize("header", ["authorization", "api-key"])
def test_a_key_of_the_gateway_stays_there(locked, up, header):
    key = locked.key()
    value = f"Bearer {key}" if header == "authorization" else key
    others = {"x-api-key": key, "api-key": key, "proxy-authorization": key, "cookie": key}
    answer = locked.http.post(CHAT, json=asks(user="ann"), headers={**others, header: value})
    assert answer.status_code == 200
    assert up.requests[-1].header("authorization") == ["Bearer upstream-secret"]
    assert key.encode() not in b"".join(k + v for k, v in up.requests[-1].headers)


def test_without_a_key_for_it_the_server_behind_gets_none(up, known):
    with running(up, known, auth="keys") as gateway:
        gateway.caller(gateway.key()).post(CHAT, json=asks())
    assert up.requests[-1].header("authorization") == []


@pytest.mark.parametrize("mine", [None, "upstream-secret"])
def test_without_keys_the_callers_own_goes_through(up, known, mine):
    with running(up, known, upstream_key=mine) as gateway:
        gateway.openai(key="the-caller's").models.list()
        gateway.http.get("/v1/models", headers={"api-key": "azure"})
    first, second = up.requests
    assert first.header("authorization") == [f"Bearer {mine or 'the-caller' + chr(39) + 's'}"]
    assert second.header("api-key") == ([] if mine else ["azure"])


def test_who_runs_it_needs_no_key_to_look_after_it(locked):
    assert locked.http.get("/healthz").json() == {"status": "ok", "memory": "ok"}
    page = locked.http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert "persona_gateway_in_flight 0.0" in page.text


def test_keys_outlive_a_gateway(up, folder):
    with personalizer_of(folder) as one, running(up, one, auth="keys") as gateway:
        key = gateway.key()
    with personalizer_of(folder) as one, running(up, one, auth="keys") as gateway:
        assert gateway.caller(key).get("/v1/models").status_code == 200


def test_keys_that_cannot_be_looked_up_are_not_taken(locked, up, folder):
    key = locked.key()
    locked.gateway.database.close()
    for path in folder.glob("persona.db*"):
        path.unlink()
    (folder / "persona.db").write_bytes(b"this is no database" * 100)
    answer = locked.caller(key).post(CHAT, json=asks())
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert up.requests == []
