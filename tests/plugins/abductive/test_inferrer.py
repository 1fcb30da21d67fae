"""The abductive inferrer: what is said of a person has been tested on choices it was not made up from."""

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest

from persona_plugins.abductive.hypotheses import COMMON, common, subject_of
from persona_plugins.abductive.inferrer import Abductive
from persona_plugins.abductive.sources import Sources
from persona_plugins.abductive.state import AbductiveScorer
from persona_plugins.contrastive.inferrer import Contrastive
from persona_plugins.contrastive.scorer import ContrastiveScorer
from persona_sdk.inference import History
from persona_sdk.signals import choices_of
from persona_sdk.testing.inferrer_contract import InferrerContract
from persona_sdk.verification import verify
from tests.plugins.abductive.people import Proposes, person, population, request

LENGTH = next(h.statement for h in common() if h.key == "style:length")


class TestContract(InferrerContract):
    @pytest.fixture
    def inferrer(self, scorer):
        return Abductive(scorer, Sources())


class TestContractOnTopOfAnother(InferrerContract):
    @pytest.fixture
    def inferrer(self, scorer):
        return Abductive(scorer, Sources(), base=Contrastive(), name="contrastive+abductive")


def test_a_sentence_that_predicts_is_said_and_believed(inferrer):
    found = inferrer.infer(request(person("ann")))
    (trait,) = found.traits
    assert (trait.id, trait.statement) == ("style:length/against", "Prefers short, concise answers.")
    assert trait.weight < 0
    assert trait.interval[0] < trait.weight < trait.interval[1] < 0
    assert trait.evidence
    assert verify(found).accepted


def test_its_contrary_is_said_of_somebody_who_is_the_contrary(inferrer):
    (trait,) = inferrer.infer(request(person("ann", likes_short=False))).traits
    assert (trait.id, trait.statement) == ("style:length/for", "Prefers long, detailed answers.")
    assert trait.weight > 0


def test_somebody_who_takes_either_has_no_traits_and_is_not_believed(inferrer):
    rng = np.random.default_rng(3)
    signals = [
        s if rng.random() < 0.5 else s.model_copy(update={"chosen": s.rejected, "rejected": s.chosen})
        for s in person("ann", 24)
    ]
    assert inferrer.infer(request(signals)).traits == ()


def test_next_choices_are_predicted(inferrer):
    signals, asked = person("ann"), choices_of(person("ann", 5, start=50))
    assert all(p > 0.65 for p in inferrer.predict(request(signals), asked))
    assert inferrer.predict(request(()), asked) == pytest.approx([0.5] * 5)


def test_what_everybody_is_like_is_predicted_of_a_newcomer_and_said_of_nobody(inferrer):
    short = [History(f"u{i}", person(f"u{i}")) for i in range(8)]
    common_taste = inferrer.fit_population("t", short)
    asked = choices_of(person("new", 3))
    assert all(p > 0.7 for p in inferrer.predict(request((), population=common_taste), asked))
    alike = inferrer.infer(request(person("ann", 6), population=common_taste))
    assert alike.traits == ()
    assert all(h.without > math.log(0.6) for h in alike.held_out)


def test_where_people_do_not_differ_everyone_is_predicted_alike(inferrer):
    common_taste = inferrer.fit_population("t", [History(f"u{i}", person(f"u{i}")) for i in range(8)])
    assert common_taste.data["variance"] == 0.0
    asked = request(person("ann", likes_short=False), population=common_taste)
    assert [h.with_persona for h in inferrer.infer(asked).held_out] == pytest.approx(
        [h.without for h in inferrer.infer(asked).held_out]
    )


def test_somebody_who_is_less_so_than_everybody_is_not_said_to_be_so(inferrer):
    """Everybody likes it short, somebody a little less: "prefers short answers" would be the wrong thing to say."""
    fitted = population(inferrer)
    shorter = fitted.model_copy(update={"data": {**fitted.data, "mean": {LENGTH: 3.0}, "variance": 3.0}})
    signals = [*person("ann", 24), *person("ann", 12, start=30, likes_short=False)]
    kept = inferrer._case(request(signals, population=shorter), choices_of(signals), None).trial.keep()
    assert any(mean < 0 for mean in kept.mean)
    assert inferrer.infer(request(signals, population=shorter)).traits == ()


