"""Choices of made-up people who like answers written in one style throughout: is a persona read by a model?

Each answer to a question says the same three things (the short one says the first of them) in the style of one of the
traits of `planted`. A person takes the one in theirs; the other is in anybody else's. So whoever is not told of the
person can do no better than chance, and who is told can always be right.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from persona_sdk.signals import Preference
from persona_sdk.simulation.planted import TOPICS, TRAITS, PlantedPerson

__all__ = ["styled_people", "write_styled"]


def write_styled(topic: int, trait: str) -> str:
    """Write the answer to a topic in the style of a trait, a name in `planted.TRAITS`."""
    _, *said = TOPICS[topic]
    small = {name: one[0].lower() + one[1:] for name, one in zip("abc", said, strict=True)}
    wordings = _STYLES[trait]
    return wordings[topic % len(wordings)].format(**dict(zip("ABC", said, strict=True)), **small)


def styled_people(
    count: int, choices: int, *, topics: Sequence[int] = range(len(TOPICS)), noise: float = 0.0, seed: int = 0
) -> list[PlantedPerson]:
    """Make up people, their traits in turn from `TRAITS`; `noise` is the share of choices of the other answer."""
    rng = random.Random(seed)  # noqa: S311 - a seeded draw
    names = list(TRAITS)
    made = []
    for i in range(count):
        user, trait = f"styled{i:03d}", names[i % len(names)]
        others = [name for name in names if name != trait]
        chosen = []
        for k in range(choices):
            topic = topics[rng.randrange(len(topics))]
            pair = [write_styled(topic, trait), write_styled(topic, others[rng.randrange(len(others))])]
            if rng.random() < noise:
                pair.reverse()
            asked = TOPICS[topic][0]
            chosen.append(Preference(id=f"{user}-{k}", user_id=user, prompt=asked, chosen=pair[0], rejected=pair[1]))
        made.append(PlantedPerson(user, trait, tuple(chosen)))
    return made


#: How three things, A, B and C, are said in the style of each trait, in one or two ways; small letters begin small.
_STYLES: Mapping[str, tuple[str, ...]] = {
    "short": ("{A}.",),
    "long": (
        "First of all, {a}, because everything else depends on it. After that, {b}; it takes a little patience, but it"
        " makes all the difference. Finally, {c}, and look at the result closely before you call it done.",
        "There are three steps to this. To begin with, {a}, and take your time over it. The second step is to {b},"
        " which many people forget. The last step is to {c}, and then you can see whether it needs to be done once"
        " more.",
    ),
    "warm": (
        "What a lovely question! {A}, you will do great. Then {b}, and be kind to yourself. Then {c}. I am so proud of"
        " you!",
        "I am so glad you asked! {A}, I know you can do it. Then {b}, no worries at all. Then {c}. You are doing"
        " wonderfully!",
    ),
    "plain": ("{A}. {B}. {C}.",),
    "formal": (
        "One is advised to {a}. Subsequently, one should {b}. Thereafter, it is recommended to {c}.",
        "It is advisable to {a}. Furthermore, one ought to {b}. In conclusion, it is necessary to {c}.",
    ),
    "casual": (
        "ok so just {a}, then yeah {b}, and {c}, easy lol",
        "hey, so basically {a}, then like {b}, and {c}, you're good haha",
    ),
    "list": ("- {A}\n- {B}\n- {C}",),
    "prose": ("{A}, and once that is done, {b}, and in the end {c}.", "{A}, then go on to {b}, after which you {c}."),
}
