"""Made-up people who choose between made-up offers, as features and as texts, with the weights known."""

import math
import random

from persona_plugins.contrastive.belief import Belief, Evidence
from persona_plugins.contrastive.population import Prior, UserPairs
from persona_sdk.signals import Choice, Preference
from persona_sdk.testing.fakes import NOON

WORDS = "terrace garden library pool quiet lively modern rustic harbour castle sauna balcony".split()
NAMES = [*(f"w:{word}" for word in WORDS), "q:euro", "s:length"]


def offer(rng):
    """The features of one offer."""
    features = {f"w:{word}": 1.0 for word in WORDS if rng.random() < 0.4}
    return features | {"q:euro": math.exp(rng.gauss(4, 0.5)), "s:length": rng.gauss(3, 0.6)}


def worth(weights, features):
    """What an offer is worth to somebody: words by being there, prices by their logarithm."""
    read = {name: math.log(v) - 4 if name == "q:euro" else v for name, v in features.items()}
    return sum(weights.get(name, 0.0) * v for name, v in read.items())


def pair(weights, rng):
    """Two offers, the one taken first: by the weights and a little chance."""
    sides = [offer(rng), offer(rng)]
    if rng.random() > 1 / (1 + math.exp(worth(weights, sides[1]) - worth(weights, sides[0]))):
        sides.reverse()
    return tuple(sides)


def population(count, choices, *, own, seed, shared=1.0, fresh=40):
    """People whose weights are shared plus `own` times something of theirs; with fresh choices of each to predict."""
    rng = random.Random(seed)
    common = {name: rng.gauss(0, shared) for name in NAMES}
    people, later = [], []
    for i in range(count):
        weights = {name: m + own * rng.gauss(0, 1) for name, m in common.items()}
        people.append(UserPairs(f"u{i}", [pair(weights, rng) for _ in range(choices)], list(range(choices))))
        later.append([pair(weights, rng) for _ in range(fresh)])
    return people, later


def believe(prior, pairs, *, certainty=None, groups=None, stated=None):
    """The belief about somebody who made these choices, each to a prompt of its own."""
    pairs = list(pairs)
    certainty = [1.0] * len(pairs) if certainty is None else certainty
    groups = list(range(len(pairs))) if groups is None else groups
    return Belief(prior, Evidence(pairs, certainty, groups, stated or {}))


def default(personal=4.0):
    """The prior without a population."""
    return Prior(Prior.default().space, {}, personal)


def train(rng):
    """The text of one train connection, with its price and its hours."""
    price, hours = rng.randrange(20, 200), rng.randrange(2, 12)
    colour = rng.choice("blue green red white".split())
    return f"The {colour} train costs {price} euros and takes {hours} hours.", price, hours


def trains(count, rng, *, prefers, user_id="ann"):
    """Choices between trains: `prefers(price, hours)` is what a connection is worth, the best is taken."""
    signals = []
    while len(signals) < count:
        sides = sorted([train(rng), train(rng)], key=lambda side: -prefers(*side[1:]))
        if sides[0][0] != sides[1][0]:
            signals.append(preference(len(signals), sides[0][0], sides[1][0], user_id=user_id))
    return signals


def preference(number, chosen, rejected, *, prompt="Which train shall I take to Lyon?", user_id="ann"):
    """One choice, with an id and a prompt that say which."""
    return Preference(
        id=f"{user_id}-{number}",
        user_id=user_id,
        prompt=f"{prompt} ({number})",
        chosen=chosen,
        rejected=rejected,
        at=NOON,
    )


def as_choices(signals):
    """Preferences as choices."""
    return [Choice(s.id, s.prompt[-1].text, s.chosen, s.rejected) for s in signals]
