"""An inferrer whose personas cite all they were made of, and people with any choices: to find who has read what."""

from __future__ import annotations

from hypothesis import strategies as st

from persona_sdk.inference import History, Inference, Inferrer, Population
from persona_sdk.models import Evidence
from persona_sdk.signals import Preference, Rating, Utterance
from persona_sdk.testing import make_trait

__all__ = ["Reads", "histories", "people", "readers"]


class Reads(Inferrer):
    """Says of everybody that they like something, on the evidence of all it was shown; and remembers who was shown."""

    name = "reads"

    def __init__(self):
        self.persons, self.population = {}, {}

    def infer(self, request):
        cited = [signal.id for signal in request.signals if not isinstance(signal, Utterance)]
        self.persons.setdefault(request.user_id, set()).update(cited)
        evidence = tuple(Evidence(signal_id=one) for one in cited)
        trait = make_trait("style:length", f"Likes {request.user_id}.", stated=True, evidence=evidence)
        return Inference((trait,) if cited else ())

    def fit_population(self, tenant, histories):
        self.population = {
            history.user_id: {signal.id for signal in history.signals if not isinstance(signal, Utterance)}
            for history in histories
        }
        return Population(tenant=tenant, inferrer=self.name, fingerprint="0", users=1, choices=1, data={})


def choices(user, asked):
    """One person's signals: for each number a choice between answers to that question, or a thumb if it is odd."""
    signals = []
    for place, number in enumerate(asked):
        one = {"id": f"{user}:{place}", "user_id": user, "prompt": f"Is the sky number {number} blue?"}
        if number % 5 == 4:
            signals.append(Rating(**one, response=f"Yes, {place}.", score=1))
        else:
            signals.append(Preference(**one, chosen=f"Yes, {place}.", rejected=f"No, {place}."))
    return [*signals, Utterance(id=f"{user}:said", user_id=user, text="Hello there.")]


def histories(**asked):
    """Everybody's signals, by the questions they were asked (see `choices`)."""
    return [History(user, choices(user, numbers)) for user, numbers in asked.items()]


def people(count, each=8):
    """So many people who were asked different questions."""
    return histories(**{f"user{n}": [10 * i + n % 3 for i in range(each)] for n in range(count)})


def readers():
    """Any people, asked anything, some of it often."""
    asked = st.dictionaries(
        st.sampled_from([f"user{n}" for n in range(12)]), st.lists(st.integers(0, 9), max_size=12), max_size=9
    )
    return asked.map(lambda made: histories(**made))
