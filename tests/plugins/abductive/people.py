"""People who like short answers, or long ones, what is asked about them, and who proposes sentences."""

from persona_sdk.inference import History, InferenceRequest, PairPersonas
from persona_sdk.language import Spent
from persona_sdk.signals import Preference

__all__ = ["Proposes", "person", "population", "request"]


def person(user_id, count=20, *, likes_short=True, start=0):
    made = []
    for i in range(start, start + count):
        short, long = f"Yes, {i}.", " ".join([f"Well, it depends on {i}."] * (3 + i % 4))
        chosen, rejected = (short, long) if likes_short else (long, short)
        made.append(
            Preference(id=f"{user_id}-{i}", user_id=user_id, prompt=f"Is it {i}?", chosen=chosen, rejected=rejected)
        )
    return made


def request(signals, **more):
    return InferenceRequest(tenant="t", user_id="ann", signals=signals, **more)


def population(inferrer, people=8):
    histories = [History(f"u{i}", person(f"u{i}", likes_short=i % 2 == 0)) for i in range(people)]
    return inferrer.fit_population("t", histories)


class Proposes:
    """Proposes what it was told to, and remembers which choices it was shown."""

    def __init__(self, *statements, pair=None):
        self.statements, self.of_pair, self.shown = statements, pair or PairPersonas(None, None), []

    def several(self, choices, journal, number=6):
        self.shown += choices
        return self.statements

    def contrasts(self, choices, journal, tried, number=6):
        return ()

    def pair(self, choice, journal):
        return self.of_pair

    asks = None

    def spent(self):
        return Spent()
