"""A gateway that runs: what tests ask it, and what they look at."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager

import httpx2
import openai

from persona_integrations.server import GatewaySettings, create_app
from persona_integrations.server.protocol import BoundedHead
from persona_sdk.engine import Personalizer
from tests.support.upstream import serving

__all__ = ["PATIENT", "Running", "asks", "events", "personalizer_of", "running", "teach", "until"]

#: So much time that a busy machine is never late.
PATIENT = 30.0
LONG = (
    "Well, that depends on many things, and there is a long story to it, with details and considerations to weigh. " * 2
)


def teach(personalizer, user):
    """Have somebody choose short answers, until that is known of them."""
    for number in range(10):
        prompt, chosen = f"How do I do thing {number}?", f"Do it like {number}."
        personalizer.prefer(user, prompt=prompt, chosen=chosen, rejected=LONG)
    assert personalizer.persona(user).traits


def asks(text="How do I boil eggs?", /, user=None, **more):
    """The body of a chat completion."""
    named = {} if user is None else {"user": user}
    return {"model": "m", "messages": [{"role": "user", "content": text}], **named, **more}


def events(raw):
    """The events of a stream, as they stand in it."""
    parts = raw.split(b"\n\n")
    return parts[:-1] + [parts[-1]] * bool(parts[-1])


def until(true, seconds=20.0):
    """Wait until something is true, and return it; fail if it never is."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
    return found


class Running:
    """A gateway, what is behind it (`up`), and what it knows (`personalizer`)."""

    #: What its caller sees of a stream that breaks off.
    Broken = httpx2.RemoteProtocolError

    def __init__(self, url, up, personalizer, app, clean_up):
        self.url, self.up, self.personalizer, self.app = url, up, personalizer, app
        self._clean_up = clean_up
        self.http = self.caller()

    @property
    def gateway(self):
        return self.app.state.gateway

    def caller(self, key=None, **headers):
        """An HTTP client of the gateway; a key is sent as one of its callers would."""
        named = {"authorization": f"Bearer {key}"} if key else {}
        client = httpx2.Client(base_url=self.url, headers={**named, **headers}, timeout=30, verify=False)
        return self._clean_up.enter_context(client)

    def key(self, tenant="default", *scopes):
        """Make a key, for everything unless scopes are given."""
        return self.gateway.keys.create(tenant, scopes or ("chat", "feedback", "admin"))[0]

    def openai(self, key="any", **options):
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30, **options)
        return self._clean_up.enter_context(client)

    def async_openai(self, key="any", **options):
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30, **options)

    def chat(self, *args, **more):
        """Ask for a chat completion; return the response."""
        return self.http.post("/v1/chat/completions", json=asks(*args, **more))

    def metric(self, name, **labels):
        """A counter's value, as the page for Prometheus says it; 0 if it is not there."""
        shown = "{" + ",".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + "}" if labels else ""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"persona_gateway_{name}{shown} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def recorded(self, what, least=1):
        """Wait until so many records of a kind are written."""
        until(lambda: self.metric("records_total", outcome="written", what=what) >= least)

    def signals(self, user, tenant="default"):
        return self.personalizer.for_tenant(tenant).signals(user)


@contextmanager
def running(up, personalizer, **settings):
    """Run a gateway before `up`: with nobody's keys, and no learning, unless told otherwise."""
    told = {"upstream": up.url, "auth": "none", "learning": "off", "personal_timeout": PATIENT, **settings}
    app = create_app(GatewaySettings(**told), personalizer)
    with ExitStack() as clean_up, serving(app, http=BoundedHead) as url, clean_up:
        yield Running(url, up, personalizer, app, clean_up)


def personalizer_of(folder, **options):
    """What a gateway knows, kept in a folder."""
    told = {"calls": "memory", "learning": "manual", "time_budget": PATIENT, **options}
    return Personalizer(f"sqlite:///{folder / 'persona.db'}", **told)
