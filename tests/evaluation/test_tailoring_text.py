"""Figures of what models write: counted by hand, with models that say what they are told to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation.tailoring import Arm, Setup, arms_of
from persona_sdk.evaluation.tailoring_text import draw_prompts, evaluate_text, text_figures
from persona_sdk.tuning.prefixes import Knowledge
from tests.support.taught import many


class Says:
    """Answers with whatever is said of the person, or with a fixed text; fails where that is an error."""

    def __init__(self, answer=None):
        self.answer, self.asked, self.sampling = answer, [], []

    def log_likelihoods(self, asked): ...

    def invoke(self, input, config=None, **kwargs):  # noqa: A002 - LangChain's name
        self.asked.append(input)
        self.sampling.append(kwargs)
        if isinstance(self.answer, Exception):
            raise self.answer
        return AIMessage(content=self.answer if self.answer is not None else input[0]["content"])


class Together(Says):
    """Answers all at once; every second call fails."""

    def batch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        assert return_exceptions
        return [self.invoke(one, **kwargs) if n % 2 else OSError("secret words") for n, one in enumerate(inputs)]


def test_figures_by_hand():
    said = "One two three four. One two three four!"  # 5 runs of four words, the last of which is the first
    found = text_figures([said, "Yes.", "", "  \n", None])
    assert (found.answers, found.failed) == (4, 1)
    assert found.words == pytest.approx((8 + 1 + 0 + 0) / 4)
    assert found.repetition == pytest.approx(1 / 5)  # of the one answer that has such runs
    assert found.looped == pytest.approx(1 / 4)
    assert found.empty == pytest.approx(2 / 4)
    assert found.distinct == pytest.approx(4 / 7)  # 12 23 34 41 12 23 34


def test_of_nothing_there_are_no_figures():
    nothing = text_figures([None])
    assert (nothing.answers, nothing.failed) == (0, 1)
    assert {nothing.words, nothing.repetition, nothing.looped, nothing.empty, nothing.distinct} == {None}


@pytest.mark.parametrize(
    ("answer", "looped"),
    [
        ("Stir it for a minute. Then wait. Stir it for a minute.", True),
        ("stir it, for a minute!\nStir it for a minute", True),
        ("No. No. No.", False),  # too short to be a loop
        ("Stir it for a minute. Stir it for two minutes.", False),
        ("每天早上喝一杯热水对身体好哦。每天早上喝一杯热水对身体好哦。", True),
        ("Stir it for a minute and stir it for a minute", False),  # the runs of words say so
    ],
)
def test_a_loop_is_a_sentence_said_twice(answer, looped):
    assert text_figures([answer]).looped == float(looped)


@given(st.lists(st.text(max_size=40), max_size=6))
def test_every_share_is_a_share(answers):
    found = text_figures(answers)
    for share in (found.repetition, found.looped, found.empty, found.distinct):
        assert share is None or 0 <= share <= 1


def test_every_arm_answers_what_it_is_told():
    people = Knowledge(gold={"ann": ("Likes tea.",)})
    base, tuned = Says("Fine, thank you."), Says()
    setup = Setup(system="Be very kind.")
    shares = []
    found = evaluate_text(
        many("ann", 2), people, arms_of({"base": base, "tuned": tuned}, ["gold"]), setup,
        sampling={"max_tokens": 7}, progress=shares.append,
    )  # fmt: skip
    assert list(found) == ["base/none", "base/gold", "tuned/none", "tuned/gold"]
    assert (found["base/none"].answers, found["base/none"].words) == (2, 3.0)
    assert found["tuned/none"].words == 3.0  # "Be very kind."
    assert "Likes tea." in tuned.asked[2][0]["content"]
    assert base.sampling == [{"max_tokens": 7}] * 4
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_failures_are_counted_and_repeat_nobodys_text():
    model = Together("Yes.")
    found = evaluate_text(many("ann", 4), Knowledge(), [Arm("base", model)], sampling={"max_tokens": 7})
    assert model.sampling == [{"max_tokens": 7}] * 2
    assert (found["base/none"].answers, found["base/none"].failed) == (2, 2)
    with pytest.raises(ModelError, match=r"base: answered none of 4 questions \(raised OSError") as error:
        evaluate_text(many("ann", 4), Knowledge(), [Arm("base", Says(OSError("secret words")))])
    assert "secret" not in str(error.value)


def test_a_model_that_cannot_answer_is_refused():
    class Mute:
        def log_likelihoods(self, asked): ...

    with pytest.raises(InputError, match="base is no chat model"):
        evaluate_text(many("ann", 1), Knowledge(), [Arm("base", Mute())])


def test_prompts_are_drawn_from_all_people_in_turn():
    asked = [*many("ann", 9), *many("bob", 1), *many("cy", 3)]
    drawn = draw_prompts(asked, 6, seed=1)
    users = [one.user_id for one in drawn]
    assert (len(drawn), len({one.id for one in drawn})) == (6, 6)
    assert {user: users.count(user) for user in ("ann", "bob", "cy")} in (
        {"ann": 3, "bob": 1, "cy": 2}, {"ann": 2, "bob": 1, "cy": 3},
    )  # fmt: skip
    assert len(draw_prompts(asked, 99)) == 13
    assert draw_prompts(asked, 6, seed=1) == drawn
    assert any(draw_prompts(asked, 6, seed=s) != drawn for s in range(2, 5))
    assert {draw_prompts(asked, 1, seed=s)[0].user_id for s in range(20)} == {"ann", "bob", "cy"}