def test_a_sentence_that_is_not_sure_is_not_said(inferrer):
    signals = person("ann", 20)
    case = inferrer._case(request(signals), choices_of(signals), None)
    weights = case.trial.keep()
    assert inferrer._traits(case, weights)
    unsure = replace(weights, spread=abs(weights.mean) / 1.2)
    assert inferrer._traits(case, unsure) == []


def test_a_rejected_sentence_has_no_part_in_it_any_more(inferrer):
    signals = person("ann")
    left = inferrer.infer(request(signals, rejected=frozenset({"style:length/against"})))
    assert left.traits == ()
    (length,) = (s for s in left.state["sentences"] if s["statement"] == LENGTH)
    assert length["weight"] == 0.0


def test_what_was_taken_back_does_not_return_through_what_everybody_is_like(inferrer, scorer):
    common_taste = inferrer.fit_population("t", [History(f"u{i}", person(f"u{i}")) for i in range(8)])
    asked = request(person("ann"), population=common_taste, rejected=frozenset({"style:length/against"}))
    (choice,) = choices_of(person("ann", 1, start=70))
    state = inferrer.infer(asked).state
    one, other = AbductiveScorer(scorer).score(state, common_taste, choice.prompt, [choice.chosen, choice.rejected])
    assert one == other
    assert inferrer.predict(asked, [choice]) == pytest.approx([0.5])


@pytest.mark.parametrize("rejected", ["idea:prefers short notes/for", "idea:likes short notes/for"])
def test_what_was_taken_back_does_not_return_in_other_words(scorer, rejected):
    inferrer = Abductive(scorer, Sources(Proposes("The user prefers short notes."), with_common=False))
    assert inferrer.infer(request(person("ann", 24))).traits
    assert inferrer.infer(request(person("ann", 24), rejected=frozenset({rejected}))).traits == ()


def test_a_common_sentence_that_was_taken_back_is_not_proposed_again(scorer):
    inferrer = Abductive(scorer, Sources(Proposes("The user likes short answers.")))
    taken_back = frozenset({"style:length/against"})
    assert inferrer.infer(request(person("ann", 24), rejected=taken_back)).traits == ()


def test_what_people_say_silences_what_was_inferred_of_the_same_subject():
    assert subject_of("The user prefers short answers.") == ("style:length", "against")
    assert subject_of("The user prefers long answers.") == ("style:length", "for")
    assert subject_of("The user has two cats.") is None
    assert subject_of("The user does not prefer short answers.") is None


def test_a_choice_with_the_same_answer_does_not_testify_either(scorer):
    """The same pair under another id, or another choice with one of its answers, would be as good as the choice."""
    signals = person("ann", 24)
    shown = [s for s in signals if zlib.crc32(s.id.encode()) % 2 == 0][:4]
    copies = [s.model_copy(update={"id": f"copy-{s.id}", "prompt": signals[0].prompt}) for s in shown]
    inferrer = Abductive(scorer, Sources(Proposes("The user prefers short notes."), with_common=False))
    case = inferrer._case(request([*signals, *copies]), choices_of([*signals, *copies]), None)
    assert np.all(case.trial.z[-4:, 0] == 0)


def test_a_scorer_that_is_not_quick_is_not_asked_while_a_chat_waits(inferrer, scorer):
    state = inferrer.infer(request(person("ann"))).state
    asked = len(scorer.asked)
    scorer.quick = False
    assert AbductiveScorer(scorer).score(state, None, "?", ["a", "b " * 50]) == [0.0, 0.0]
    assert len(scorer.asked) == asked


def test_a_state_of_another_scorer_says_nothing(inferrer, scorer):
    asked = request(person("ann"))
    state = inferrer.infer(asked).state
    scorer.name = "another"
    assert AbductiveScorer(scorer).score(state, None, "?", ["a", "b " * 50]) == [0.0, 0.0]
    other = inferrer.infer(request(person("ann"), other_state=state)).held_out
    assert all(h.other is None for h in other)


