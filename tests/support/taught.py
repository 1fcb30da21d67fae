"""Examples to tune on, made short: who was asked what, and which answer they took."""

from __future__ import annotations

from hypothesis import strategies as st

from persona_sdk.models import Message
from persona_sdk.testing.memory_strategies import identifiers
from persona_sdk.tuning.rows import Example, Origin

__all__ = ["example", "many", "of_people"]


def example(user="ann", question="Why?", chosen="Because.", rejected="Hm.", number=0, **more):
    """One choice; `number` tells several with the same question apart."""
    origin = Origin(tenant=more.pop("tenant", "default"), user_id=user, signals=(f"{user}-{question}-{number}",))
    prompt = more.pop("prompt", (Message(role="user", content=question),))
    id_ = more.pop("id", f"{user}/{question if question.isprintable() else 'odd'}/{number}")
    return Example(id=id_, origin=origin, prompt=prompt, chosen=chosen, rejected=rejected, **more)


def many(user, count, questions=None):
    """`count` choices of one person, between answers to so many questions (as many as choices by default)."""
    return [example(user, f"Question {i % (questions or count)}?", number=i) for i in range(count)]


def of_people():
    """Any people with any choices, several on the same question among them, in the order in which they were made."""
    people = st.dictionaries(identifiers(), st.lists(st.integers(0, 6), max_size=12), max_size=8)
    return people.map(
        lambda made: [
            example(user, f"Question {q}?", number=i, id=f"{place}-{i}")
            for place, (user, asked) in enumerate(made.items())
            for i, q in enumerate(asked)
        ]
    )
