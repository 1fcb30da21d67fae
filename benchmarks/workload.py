"""Made-up people who choose between made-up offers: texts of about 150 characters, with planted weights."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from persona_sdk.signals import Preference

#: What an offer says, by scene: each slot is filled with one of its words.
SCENES = {
    "hotel": (
        "The {look} hotel near the {place} has {room} rooms and a {extra}; it costs {price} euros a night and the "
        "{place2} is {minutes} minutes away. Guests call it {word}.",
        "Which hotel shall I book for the weekend in {city}?",
    ),
    "restaurant": (
        "A {look} restaurant by the {place} with {room} tables and a {extra}. A meal costs {price} euros, it takes "
        "{minutes} minutes to get there from the {place2}, and people find it {word}.",
        "Where should we go for dinner in {city}?",
    ),
    "tour": (
        "This {look} tour starts at the {place}, takes {minutes} minutes and costs {price} euros. It includes a "
        "{extra} and {room} stops, and it ends at the {place2}. Most find it {word}.",
        "Suggest a tour for a day in {city}.",
    ),
}
SLOTS = {
    "look": "modern rustic elegant historic".split(),
    "place": "harbour station market museum castle".split(),
    "room": "quiet bright spacious cosy".split(),
    "extra": "terrace garden library fireplace pool".split(),
    "word": "charming relaxing lively practical".split(),
}
CITIES = "Lisbon Ghent Turin Bergen Krakow Graz Porto Leeds Malmo Trieste Bilbao Split".split()


@dataclass(frozen=True)
class Person:
    """A made-up person: how much each word is worth to them, and each doubling of the price."""

    user_id: str
    weights: Mapping[str, float]
    price: float


def people(count: int, rng: random.Random, prefix: str = "user") -> list[Person]:
    """Make people who share some taste, and of whom each has a few strong likes and dislikes of their own."""
    words = [w for listed in SLOTS.values() for w in listed]
    shared = {w: rng.gauss(0, 0.5) for w in words}
    made = []
    for i in range(count):
        own = {w: rng.choice((-3.0, 3.0)) for w in rng.sample(words, 5)}
        weights = {w: m + own.get(w, 0.0) for w, m in shared.items()}
        made.append(Person(f"{prefix}-{i}", weights, rng.gauss(-0.5, 2.0)))
    return made


def offer(scene: str, rng: random.Random) -> tuple[str, dict[str, str], int]:
    """Return an offer's text, its words and its price."""
    filled = {slot: rng.choice(listed) for slot, listed in SLOTS.items()}
    price = rng.randrange(20, 400)
    minutes, place = rng.randrange(3, 90), rng.choice(SLOTS["place"])
    return SCENES[scene][0].format(price=price, minutes=minutes, place2=place, **filled), filled, price


def preference(person: Person, rng: random.Random) -> Preference:
    """Let a person choose between two offers, by their weights and a little chance."""
    scene = rng.choice(list(SCENES))
    sides = [offer(scene, rng), offer(scene, rng)]
    worth = [sum(person.weights[w] for w in words.values()) + person.price * math.log2(p / 80) for _, words, p in sides]
    if rng.random() > 1 / (1 + math.exp(max(-30.0, min(30.0, worth[1] - worth[0])))):
        sides.reverse()
    prompt = SCENES[scene][1].format(city=rng.choice(CITIES))
    return Preference(user_id=person.user_id, prompt=prompt, chosen=sides[0][0], rejected=sides[1][0])


def preferences(person: Person, count: int, rng: random.Random) -> list[Preference]:
    """Let a person choose several times."""
    return [preference(person, rng) for _ in range(count)]
