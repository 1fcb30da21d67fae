"""People whose choices are consistent, and plugins given in code that do what a test says."""

from persona_sdk.hooks import hookimpl
from persona_sdk.inference import Inference, Inferrer
from persona_sdk.models import Message, TailorStep
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import make_trait

#: Questions with a crisp answer; the other answer to each is the same, long and hedged.
QUESTIONS = [
    ("How do I boil an egg?", "Eight minutes in boiling water."),
    ("What is the capital of Peru?", "Lima."),
    ("How long is a marathon?", "42.195 kilometres."),
    ("When should I water my tomatoes?", "Early in the morning."),
    ("How do I undo my last git commit?", "Run git reset --soft HEAD~1."),
    ("Which way does the Nile flow?", "North."),
    ("What is a good first chess opening?", "The Italian Game."),
    ("How do I remove a coffee stain?", "Cold water and soap, at once."),
]
_HEDGES = [
    "Well, that probably depends on a number of things, and it might perhaps be worth looking at some of them first.",
    "There could be several views on this, I suppose, and people may see it differently from one place to another.",
    "It seems to me that one would possibly want to consider the circumstances, which might vary quite a lot.",
    "Opinions differ here, as far as I can tell, and I would perhaps not want to rule anything out too early.",
]


def hedged(place):
    """Return the long answer to the question at a place."""
    said = [_HEDGES[(place + k) % len(_HEDGES)] for k in range(2 + place % 3)]
    return " ".join([*said, QUESTIONS[place][1]])


def chooses(personalizer, user_id, *, crisp=True, count=8):
    """Record that a person takes the crisp answer (or the hedged one) every time."""
    for place, (prompt, short) in enumerate(QUESTIONS[:count]):
        chosen, rejected = (short, hedged(place)) if crisp else (hedged(place), short)
        personalizer.prefer(user_id, prompt=prompt, chosen=chosen, rejected=rejected, id=f"{user_id}-{place}")


class Believes(Inferrer):
    """Takes whatever a person says as a statement about them, word for word; `before` runs first."""

    name = "believes"

    def __init__(self, before=lambda request: None):
        self.before = before

    def infer(self, request):
        self.before(request)
        texts = dict.fromkeys(s.text for s in request.signals if s.kind == "utterance")
        traits = (make_trait(f"said:{n}", text, kind="style", stated=True) for n, text in enumerate(texts))
        return Inference(tuple(traits), note="took their word for it")


class Stamp(Tailor):
    """Puts its name in front of every call."""

    name = "stamp"

    def __init__(self, *, required=False, failing=False):
        self.required, self.failing = required, failing

    def tailor(self, call, context):
        if self.failing:
            raise KeyError(call.question)
        message = Message(role="system", content=self.name)
        return TailorResult(call.override(messages=(message, *call.messages)), TailorStep(tailor=self.name))


class InCode:
    """A plugin that offers products given in code, under their own names, and notes down what observers are told."""

    def __init__(self, *, memory=None, inferrer=None, tailors=()):
        self.memory, self.inferrer, self.tailors = memory, inferrer, tailors
        self.skips, self.personas, self.signals, self.forgotten = [], [], [], []

    @hookimpl
    def persona_register(self, registry):
        if self.memory is not None:
            registry.add_memory(self.memory.name, lambda settings: self.memory)
        if self.inferrer is not None:
            registry.add_inferrer(self.inferrer.name, lambda settings: self.inferrer)
        for tailor in self.tailors:
            registry.add_tailor(tailor.name, lambda settings, tailor=tailor: tailor)

    @hookimpl
    def persona_on_skip(self, stage, plugin, reason):
        self.skips.append((stage, plugin, reason))

    @hookimpl
    def persona_on_persona(self, persona, accepted, reason):
        self.personas.append((persona, accepted, reason))

    @hookimpl
    def persona_on_signal(self, signal):
        self.signals.append(signal)

    @hookimpl
    def persona_on_forget(self, tenant, user_id):
        self.forgotten.append((tenant, user_id))
