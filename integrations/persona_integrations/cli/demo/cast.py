"""Who plays in the demo, and what they are asked. Their choices are in `people.jsonl`; all of it is made up."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["ANSWERS", "CORRECTED", "CORRECTION", "PAIR", "QUESTION", "TENANT", "WHO", "choices"]

#: The tenant the demo keeps to, so that it can be tried in a database that is in use.
TENANT = "demo"

#: The people by id, in the order they are shown.
WHO = {
    "grace": ("Grace", "primary-school teacher"),
    "tomas": ("Tomas", "backend engineer"),
    "lena": ("Lena", "student on a budget"),
    "henrik": ("Henrik", "retired chemist"),
    "rosa": ("Rosa", "owner of a bakery"),
    "sam": ("Sam", "new here"),
}
#: The two whose answers are put side by side.
PAIR = ("tomas", "grace")

QUESTION = "How do I descale my kettle?"

#: Four answers to QUESTION, written by hand: which of them would each person choose?
ANSWERS = (
    "Half vinegar, half water. Boil, wait 30 minutes, pour out, rinse twice.",
    "How lovely that you look after your kettle! It is easy: lemon juice is a gentle helper, for example "
    "two lemons. Watch it fizz, you will love it!",
    "Limescale is calcium carbonate, precipitated from hard water by heat. Citric acid, about 20 g per litre, "
    "dissolves it within 20 minutes at 60 °C without any smell, because the calcium remains in solution as a complex; "
    "boiling water, for example, would form sparingly soluble calcium citrate instead. Hydrochloric acid is better "
    "avoided, since its chloride ions attack stainless steel.",
    "Citric acid: 350 g for €3, enough for 17 times. Take 20 g. Wait 20 minutes. Repeat in 4 weeks.",
)

#: Who is misjudged and says so.
CORRECTED = "tomas"
CORRECTION = "No, I do like detail. I prefer long, technical answers with examples."


def choices() -> Traversable:
    """Return the file with everybody's choices."""
    return files(__package__).joinpath("people.jsonl")