def test_another_persons_own_sentences_stay_out_of_this_persons_prompts(scorer):
    proposes = Abductive(scorer, Sources(Proposes("The user prefers short notes.")))
    theirs = proposes.infer(request(person("bob", 24))).state
    assert any("notes" in s["statement"] for s in theirs["sentences"])
    scorer.asked.clear()
    Abductive(scorer, Sources()).infer(request(person("ann", 24), other_state=theirs))
    assert not any("notes" in s for _, statements in scorer.asked for s in statements)


def test_another_persons_sentences_predict_worse(inferrer):
    theirs = inferrer.infer(request(person("bob", likes_short=False))).state
    held_out = inferrer.infer(request(person("ann"), other_state=theirs)).held_out
    assert all(h.other < math.log(0.5) < h.with_persona for h in held_out)


def test_the_version_before_is_what_had_been_read_then(inferrer):
    """Someone turns round: what had been learnt before predicts the new choices badly, and is compared on them."""
    signals = [*person("ann", 12), *person("ann", 12, start=12, likes_short=False)]
    held_out = inferrer.infer(request(signals, read_before=12)).held_out
    assert all(h.previous > math.log(0.5) for h in held_out[:12])
    assert all(h.previous < math.log(0.5) for h in held_out[12:])
    assert all(h.previous is None for h in inferrer.infer(request(signals)).held_out)
    turned = [*signals[:12], *person("ann", 12, start=12)]
    before = inferrer.infer(request(turned, read_before=12)).held_out
    for new, old in zip(held_out[12:], before[12:], strict=True):  # so the newer choices had no part in it
        assert math.exp(new.previous) + math.exp(old.previous) == pytest.approx(1)


def test_only_the_newest_choices_are_scored_when_the_budget_is_spent(scorer):
    cost = 2 * (1 + 2 * len(COMMON))
    inferrer = Abductive(scorer, Sources(), budget=cost * 4)
    found = inferrer.infer(request(person("ann", 10)))
    ((offers, _),) = scorer.asked
    assert [o.prompt for o in offers] == [f"Is it {i}?" for i in range(6, 10)]
    assert len(found.held_out) == 10
    assert all(h.with_persona == pytest.approx(math.log(0.5)) for h in found.held_out[:6])


def test_a_population_is_fitted_on_as_many_choices_as_the_budget_allows(scorer):
    cost = 2 * (1 + 2 * len(COMMON))
    inferrer = Abductive(scorer, Sources(), population_budget=cost * 110)
    fitted = population(inferrer)
    assert sum(len(offers) for offers, _ in scorer.asked) == 110
    assert (fitted.users, fitted.choices) == (8, 160)


def test_a_population_says_which_scorer_it_was_made_with(inferrer, scorer):
    fitted = inferrer.fit_population("t", [History(f"u{i}", person(f"u{i}")) for i in range(8)])
    asked = choices_of(person("new", 3))
    assert min(inferrer.predict(request((), population=fitted), asked)) > 0.7
    scorer.name = "another"
    assert inferrer.predict(request((), population=fitted), asked) == pytest.approx([0.5] * 3)


# On top of another inferrer


def test_on_top_of_another_its_traits_are_kept_and_its_predictions_improved_on(scorer):
    both = Abductive(scorer, Sources(), base=Contrastive(), name="contrastive+abductive")
    signals = person("ann")
    alone = Contrastive().infer(request(signals))
    found = both.infer(request(signals))
    assert {t.id for t in alone.traits} <= {t.id for t in found.traits}
    assert [h.without for h in found.held_out] == [h.without for h in alone.held_out]


def test_where_the_sentences_add_nothing_the_other_is_left_as_it_is(scorer):
    both = Abductive(scorer, Sources(), base=Contrastive(), name="contrastive+abductive")
    scorer.score = lambda offers, statements, journal=None: [[[0.0, 0.0]] * len(statements)] * len(offers)
    histories = [History(f"u{i}", person(f"u{i}", likes_short=i % 2 == 0)) for i in range(8)]
    together, alone = both.fit_population("t", histories), Contrastive().fit_population("t", histories)
    signals, asked = person("ann"), choices_of(person("ann", 4, start=40))
    mine = both.predict(request(signals, population=together), asked)
    assert mine == pytest.approx(Contrastive().predict(request(signals, population=alone), asked), abs=1e-6)


