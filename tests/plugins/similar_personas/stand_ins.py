"""Similar people as a test says they are, in an honest memory, and an inferrer and an embedder that count words."""

import math

from persona_plugins.similar_personas.blending import NEIGHBOURS, Borrowing
from persona_plugins.similar_personas.options import Options
from persona_plugins.similar_personas.people import Lender
from persona_plugins.similar_personas.verifying import Way
from persona_sdk.inference import Inference, Inferrer, Population
from persona_sdk.memory import Leaning, person_key
from persona_sdk.models import ChatCall, Message
from persona_sdk.signals import Preference, choices_of
from persona_sdk.testing import FakeMemory, TailorContract, make_context, make_persona, make_trait
from persona_sdk.text import content_words, words

GOOD = Borrowing(frozenset("sw"), strength=1.0, fade=6.0, people=50, choices=400, gain=0.05, standard_error=0.01)
BAD = Borrowing(frozenset("sw"), strength=0.0, people=50, choices=400, gain=0.001, standard_error=0.01)


def helping(name):
    return Way(name, choices=400, people=50, gain=0.05, standard_error=0.01)


def useless(name):
    return Way(name, choices=400, people=50, gain=0.001, standard_error=0.01)


def features(text):
    found = {f"w:{word}": 1.0 for word in words(text)}
    return {**found, "s:length": math.log1p(len(words(text)))}


class Counting(Inferrer):
    """Leans to the words, and the length, of what was chosen; the population alone knows nothing."""

    name = "counting"

    def infer(self, request):
        return Inference(())

    def predict(self, request, asked):
        return [0.5 for _ in asked]

    def contrast(self, population, asked):
        return [
            {n: a.get(n, 0.0) - b.get(n, 0.0) for n in sorted({*a, *b}) if a.get(n, 0.0) != b.get(n, 0.0)}
            for a, b in ((features(c.chosen), features(c.rejected)) for c in asked)
        ]

    def leaning(self, request):
        total = {}
        for contrast in self.contrast(None, choices_of(request.signals)):
            for name, difference in contrast.items():
                total[name] = total.get(name, 0.0) + difference
        return total


class Bag:
    """Embeds a text as its content words, so that prompts that share none have a cosine of 0."""

    def __init__(self):
        self.asked = []

    def embed_documents(self, texts):
        self.asked.extend(texts)
        return [self._vector(text) for text in texts]

    def _vector(self, text):
        vector = [0.0] * 512
        for word in content_words(text):
            vector[sum(map(ord, word)) * 31 % 512] += 1.0
        return vector


class Same:
    """Finds all texts alike."""

    def embed_documents(self, texts):
        return [[1.0, 0.0] for _ in texts]


class DoesSomething(TailorContract):
    """The contract, of a tailor that has something to do: one that always skips would keep it, too."""

    def test_has_something_to_do(self, tailor, context):
        assert not tailor.tailor(asks("Why?"), context).step.skipped


class People:
    """Stands in for `SimilarPersonas`: who is similar to whom, and what was verified, is what a test says."""

    def __init__(self, memory=None, **options):
        self.memory = memory or FakeMemory()
        self.options = Options(**options)
        self.similar = {}
        self.verified = GOOD
        self.ways = {name: helping(name) for name in ("similar_prompt", "own_choices")}
        self._inferrer = Counting()

    def lenders(self, tenant, user_id):
        if tenant in self.options.no_borrowing or not self.memory.consent(tenant, user_id).borrow:
            return []
        alike = self.similar.get((tenant, user_id), {})
        keys = {person_key(tenant, user): similarity for user, similarity in alike.items()}
        found = self.memory.leanings(tenant, list(keys))
        lenders = [Lender(leaning.user_id, keys[key], leaning) for key, leaning in found.items()]
        return sorted(lenders, key=lambda one: -one.similarity)[:NEIGHBOURS]

    def away(self, tenant):
        return ""

    def borrowing(self, tenant):
        return self.verified

    def way(self, tenant, name):
        return self.ways.get(name)

    def inferrer(self):
        return self._inferrer

    def population(self, tenant):
        return Population(tenant=tenant, inferrer="counting", fingerprint="1", users=9, choices=99, data={})

    def add(self, user_id, *traits, weights=None, tenant="shop", prompts=("Which tea?",)):
        """Enter someone with a persona of these traits, who leans to `weights`."""
        for n, prompt in enumerate(prompts):
            signal = Preference(
                id=f"{user_id}-{n}",
                user_id=user_id,
                tenant=tenant,
                prompt=prompt,
                chosen="A green one.",
                rejected="No.",
            )
            self.memory.append([signal])
        through = self.memory.signals(tenant, user_id)[-1].seq
        if traits:
            self.memory.remember(make_persona(*traits, user_id=user_id, tenant=tenant), None)
        self.memory.lean(tenant, Leaning(user_id, weights or {"s:length": -1.0}, len(prompts), through, "counting"))

    def crowd(self, count, *traits, borrower="ann", tenant="shop", **given):
        """Enter `count` people with the same traits, all similar to the borrower."""
        users = [f"holder{n:02d}" for n in range(count)]
        for user in users:
            self.add(user, *traits, tenant=tenant, **given)
        self.similar.setdefault((tenant, borrower), {}).update({user: 0.9 - n / 100 for n, user in enumerate(users)})
        return users


def asks(question, *, user_id="ann", tenant="shop", system="You help in a shop.", **changes):
    messages = (Message(role="system", content=system), Message(role="user", content=question))
    return ChatCall(messages=messages, user_id=user_id, tenant=tenant, **changes)


def tailored(tailor, question="What is a monad?", *traits, max_tokens=120, **call):
    """Return the call and the step of one tailor, for someone with these traits of their own."""
    return tailor.tailor(asks(question, **call), make_context(*traits, max_tokens=max_tokens))


SHORT = make_trait("style:length", "Prefers shorter answers.", kind="style", polarity="against", weight=-1.0)
FORMAL = make_trait("style:formality", "Prefers a formal tone.", kind="style")
