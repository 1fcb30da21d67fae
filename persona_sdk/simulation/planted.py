"""Choices of made-up people with one planted trait each: is it found, and does it predict what they choose next?

Answers vary in four ways that have nothing to do with each other: length, warmth, formality and lists. A person cares
about one of them, in one direction. Of two answers that differ in it they take the one they like; of two that do not,
either. A share of their choices is noise.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from persona_sdk.signals import Preference

__all__ = ["TOPICS", "TRAITS", "PlantedPerson", "people", "write_answer"]

#: Each planted trait: the dimension, the side of it that is liked, and how one would say so.
TRAITS: Mapping[str, tuple[str, bool, str]] = {
    "short": ("long", False, "The user prefers short answers."),
    "long": ("long", True, "The user prefers long, detailed answers."),
    "warm": ("warm", True, "The user prefers warm, encouraging answers."),
    "plain": ("warm", False, "The user prefers plain answers without pleasantries."),
    "formal": ("formal", True, "The user prefers a formal tone."),
    "casual": ("formal", False, "The user prefers a casual tone."),
    "list": ("list", True, "The user prefers bullet points."),
    "prose": ("list", False, "The user prefers running text to lists."),
}
_DIMENSIONS = ("long", "warm", "formal", "list")

_OPENINGS = {
    (True, True): ("I am delighted to be of assistance, dear friend.", "What a thoughtful enquiry; it is an honour."),
    (True, False): ("Oh, I love this one, you're going to do great!", "Hey, so happy you asked, this'll be fun!"),
    (False, True): ("It is advisable to proceed as follows.", "One should observe the following."),
    (False, False): ("OK so, here's the deal.", "Yeah, so basically do this."),
}  # fmt: skip
_CLOSINGS = ("You are doing wonderfully, keep going!", "I am cheering for you, well done for trying!")

#: A question and three things to say about it.
TOPICS = tuple(
    tuple(line.split(" | "))
    for line in """