def test_sentences_that_fit_at_random_are_given_no_weight_beside_another(scorer):
    both = Abductive(scorer, Sources(), base=Contrastive(), name="contrastive+abductive")
    rng = np.random.default_rng(1)
    scorer.score = lambda offers, statements, journal=None: rng.normal(size=(len(offers), len(statements), 2)).tolist()
    histories = [History(f"u{i}", person(f"u{i}", likes_short=i % 2 == 0)) for i in range(8)]
    assert both.fit_population("t", histories).data["variance"] <= 0.01


# Scoring new answers


@pytest.mark.parametrize("with_population", [False, True])
def test_new_answers_are_scored_as_choices_are_predicted(inferrer, scorer, with_population):
    fitted = population(inferrer) if with_population else None
    asked = request(person("ann"), population=fitted)
    state = inferrer.infer(asked).state
    (choice,) = choices_of(person("ann", 1, start=70))
    one, other = AbductiveScorer(scorer).score(state, fitted, choice.prompt, [choice.chosen, choice.rejected])
    predicted = inferrer.predict(asked, [choice])[0]
    assert one > other
    assert 1 / (1 + math.exp(other - one)) == pytest.approx(predicted, abs=0.12)


def test_a_newcomers_answers_are_scored_as_everybodys(inferrer, scorer):
    fitted = inferrer.fit_population("t", [History(f"u{i}", person(f"u{i}")) for i in range(8)])
    (choice,) = choices_of(person("new", 1, start=70))
    state = {"scorer": scorer.name, "sentences": [], "base": None}
    one, other = AbductiveScorer(scorer).score(state, fitted, choice.prompt, [choice.chosen, choice.rejected])
    predicted = inferrer.predict(request((), population=fitted), [choice])[0]
    assert 1 / (1 + math.exp(other - one)) == pytest.approx(predicted, abs=1e-3)


def test_silent_sentences_do_not_count(inferrer, scorer):
    state = inferrer.infer(request(person("ann"))).state
    silent = frozenset(s["key"] for s in state["sentences"])
    assert AbductiveScorer(scorer).score(state, None, "?", ["a", "b " * 50], silent) == [0.0, 0.0]


def test_the_scorer_below_has_its_say(scorer):
    both = Abductive(scorer, Sources(), base=Contrastive(), name="contrastive+abductive")
    found = both.infer(request(person("ann")))
    answers = ["Yes.", "Well, it depends. " * 5]
    above = AbductiveScorer(scorer, ContrastiveScorer(), name="contrastive+abductive")
    below = ContrastiveScorer().score(found.state["base"], None, "?", answers)
    mine = AbductiveScorer(scorer).score(found.state, None, "?", answers)
    assert above.score(found.state, None, "?", answers) == pytest.approx(np.add(below, mine))
    assert replace(found, state=None).state is None


# What people lean to


def test_a_leaning_is_in_the_sentences_tried_for_everyone(inferrer):
    known = population(inferrer)
    leaning = inferrer.leaning(request(person("ann"), population=known))
    assert leaning[f"h:{LENGTH}"] != 0
    contrary = inferrer.leaning(request(person("bob", likes_short=False), population=known))
    assert leaning[f"h:{LENGTH}"] * contrary[f"h:{LENGTH}"] < 0
    taken_back = request(person("ann"), population=known, rejected=frozenset({"style:length/against"}))
    assert f"h:{LENGTH}" not in inferrer.leaning(taken_back)


def test_a_slow_scorer_is_not_asked_what_people_lean_to(inferrer, scorer):
    known = population(inferrer)
    scorer.asked.clear()
    type(scorer).quick = False
    try:
        assert inferrer.leaning(request(person("ann"), population=known)) == {}
    finally:
        type(scorer).quick = True
    assert scorer.asked == []


def test_on_top_of_another_the_leaning_is_the_others(scorer):
    below = Contrastive()
    inferrer = Abductive(scorer, Sources(), base=below, name="both")
    known = population(inferrer)
    signals = person("ann")
    leaning = inferrer.leaning(request(signals, population=known))
    assert leaning
    assert {name[0] for name in leaning} <= set("wpqrs")
    answers = [signals[0].chosen, signals[0].rejected]
    scores = AbductiveScorer(scorer, ContrastiveScorer(), name="both").score({}, known, "?", answers)
    assert len(scores) == 2
    assert all(map(math.isfinite, scores))
