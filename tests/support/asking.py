"""What tests of asking models share: a journal in a dict, and a stand-in for a `Caller`."""

from __future__ import annotations

from persona_sdk.language import Spent


class Kept:
    """A journal in a dict, which a test can look into."""

    def __init__(self):
        self.answers: dict[str, str] = {}

    def get(self, digests):
        return {d: self.answers[d] for d in digests if d in self.answers}

    def put(self, answers):
        self.answers = {**answers, **self.answers}


class Scripted:
    """Stands in for a `Caller`: gives what `answer` makes of the question's end, None for a call that fails."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, messages, schema, journal=None):
        self.asked.append(messages)
        found = self.answer(messages[-1]["content"])
        return None if found is None else schema.model_validate(found)

    def spent(self):
        return Spent(calls=len(self.asked))
