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
    "1 part vinegar, 1 part water. Boil, wait 30 minutes, rinse twice.",
    "What a lovely little job! Lemon juice is a gentle helper, for example two lemons in a full kettle. Watch "
    "it fizz, the children will love it!",
    "Limescale is calcium carbonate, precipitated from hard water by the heat of the element. Citric acid, at "
    "about 20 g per litre of water, dissolves it within 20 minutes at 60 °C and without any smell, because the"
    " calcium remains in solution as a complex; in boiling water, for example, it would form the sparingly "
    "soluble citrate instead. Hydrochloric acid is better avoided, since its chloride ions attack the "
    "stainless steel.",
    "Buy citric acid: 350 g for €3. That is enough for 17 times. You take 20 g and wait 20 minutes. You do it "
    "every 4 weeks. You save 90 %.",
)

#: Who is misjudged and says so.
CORRECTED = "tomas"
CORRECTION = "No, I do like detail. I prefer long, technical answers with examples."


def choices() -> Traversable:
    """Return the file with everybody's choices."""
    return files(__package__).joinpath("people.jsonl")
