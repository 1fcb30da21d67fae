"""What a gateway can be told, and what it cannot."""

import socket

import pytest
from pydantic import ValidationError

from persona_integrations.server import GatewaySettings, create_app
from persona_integrations.server.serving import check_host, is_loopback
from persona_sdk.engine import Personalizer
from persona_sdk.errors import SettingsError
from tests.integrations.server.running import personalizer_of, running
from tests.support.upstream import Upstream, serving

SECRET = "zorblaxian"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host/v1?x=1",
        "http://host/v1#x",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        f"http://user:{SECRET}@host/v1",
        f"http://{SECRET}@host/v1",
    ],
)
def test_what_is_no_base_url(url):
    with pytest.raises(ValidationError) as caught:
        GatewaySettings(upstream=url)
    told = caught.value.errors(include_input=False, include_url=False)
    assert told[0]["loc"] == ("upstream",)
    assert SECRET not in str(told)


@pytest.mark.parametrize(
    "odd",
    [
        {"user_header": "a b"},
        {"user_header": "x:y"},
        {"user_header": ""},
        {"read_timeout": 0},
        {"auth": "maybe"},
        {"x": 1},
    ],
)
def test_what_cannot_be(odd):
    with pytest.raises(ValidationError):
        GatewaySettings(upstream="http://host/v1", **odd)


def test_a_key_is_not_shown():
    settings = GatewaySettings(upstream="http://host/v1", upstream_key=SECRET)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_personalizer_that_other_workers_know_nothing_of_is_refused(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}") as one, pytest.raises(SettingsError, match="memory"):
        create_app(GatewaySettings(upstream="http://host/v1"), one)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.2", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("2130706433", False),
    ],
)
def test_no_network_is_served_without_keys(host, near):
    assert is_loopback(host) is near
    check_host(GatewaySettings(upstream="http://host/v1"), host)
    if not near:
        with pytest.raises(SettingsError, match="use keys"):
            check_host(GatewaySettings(upstream="http://host/v1", auth="none"), host)


def test_base_urls_with_paths_and_slashes(up, known):
    for path in ("/v1", "/v1/", "/v1//"):
        up_there = type("There", (), {"url": up.url.removesuffix("/v1") + path})
        with running(up_there, known) as gateway:
            gateway.chat()
        assert up.requests[-1].target == "/v1/chat/completions"
    up_there = type("There", (), {"url": f"{up.url}/a%2Fb/{{c}}"})
    with running(up_there, known) as gateway:
        gateway.http.get("/v1/models")
    assert up.requests[-1].target == "/v1/a%2Fb/{c}/models"


def test_a_server_behind_on_ipv6(folder):
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    made = Upstream()
    with serving(made, host="::1") as url, personalizer_of(folder) as personalizer:
        made.url = url.replace("127.0.0.1", "[::1]") + "/v1"
        with running(made, personalizer) as gateway:
            assert gateway.chat(user="ann").status_code == 200
    assert made.requests[-1].header("host") == [made.url.split("/")[2]]
