"""A model to wrap, and a real `Personalizer` that knows Ada and Bob, with tailors and memory given in code."""

import asyncio
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from persona_sdk.engine import Personalizer
from persona_sdk.hooks import hookimpl
from persona_sdk.inference import Inference, Inferrer
from persona_sdk.models import Message, TailorStep
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import FakeMemory, make_persona, make_trait

ADA, BOB = "Prefers short answers.", "Prefers long answers."


class Prefix(Tailor):
    """Puts what is known into the leading system message, or into a new one."""

    name = "prefix"

    def tailor(self, call, context):
        note = "[" + " ".join(t.statement for t in context.traits) + "]"
        first, rest = call.messages[0], call.messages[1:]
        if first.role != "system":
            first, rest = Message(role="system", content=note), call.messages
        else:
            first = first.model_copy(update={"content": f"{first.text} {note}"})
        return TailorResult(call.override(messages=(first, *rest)), TailorStep(tailor=self.name))


class Does(Tailor):
    """Does to a call what the test says, and chooses as it says."""

    name = "does"

    def __init__(self, does, choose=None, *, required=False):
        self.does, self.choosing, self.required = does, choose, required

    def tailor(self, call, context):
        return TailorResult(self.does(call), TailorStep(tailor=self.name))

    def choose(self, call, answers, context):
        return self.choosing(answers) if self.choosing else None


class _Nothing(Inferrer):
    name = "nothing"

    def infer(self, request):
        return Inference(traits=())


class _Plugin:
    def __init__(self, tailors):
        self.tailors, self.tailored, self.answers = tailors, [], []
        self.memory = FakeMemory()
        for user_id, statement in (("ada", ADA), ("bob", BOB)):
            self.memory.remember(make_persona(make_trait(statement=statement), user_id=user_id), None)

    @hookimpl
    def persona_register(self, registry):
        registry.add_memory("fake", lambda settings: self.memory)
        registry.add_inferrer("nothing", lambda settings: _Nothing())
        for tailor in self.tailors:
            registry.add_tailor(tailor.name, lambda settings, tailor=tailor: tailor)

    @hookimpl
    def persona_on_tailored(self, tailored):
        self.tailored.append(tailored)

    @hookimpl
    def persona_on_answer(self, tailored, answer):
        self.answers.append((tailored.call_id, answer))


def make_personalizer(*tailors):
    """Return a personalizer, and the plugin that sees what it does. Without tailors there is the prefix."""
    plugin = _Plugin(tailors or (Prefix(),))
    names = tuple(t.name for t in plugin.tailors)
    personalizer = Personalizer(
        plugins=[plugin], memory="fake", inferrer="nothing", tailors=names, learning="manual", time_budget=30.0
    )
    return personalizer, plugin


class Recorder(BaseChatModel):
    """Gives `answers` in turn, the last one for ever, raising those that are exceptions."""

    answers: list[Any] = Field(default_factory=lambda: ["one two three"])
    received: list[Any] = Field(default_factory=list)
    options: list[Any] = Field(default_factory=list)
    model_name: str = "recorder"

    @property
    def _llm_type(self):
        return "recorder"

    def _next(self, messages, options):
        self.received.append(messages)
        self.options.append({k: v for k, v in options.items() if v is not None})
        answer = self.answers[min(len(self.received), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, AIMessage) else AIMessage(content=answer)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, {"stop": stop, **kwargs}))])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for word in self._next(messages, {"stop": stop, **kwargs}).content.replace(" ", " \0").split("\0"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=tools, **kwargs)

    def terse(self):
        return self.bind(stop=["."])


def choosing(*answers, n=3, choose=None):
    """A chat that asks for n answers and takes the longest."""
    longest = choose or (lambda texts: texts.index(max(texts, key=len)))
    personalizer, plugin = make_personalizer(Does(lambda call: call.override(n=n), longest))
    model = Recorder(answers=list(answers))
    return personalizer.wrap(model, user_id="ada"), model, plugin


async def collect(chunks):
    return [chunk async for chunk in chunks]


def joined(chunks):
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


#: Every way of asking for one answer; chunks come joined.
CALLS = {
    "invoke": lambda chat, *a, **k: chat.invoke(*a, **k),
    "ainvoke": lambda chat, *a, **k: asyncio.run(chat.ainvoke(*a, **k)),
    "stream": lambda chat, *a, **k: joined(list(chat.stream(*a, **k))),
    "astream": lambda chat, *a, **k: joined(asyncio.run(collect(chat.astream(*a, **k)))),
    "batch": lambda chat, given, *a, **k: chat.batch([given], *a, **k)[0],
    "abatch": lambda chat, given, *a, **k: asyncio.run(chat.abatch([given], *a, **k))[0],
    "transform": lambda chat, given, *a, **k: joined(list(chat.transform(iter([given]), *a, **k))),
}


def sent(model, call=-1):
    return [(m.type, m.content) for m in model.received[call]]


def for_user(user_id):
    return {"configurable": {"user_id": user_id}}