How do I descale a kettle? | Boil equal parts of vinegar and water | Leave it for half an hour | Rinse it twice
How do I keep basil alive? | Put the pot where it gets sun | Water it from below | Pinch off the top leaves
How do I remove a wine stain? | Blot it with a cloth | Cover it with salt | Wash it in cold water
How do I learn to touch type? | Keep your fingers on the home row | Practise ten minutes a day | Never look down
How do I fix a squeaky door? | Lift the pin out of the hinge | Rub it with soap | Put it back and swing the door
How do I sleep better? | Go to bed at the same hour | Keep the room cool | Leave the phone outside
How do I start running? | Walk and run by turns | Run three times a week | Rest when something hurts
How do I bake bread? | Mix flour, water, yeast and salt | Let the dough rise overnight | Bake it in a hot pot
How do I save money? | Write down what you spend | Move a tenth to savings on payday | Cancel what you do not use
How do I prepare for an interview? | Read about the company | Rehearse three stories | Have a question ready
How do I paint a wall? | Wash the wall and tape the edges | Put on a thin first coat | Paint again the next day
How do I clean a cast-iron pan? | Scrub it with coarse salt | Dry it on the stove | Wipe it with oil
How do I pack for a week away? | Choose three colours that match | Roll the shirts | Wear the heavy shoes
How do I calm a crying baby? | Check the nappy and the last meal | Hold the baby close | Hum one note and sway
How do I back up my laptop? | Plug in an external disk | Switch on the backup tool | Keep a second copy elsewhere
How do I write a cover letter? | Name the job in the first line | Show one thing you have built | Ask for a talk
How do I grow tomatoes? | Plant them deep in May | Tie them to a stake | Take out the side shoots
How do I get rid of ants? | Find where they come in | Wipe their trail with vinegar | Seal the gap
How do I make good coffee? | Grind the beans right before | Use water just off the boil | Pour it slowly
How do I change a bicycle tube? | Lever the tyre off on one side | Swap the tube | Press the tyre back by hand
How do I read more books? | Carry one wherever you go | Read ten pages before bed | Drop those you dislike
How do I cook rice? | Rinse it until the water is clear | Simmer it under a lid | Let it rest before you stir
How do I train a puppy to sit? | Hold a treat above the nose | Say the word as it sits | Give the treat at once
How do I speak up in meetings? | Note one point before it starts | Say it early on | Keep it to two sentences
How do I store potatoes? | Keep them in the dark | Let air reach them | Take out any that sprout
How do I learn the guitar? | Begin with three chords | Change between them slowly | Play along with a song
How do I iron a shirt? | Damp it a little | Do collar and cuffs first | Hang it up while it is warm
How do I stop procrastinating? | Cut the task into small parts | Set a timer for ten minutes | Begin with the easiest
How do I keep cut flowers fresh? | Cut the stems at a slant | Change the water daily | Keep them from the sun
How do I plan a birthday party? | Ask the guests early | Choose food that can be made before | Leave time for games
""".strip().splitlines()
)


@dataclass(frozen=True, slots=True)
class PlantedPerson:
    """A made-up person: the name of their trait, and the choices they made."""

    user_id: str
    trait: str
    choices: tuple[Preference, ...]


def write_answer(topic: int, style: Mapping[str, bool]) -> str:
    """Write the answer to a topic in a style: each of "long", "warm", "formal" and "list" on or off."""
    _, *points = TOPICS[topic]
    said = points if style["long"] else points[:1]
    body = "\n".join(f"- {p}" for p in said) if style["list"] else ". ".join(said) + "."
    opening = _OPENINGS[style["warm"], style["formal"]][topic % 2]
    joint = "\n" if style["list"] else " "
    answer = f"{opening}{joint}{body}"
    return f"{answer}{joint}{_CLOSINGS[topic % 2]}" if style["warm"] and style["long"] else answer


def people(
    count: int, choices: int = 20, *, topics: int = len(TOPICS), noise: float = 0.1, seed: int = 0
) -> list[PlantedPerson]:
    """Make up people, their traits in turn from `TRAITS`, choosing between answers to the first `topics` questions.

    Three of four choices are between answers that differ in what the person cares about; of the others either is
    taken. With the noise that makes the best possible accuracy 1/8 + 3/4 · (1 − noise).
    """
    rng = random.Random(seed)  # noqa: S311 - a seeded draw
    names = list(TRAITS)
    return [
        PlantedPerson(f"planted{i:03d}", trait, _choices(f"planted{i:03d}", trait, (choices, topics, noise), rng))
        for i, trait in ((i, names[i % len(names)]) for i in range(count))
    ]


def _choices(user_id: str, trait: str, size: tuple[int, int, float], rng: random.Random) -> tuple[Preference, ...]:
    count, topics, noise = size
    dimension, liked, _ = TRAITS[trait]
    made = []
    for i in range(count):
        topic = rng.randrange(min(topics, len(TOPICS)))
        first = {d: rng.random() < 0.5 for d in _DIMENSIONS}
        second = {d: rng.random() < 0.5 for d in _DIMENSIONS}
        second[dimension] = first[dimension] != (rng.random() < _DIFFERING)
        if first == second:
            other = rng.choice([d for d in _DIMENSIONS if d != dimension])
            second[other] = not second[other]
        likes_first = first[dimension] == liked if first[dimension] != second[dimension] else rng.random() < 0.5
        if first[dimension] != second[dimension] and rng.random() < noise:
            likes_first = not likes_first
        chosen, rejected = (first, second) if likes_first else (second, first)
        made.append(
            Preference(
                id=f"{user_id}-{i}",
                user_id=user_id,
                prompt=TOPICS[topic][0],
                chosen=write_answer(topic, chosen),
                rejected=write_answer(topic, rejected),
            )
        )
    return tuple(made)


#: Share of choices between answers that differ in what the person cares about.
_DIFFERING = 0.75
