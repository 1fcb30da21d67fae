"""The tailor `cold_start`: similar people's leanings score answers, fade, and give nobody away."""

from dataclasses import replace

import pytest

from persona_plugins.similar_personas.cold_start import ColdStart
from persona_sdk.testing import make_context, make_trait
from tests.plugins.similar_personas.stand_ins import BAD, FORMAL, GOOD, SHORT, DoesSomething, People, asks, tailored

ANSWERS = ("Short.", "This one is a good deal longer than the other one is.", "Quite a middling one.")


@pytest.fixture
def people():
    found = People()
    found.crowd(6, weights={"s:length": -1.0, "w:tea": 0.5})
    return found


def utilities(people, question="What is a monad?", answers=ANSWERS, *traits, **call):
    return list(ColdStart(people).utilities(asks(question, **call), answers, make_context(*traits)))


class TestColdStart(DoesSomething):
    @pytest.fixture
    def tailor(self, people):
        return ColdStart(people)


class TestColdStartOfManyAnswers(TestColdStart):
    @pytest.fixture
    def people(self):
        found = People(candidates=4)
        found.crowd(6, weights={"s:length": -1.0})
        return found


def test_answers_are_scored_by_what_similar_people_lean_to(people):
    short, long, middling = utilities(people)
    assert short > middling > long
    assert short + long + middling == pytest.approx(0)
    assert utilities(people, answers=ANSWERS[::-1]) == pytest.approx([middling, long, short])
    same = utilities(people, answers=(ANSWERS[0], ANSWERS[1], ANSWERS[0]))
    assert same[0] == same[2] > same[1]


def test_what_is_borrowed_fades_with_own_choices(people):
    new = utilities(people)[0]
    people.add("ann", weights={"s:length": -0.1}, prompts=[f"Number {n}?" for n in range(6)])
    assert utilities(people)[0] == pytest.approx(new / 2)  # GOOD fades to a half at 6


def test_nothing_to_compare_by_adds_nothing(people):
    assert utilities(people, answers=("only",)) == []
    assert utilities(people, answers=("same", "same")) == []
    assert utilities(people, user_id="stranger") == []


def test_k_people_must_lend():
    for count, adds in ((4, False), (5, True)):
        people = People()
        people.crowd(count, weights={"s:length": -1.0})
        assert bool(utilities(people)) == adds
        why = tailored(ColdStart(people))[1].skipped
        assert why == ("" if adds else "fewer than 5 similar people are known yet")
    assert tailored(ColdStart(People()))[1].skipped == "nobody similar is known yet"


def test_what_few_lean_to_can_be_kept_from_the_scores(people):
    """Whoever imitates somebody is most like them; with `agree`, what only they lean to adds nothing."""
    people.add("victim", weights={"w:canary": 9.0, "s:length": -1.0})
    people.similar["shop", "ann"]["victim"] = 1.0
    assert utilities(people, answers=("a canary", "a sparrow"))[0] > 0
    people.verified = replace(GOOD, agree=5)
    assert utilities(people, answers=("a canary", "a sparrow")) == []
    for n in range(4):
        people.add(f"fan{n}", weights={"w:canary": 0.1})
        people.similar["shop", "ann"][f"fan{n}"] = 0.1
    assert utilities(people, answers=("a canary", "a sparrow"))[0] > 0  # five lean to it by now


def test_it_chooses_only_where_something_is_borrowed(people):
    tailor, call = ColdStart(people), asks("Why?")
    scored = make_context(score=lambda _call, answers: [1.0, 3.0, 2.0][: len(answers)])
    assert tailor.choose(call, ANSWERS, scored) == 1  # own and borrowed utility together decide
    assert tailor.choose(call, ANSWERS, make_context()) is None
    people.verified = BAD
    assert tailor.choose(call, ANSWERS, scored) is None


def test_the_messages_stay_and_more_answers_are_asked_for_only_if_told_so(people):
    call, step = tailored(ColdStart(people))
    assert call == asks("What is a monad?")
    assert step.detail.startswith("prior borrowed from 6 similar people, strength 1;")
    assert (step.tokens_added, step.borrowed, step.traits) == (0, (), ())
    more = People(people.memory, candidates=4)
    more.similar = people.similar
    assert tailored(ColdStart(more))[0] == asks("What is a monad?", n=4)
    assert tailored(ColdStart(more), n=7)[0].n == 7
    more.verified = BAD
    assert tailored(ColdStart(more))[0].n == 1


@pytest.mark.parametrize(
    ("found", "why"), [(BAD, "refused: borrowing is not shown to help"), (None, "it has not been")]
)
def test_it_is_refused_where_it_is_not_shown_to_help(people, found, why):
    people.verified = found
    assert tailored(ColdStart(people))[1].skipped.startswith(why)
    assert utilities(people) == []


def test_nothing_is_borrowed_for_a_rendering_or_about_what_the_question_settles(people):
    assert utilities(people, "Translate this into French: good day") == []
    assert utilities(people, "") == []
    assert utilities(people, "What is a monad? In detail, please.") == []
    tea = utilities(people, "What is a monad? In detail, please.", ("tea", "coffee, which is longer"))
    assert tea[0] > tea[1]  # what the question says nothing of still counts


@pytest.mark.parametrize("polarity", ["for", "against"])
def test_what_one_has_ruled_on_is_not_borrowed(people, polarity):
    people.memory.rule("shop", "ann", f"style:length/{polarity}", "rejected", "")
    assert utilities(people) == []


def test_what_one_has_said_is_not_borrowed(people):
    said = SHORT.model_copy(update={"stated": True, "status": "pinned"})
    assert utilities(people, "Why?", ANSWERS, said) == []
    assert utilities(people, "Why?", ANSWERS, FORMAL, make_trait("style:lists", status="pinned")) != []


def test_consents_count_from_the_next_call_on(people):
    people.memory.set_consent("shop", "ann", borrow=False)
    assert utilities(people) == []
    assert tailored(ColdStart(people))[1].skipped == "this person does not borrow"
    people.memory.set_consent("shop", "ann", lend=True, borrow=True)
    assert utilities(people) != []
    for n in range(2):
        people.memory.set_consent("shop", f"holder0{n}", lend=False)
    assert utilities(people) == []
