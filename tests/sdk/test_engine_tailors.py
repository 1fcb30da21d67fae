"""Tailors that the gate does not stop, and what they add to scores."""

import pytest

from persona_sdk import Personalizer
from persona_sdk.models import Loan, TailorStep
from persona_sdk.tailoring import Tailor, TailorResult
from tests.support.people import QUESTIONS, InCode, chooses, hedged


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


class Ungated(Tailor):
    name = "ungated"
    gated = False

    def utilities(self, call, answers, context):
        return [float("yes" in answer) for answer in answers]

    def tailor(self, call, context):
        step = TailorStep(tailor=self.name, detail=f"{len(context.traits)} traits", borrowed=(LOAN,))
        return TailorResult(call.override(params={"ungated": True}), step)

    def choose(self, call, answers, context):
        scores = context.score(call, answers)
        return max(range(len(scores)), key=scores.__getitem__) if scores else None


LOAN = Loan(statement="Prefers a yes.", people=7)


@pytest.fixture
def ungated(url):
    plugin = InCode(tailors=[Ungated()])
    tailors = ("prompt_prefix", "ungated")
    with Personalizer(url, plugins=[plugin], tailors=tailors, learning="manual", time_budget=30) as personalizer:
        yield personalizer


def test_a_tailor_may_judge_by_itself_what_is_relevant(ungated):
    tailored = ungated.tailor("nobody", "Shall we?", n=2)
    assert not tailored.gate.open
    assert [step.tailor for step in tailored.steps] == ["ungated"]
    assert tailored.call.params == {"ungated": True}
    assert ungated.choose(tailored, ["no", "yes"]) == 1
    assert ungated.choose(tailored, ["yes", "no"]) == 0
    assert "Prefers a yes. [borrowed from 7 similar people]" in str(ungated.explain(tailored))


def test_what_is_added_counts_with_what_was_learnt(ungated):
    assert ungated.score("nobody", "Shall we?", ["no", "yes"]) == [0.0, 1.0]
    chooses(ungated, "ada")
    ungated.learn("ada")
    answers = [QUESTIONS[0][1], hedged(0)]
    plain = ungated.score("ada", QUESTIONS[0][0], answers)
    added = ungated.score("ada", QUESTIONS[0][0], [f"yes {answers[0]}", answers[1]])
    assert plain[0] > plain[1]
    assert added[0] > plain[0] + 0.5
