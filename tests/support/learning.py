"""An inferrer that asks a model what people said, and people who say things."""

from contextlib import contextmanager

from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from persona_sdk import Personalizer
from persona_sdk.calling import Caller, Limits
from persona_sdk.inference import Inference, Inferrer
from persona_sdk.testing import make_trait
from tests.support.openai_server import openai_server
from tests.support.people import InCode

__all__ = ["Asks", "Liking", "asked", "made", "pending", "repeating", "say"]


class Liking(BaseModel):
    likes: str


class Asks(Inferrer):
    """Asks a model what each utterance says, and takes its word for it; `before` runs first."""

    name = "asks"

    def __init__(self, url, before=lambda request: None, **limits):
        model = ChatOpenAI(model="m", base_url=url, api_key="none", max_retries=0, timeout=30)
        self.caller, self.before = Caller(model, name="m", limits=Limits(**{"concurrency": 8, **limits})), before

    def infer(self, request):
        self.before(request)
        traits = []
        for n, said in enumerate(s for s in request.signals if s.kind == "utterance"):
            answer = self.caller.ask([{"role": "user", "content": said.text}], Liking, request.journal)
            if answer is not None:
                traits.append(make_trait(f"said:{n}", answer.likes, kind="style", stated=True))
        return Inference(tuple(traits), note="asked")

    def spent(self):
        return self.caller.spent()


def made(inferrer, url):
    plugin = InCode(inferrer=inferrer)
    return Personalizer(url, plugins=[plugin], inferrer=inferrer.name, learning="manual", options={})


def say(personalizer, people=8, each=2):
    for n in range(people):
        for k in range(each):
            personalizer.said(f"user {n}", f"User {n} likes thing {k}.", id=f"{n}-{k}")


def asked(server):
    return [r["messages"][0]["content"] for r in server.requests]


def pending(url):
    with Personalizer(url, learning="manual") as p:
        return [one.user_id for one in p._memory.pending("default")]


@contextmanager
def repeating():
    """Serve a model that takes people at their word."""
    with openai_server() as running:
        running.reply = lambda request: '{"likes": "' + request["messages"][0]["content"] + '"}'
        yield running
