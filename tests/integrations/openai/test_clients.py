"""What `personalize` gives back: the client's own class, over the client's own connections."""

import gc
import subprocess
import sys
import threading

import httpx
import httpx2
import openai
import pytest
from openai.auth import x509_workload_identity

from persona_integrations.openai import personalize
from persona_sdk.errors import InputError
from tests.support.chatting import ADA, BOB
from tests.support.transports import Sometimes, completion

ASKED = [{"role": "user", "content": "why?"}]


def chat(client, **more):
    return client.chat.completions.create(model="m", messages=ASKED, **more)


def test_it_is_of_the_clients_own_class(way, bare, client, made):
    assert isinstance(client, way.kind)
    assert type(client).__name__ == type(bare).__name__  # servers are told it
    assert client.user_agent == bare.user_agent
    azure = way.azure(azure_endpoint="http://127.0.0.1:1", api_version="1", api_key="k")
    personal = personalize(azure, made[0])
    assert isinstance(personal, way.azure)
    assert isinstance(personal.for_user("ada").with_options(timeout=1), way.azure)
    for one in (azure, personal):
        way.done(one.close())


def test_azure_deployments_are_tailored(way, server, made):
    options = {"azure_endpoint": server.url.removesuffix("/v1"), "api_version": "1", "api_key": "azure-key"}
    azure = way.azure(**options, max_retries=0, http_client=way.http(transport=Sometimes(completion("yes"))))
    response = way.done(chat(personalize(azure, made[0], user_id="ada")))
    assert response.choices[0].message.content == "yes"
    (sent,) = azure._client._transport.requests
    assert (sent.url.path, dict(sent.url.params)) == ("/openai/deployments/m/chat/completions", {"api-version": "1"})
    assert sent.headers["api-key"] == "azure-key"
    assert ADA in sent.content.decode()
    assert len(azure._client.event_hooks["request"]) == 1  # what Azure's client hooks in, it hooks in once


class Own(openai.OpenAI):
    """Somebody's own client."""

    def ask(self, text):
        return self.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])


def test_a_class_of_ones_own_keeps_its_methods(server, made):
    with personalize(Own(base_url=server.url, api_key="k"), made[0], user_id="ada") as client:
        assert client.ask("why?").choices[0].message.content == "echo: why?"
    assert server.wire[0] == ("system", f"[{ADA}]")


def test_options_of_the_client_are_kept(way, server, made):
    given = way.kind(
        base_url=server.url,
        api_key="key",
        organization="org",
        project="proj",
        max_retries=7,
        timeout=3,
        default_headers={"x-a": "b"},
        default_query={"q": "1"},
        http_client=way.http(headers={"x-c": "d"}, params={"p": "2"}, cookies={"c": "3"}),
    )
    for client in (given, personalize(given, made[0])):
        way.done(chat(client))
        assert (client.max_retries, client.timeout, client.organization) == (7, 3, "org")
    one, other = server.requests
    assert one.target == other.target == "/v1/chat/completions?p=2&q=1"
    assert [h for h in one.headers if h[0] != b"cookie"] == [h for h in other.headers if h[0] != b"cookie"]
    assert "c=3" in other.header("cookie")[0]


def test_hooks_authentication_and_redirects_are_the_clients_own(way, server, made):
    seen = []

    def signed(request):
        request.headers["x-signed"] = str(len(request.content))
        return request

    hooks = {"request": [way.hook(lambda r: seen.append(r.content))], "response": [way.hook(seen.append)]}
    http = way.http(event_hooks=hooks, auth=signed, follow_redirects=True)
    bare = way.kind(base_url=server.url, api_key="key", http_client=http)
    way.done(chat(personalize(bare, made[0]), extra_headers={"X-Persona-User": "ada"}))
    (received,) = server.requests
    assert received.header("x-signed") == [str(len(received.body))]  # of what is sent, not of what was asked
    assert [type(s) for s in seen] == [bytes, httpx2.Response]
    assert seen[0] == received.body


def test_what_is_said_of_one_request_is_heard(way, server, client):
    http = client.for_user("ada")._client
    request = http.build_request("POST", f"{server.url}/chat/completions", json={"model": "m", "messages": ASKED})
    way.done(http.send(request, auth=("user", "password")))
    assert server.requests[0].header("authorization")[0].startswith("Basic ")
    assert server.wire == [("system", f"[{ADA}]"), ("user", "why?")]


