"""Made-up people who choose between bags of words: in clusters that like the same words, or each on their own."""

import math
import random

from persona_sdk.inference import History, Inference, Inferrer, Population
from persona_sdk.signals import Preference, choices_of
from persona_sdk.testing.fakes import NOON

WORDS = [f"word{i:02d}" for i in range(24)]
#: What an answer says beside words that matter to somebody; nobody's choice turns on it.
NOISE = [f"noise{i}" for i in range(4)]


def likes(rng):
    """Return how much each word is worth to somebody, in log-odds."""
    return {word: rng.choice((-3.0, 3.0)) for word in WORDS}


def answer(rng, words=4):
    """Return some words at random, and a noise or none."""
    said = rng.sample(WORDS, words) + rng.sample(NOISE, rng.randrange(3))
    return " ".join(said)


def choices(user_id, weights, count, rng, first=0):
    """Choices between two answers each, by what their words are worth and a little chance."""
    signals = []
    for i in range(first, first + count):
        sides = [answer(rng), answer(rng)]
        worth = [sum(weights.get(word, 0.0) for word in side.split()) for side in sides]
        if rng.random() > 1 / (1 + math.exp(worth[1] - worth[0])):
            sides.reverse()
        chosen, rejected = sides
        signal = Preference(
            id=f"{user_id}-{i}", user_id=user_id, prompt=f"Which one? ({i})", chosen=chosen, rejected=rejected, at=NOON
        )
        signals.append(signal)
    return signals


def crowd(people, count, *, clusters, seed=0):
    """Return people's histories and how each likes words: alike within a cluster; no two alike for 0 clusters."""
    rng = random.Random(seed)
    kinds = [likes(rng) for _ in range(clusters or people)]
    weights = {f"u{i:03d}": kinds[i % len(kinds)] for i in range(people)}
    return [History(u, choices(u, liked, count, rng)) for u, liked in weights.items()], weights


class Words(Inferrer):
    """A quick inferrer whose leaning is half the sum of what was chosen over what was not, and which trusts it little.

    Its population knows nothing but who was in it, and whether `noise` is looked at, which then drowns the words.
    """

    name = "words"

    def __init__(self, *, trust=0.3, noise=0.0):
        self.trust, self.noise = trust, noise

    def infer(self, request):
        return Inference(traits=())

    def fit_population(self, tenant, histories):
        users = [history.user_id for history in histories]
        who = {"users": users}
        return Population(tenant=tenant, inferrer=self.name, fingerprint="0", users=len(users), choices=1, data=who)

    def leaning(self, request):
        total = {}
        for row in self.contrast(request.population, choices_of(request.signals)):
            for name, value in row.items():
                total[name] = total.get(name, 0.0) + 0.5 * value
        return total

    def contrast(self, population, asked):
        return [self._contrast(set(c.chosen.split()), set(c.rejected.split())) for c in asked]

    def _contrast(self, chosen, rejected):
        signed = dict.fromkeys(sorted(chosen - rejected), 1.0) | dict.fromkeys(sorted(rejected - chosen), -1.0)
        out = {f"w:{word}": value for word, value in signed.items() if word in WORDS}
        if self.noise:
            out |= {f"s:{word}": self.noise * value for word, value in signed.items() if word in NOISE}
        return out

    def predict(self, request, asked):
        weights = {n: w for n, w in self.leaning(request).items() if n.startswith("w:")}
        rows = self.contrast(request.population, asked)
        odds = [self.trust * sum(weights.get(n, 0.0) * value for n, value in row.items()) for row in rows]
        return [1 / (1 + math.exp(-z)) for z in odds]
