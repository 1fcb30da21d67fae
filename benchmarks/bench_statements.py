"""How fast statements are read out of what people say, beside only splitting the same text into words."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence

from harness import Figure, arguments, percentile, report, ticking

from persona_plugins.contrastive.statements import statements_in

SAID = (
    "I'm a vegetarian and I am allergic to {thing}.",
    "Please keep it short, I don't have much time today.",
    "Can you tell me how to get from {city} to the coast by train?",
    "I prefer {thing} to anything else, but not on weekdays.",
    "My sister lives in {city} and she loves {thing}.",
    "We went there last year and it rained all week, so this time we want something different.",
    "Don't use bullet points, I like running text better.",
    "What would be a good present for someone who has everything?",
    "I work as a nurse in {city}, mostly at night.",
    'He said "I hate {thing}" and left the room.',
)
THINGS = "peanuts jazz hiking museums coffee trains cheese gardening".split()
CITIES = "Lisbon Ghent Turin Bergen Krakow Graz".split()
_WORD = re.compile(r"\w+")


def turns(count: int, sentences: int, rng: random.Random) -> list[str]:
    """Make up turns of several sentences."""
    return [
        " ".join(rng.choice(SAID).format(thing=rng.choice(THINGS), city=rng.choice(CITIES)) for _ in range(sentences))
        for _ in range(count)
    ]


def timed(what: str, texts: Sequence[str], work: Callable[[str], object]) -> list[float]:
    """Return the seconds each text takes."""
    took = []
    for text in ticking(what, texts):
        start = time.perf_counter()
        work(text)
        took.append(time.perf_counter() - start)
    return took


def main() -> None:
    """Measure short turns, long ones, and odd ones."""
    args = arguments(__doc__ or "").parse_args()
    rng = random.Random(1)
    scale = 1 if args.quick else 10
    figures = []
    found = 0
    statements_in(SAID[0], "signal")  # whatever is set up once
    for name, texts in (
        ("turns of 3 sentences", turns(200 * scale, 3, rng)),
        ("turns of 12 sentences", turns(50 * scale, 12, rng)),
        ("odd texts of 20,000 characters", ["a" * 20_000, ", " * 10_000, "I " * 10_000, "I like " * 3000]),
    ):
        characters = sum(map(len, texts))
        ours = timed(name, texts, lambda text: statements_in(text, "signal"))
        words = timed(name, texts, _WORD.findall)
        found += sum(len(statements_in(text, "signal")) for text in texts[:100])
        figures.append(
            Figure(
                f"{name}: read",
                characters / sum(ours) / 1e6,
                "M char/s",
                "split into words",
                characters / sum(words) / 1e6,
            )
        )
        figures.append(
            Figure(
                f"{name}: p99 a turn",
                percentile(ours, 0.99) * 1e3,
                "ms",
                "split into words",
                percentile(words, 0.99) * 1e3,
            )
        )
    report("Statements", figures, [f"{found} statements found in the first 100 texts of each kind"], args.json)


if __name__ == "__main__":
    main()