def test_an_http_client_of_ones_own_builds_and_sends_as_ever(way, server, made):
    class Http(type(way.http())):
        def build_request(self, *args, **options):
            request = super().build_request(*args, **options)
            request.headers["x-built"] = "yes"
            return request

    with_own = way.kind(base_url=server.url, api_key="key", http_client=Http())
    way.done(chat(personalize(with_own, made[0], user_id="ada")))
    assert server.requests[0].header("x-built") == ["yes"]
    assert server.wire[0] == ("system", f"[{ADA}]")
    way.done(with_own.close())


def test_a_response_that_a_hook_has_read_is_still_told(way, made, server):
    if way.kind is openai.OpenAI:
        read = httpx2.Response.read
    else:

        async def read(response):
            await response.aread()

    http = way.http(event_hooks={"response": [read]})
    client = personalize(way.kind(base_url=server.url, api_key="key", http_client=http), made[0], user_id="ada")
    way.done(chat(client))
    way.pieces(chat(client, stream=True))
    assert [text for _, text in made[1].answers] == ["echo: why?"] * 2


def test_a_request_whose_body_is_signed_goes_as_it_came(way, server, client):
    signed = {"X-Amz-Content-SHA256": "0" * 64, "X-Persona-User": "ada"}
    way.done(chat(client, extra_headers=signed))
    assert server.requests[0].json["messages"] == ASKED
    assert server.requests[0].header("x-persona-user") == []


# Closing


def test_closing_one_closes_the_other(way, bare, client):
    assert not client.is_closed()
    way.done(client.for_user("ada").close())
    assert client.is_closed()
    assert bare.is_closed()


def test_closing_the_client_given_closes_the_personal_one(way, bare, client):
    way.done(bare.close())
    assert client.is_closed()
    with pytest.raises((RuntimeError, openai.APIConnectionError)):
        way.done(chat(client.for_user("ada")))


def test_dropping_the_personal_one_closes_nothing(way, bare, made):
    way.done(chat(personalize(bare, made[0], user_id="ada")))
    gc.collect()
    assert not bare.is_closed()
    way.done(chat(bare))


def test_the_personal_one_outlives_the_client_given(way, server, made):
    client = personalize(way.kind(base_url=server.url, api_key="key"), made[0], user_id="ada")
    gc.collect()
    assert way.done(chat(client)).choices[0].message.content == "echo: why?"
    way.done(client.close())


# Twice, at once, and not at all


def test_personalising_twice_leaves_the_last(way, server, client, made):
    again = personalize(client.for_user("ada"), made[0], user_id="bob")
    way.done(chat(again))
    assert server.wire == [("system", f"[{BOB}]"), ("user", "why?")]
    assert len(made[1].tailored) == 1


def test_many_threads_at_once_each_get_theirs(server, made):
    client = personalize(openai.OpenAI(base_url=server.url, api_key="key"), made[0])
    answers = {}

    def ask(number):
        messages = [{"role": "user", "content": f"{number}"}]
        for_one = client.for_user("ada" if number % 2 else "bob")
        answers[number] = for_one.chat.completions.create(model="m", messages=messages)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[n].choices[0].message.content for n in range(16)] == [f"echo: {n}" for n in range(16)]
    for request in server.requests:
        note, question = (m["content"] for m in request.json["messages"])
        assert note == (f"[{ADA}]" if int(question) % 2 else f"[{BOB}]")
    client.close()


@pytest.mark.parametrize("wrong", [None, openai, "sk-key", httpx2.Client])
def test_what_is_no_client_is_refused(made, wrong):
    with pytest.raises(InputError, match="OpenAI or AsyncOpenAI"):
        personalize(wrong, made[0])


def test_a_client_over_the_older_httpx_is_refused(way, made):
    old = httpx.Client() if way.kind is openai.OpenAI else httpx.AsyncClient()
    with pytest.raises(InputError, match="httpx2"):
        personalize(way.kind(api_key="key", http_client=old), made[0])


def test_an_identity_that_sends_past_the_http_client_is_refused(way, made):
    given = way.kind(workload_identity=x509_workload_identity(identity_provider_id="i", service_account_id="s"))
    with pytest.raises(InputError, match="identity"):
        personalize(given, made[0])


def test_without_the_library_the_error_says_what_to_install():
    code = """
import sys
sys.modules["openai"] = None  # as if it were not installed
from persona_integrations.openai import personalize
from persona_sdk.errors import MissingExtraError
try:
    personalize(object(), None)
except MissingExtraError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'persona-sdk[openai]'" in run.stdout


def test_importing_costs_next_to_nothing():
    code = "import sys, persona_integrations.openai; print({'openai', 'httpx2'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
