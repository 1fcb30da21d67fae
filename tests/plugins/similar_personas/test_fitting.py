"""How people borrow is chosen and verified on choices that nothing had seen: it is refused where it does not help."""

import math
import random

import numpy as np
import pytest

from persona_plugins.similar_personas import fitting
from persona_plugins.similar_personas.blending import Borrowing
from persona_plugins.similar_personas.fitting import KNOWN, MARGIN, PARTS, fit
from persona_sdk.inference import History
from persona_sdk.signals import Preference, Rating, Utterance, choices_of
from persona_sdk.testing.fakes import NOON
from tests.support.clusters import Words, choices, crowd


def fitted(histories, inferrer=None, **given):
    inferrer = inferrer or Words()
    return fit(inferrer, inferrer.fit_population("t", histories), histories, **given)


@pytest.fixture(scope="module")
def clustered():
    return crowd(60, 10, clusters=3)[0]


@pytest.fixture(scope="module")
def independent():
    return crowd(60, 10, clusters=0)[0]


def test_people_who_come_in_kinds_are_found_to_help_each_other(clustered):
    found = fitted(clustered)
    assert found.strength > 0
    assert found.groups == {"w"}
    assert found.gain > 5 * found.standard_error > 0
    assert (found.people, found.choices) == (60, 600)
    assert "better" in found.verified


@pytest.mark.parametrize("seed", range(4))
def test_among_people_who_are_each_on_their_own_it_is_refused(seed):
    found = fitted(crowd(60, 10, clusters=0, seed=seed)[0])
    assert found.strength == 0
    assert found.choices == 600
    assert "refused" in found.verified


def test_a_group_that_says_nothing_is_not_compared_by(clustered):
    """Noise outweighs what matters here: compared by both, nobody would find their kind."""
    found = fitted(clustered, Words(noise=5.0))
    assert found.strength > 0
    assert found.groups == {"w"}


def test_where_it_is_refused_people_are_compared_by_everything(independent):
    assert fitted(independent, Words(noise=5.0)).groups == {"s", "w"}


def test_the_order_of_people_does_not_matter_and_the_result_is_the_same_again(clustered):
    shuffled = random.Random(3).sample(clustered, len(clustered))
    assert fitted(shuffled) == fitted(clustered) == fitted(clustered)


class Watching(Words):
    """Keeps what it was asked, and checks that nothing it is to predict is in what it was given."""

    def __init__(self):
        super().__init__()
        self.sizes, self.requests = set(), []

    def predict(self, request, asked):
        given = {s.id for s in request.signals}
        assert given.isdisjoint(c.signal_id for c in asked)
        assert {s.user_id for s in request.signals} <= {request.user_id}
        assert request.user_id not in request.population.data["users"]  # nor had the population seen this person
        self.sizes.add(len(choices_of(request.signals)))
        self.requests.append(request)
        return super().predict(request, asked)


def test_nothing_that_predicts_a_choice_has_seen_it(clustered):
    watching = Watching()
    fitted(clustered, watching)
    assert watching.sizes == {1, 2, 4, 8}  # the first few of the rest, and all of the rest
    assert watching.sizes >= set(KNOWN[:3])


def test_nobody_lends_to_themselves():
    """Everybody likes the same things every time, and others other things: one's own leaning would give all away."""
    rng = random.Random(0)
    people = [f"u{i}" for i in range(30)]
    histories = []
    for user in people:
        weights = {word: 50.0 * rng.choice((-1, 1)) for word in (f"word{i:02d}" for i in range(24))}
        histories.append(History(user, choices(user, weights, 10, rng)))
    assert fitted(histories, Words(trust=0.0)).strength == 0


def test_what_was_only_said_is_known_to_a_newcomer_if_it_was_said_by_then():
    histories = crowd(12, 4, clusters=2)[0]
    words = [Utterance(id=f"said-{i}", user_id="u000", text="I like tea.", at=NOON) for i in range(2)]
    first = list(histories[0].signals)
    histories[0] = History("u000", [words[0], *first[:2], words[1], *first[2:]])
    watching = Watching()
    fitted(histories, watching)
    mine = [r for r in watching.requests if r.user_id == "u000"]
    newest = [r for r in mine if len(choices_of(r.signals)) == 1]
    assert newest
    assert all(r.signals[0].id == "said-0" for r in newest)
    assert not any(s.id == "said-1" for r in newest for s in r.signals)
    assert any(s.id == "said-1" for r in mine for s in r.signals)


def test_ratings_are_left_out_too():
    histories = []
    for history in crowd(12, 4, clusters=2)[0]:
        rated = []
        for signal in history.signals:
            for text, score in ((signal.rejected, -1.0), (signal.chosen, 1.0)):
                name = f"{signal.id}{score}"
                rated.append(
                    Rating(id=name, user_id=history.user_id, prompt=signal.prompt, response=text, score=score, at=NOON)
                )
        histories.append(History(history.user_id, rated))
    watching = Watching()
    assert fitted(histories, watching).choices == 48
    assert watching.requests


def test_large_tenants_are_drawn_from(clustered, monkeypatch):
    monkeypatch.setattr(fitting, "MAX_LENDERS", 30)
    monkeypatch.setattr(fitting, "MAX_TESTED", 20)
    watching = Watching()
    found = fitted(clustered, watching)
    assert (found.people, found.choices) == (20, 200)
    assert max(len(r.population.data["users"]) for r in watching.requests) == 30 - 30 // PARTS
    assert fitted(clustered[::-1]) == found  # the same people are drawn
    monkeypatch.setattr(fitting, "MAX_SIGNALS", 4)
    assert fitted(clustered).choices == 80


def test_too_few_people_and_nobody_who_leans_are_not_tried():
    assert "not tried" in fitted(crowd(fitting.MINIMUM_PEOPLE - 1, 10, clusters=1)[0]).verified
    assert fitted([]) == Borrowing()
    once = [History(f"u{i}", [h.signals[0]]) for i, h in enumerate(crowd(20, 1, clusters=1)[0])]
    assert fitted(once).choices == 0  # nothing is known without the one choice

    class Nowhere(Words):
        def leaning(self, request):
            return {}

    assert fitted(crowd(20, 4, clusters=1)[0], Nowhere()).choices == 0


def test_without_a_population_there_is_nothing_to_compare():
    histories = crowd(20, 4, clusters=1)[0]
    assert fit(Words(), None, histories) == Borrowing()

    class Refuses(Words):
        def fit_population(self, tenant, histories):
            return None

    assert fit(Refuses(), Words().fit_population("t", histories), histories) == Borrowing()


def test_people_without_signals_and_with_the_same_prompt_over_and_over_are_no_trouble():
    same = [
        Preference(id=f"x-{i}", user_id="x", prompt="Which?", chosen=f"word0{i}", rejected="word09", at=NOON)
        for i in range(4)
    ]
    histories = [*crowd(12, 6, clusters=2)[0], History("empty", []), History("x", same)]
    assert fitted(histories).people == 13


def test_the_gain_must_be_surely_there(clustered, monkeypatch):
    found = fitted(clustered)
    monkeypatch.setattr(fitting, "MARGIN", 1.01 * found.gain / found.standard_error)
    assert fitted(clustered).strength == 0
    monkeypatch.setattr(fitting, "MARGIN", 0.99 * found.gain / found.standard_error)
    assert fitted(clustered).strength == found.strength
    assert MARGIN > 1.6


def test_no_fewer_choices_may_be_predicted_right(clustered, monkeypatch):
    verified = fitting._Trial.verified
    monkeypatch.setattr(fitting._Trial, "verified", lambda self: (*verified(self)[:2], -0.001))
    assert fitted(clustered).strength == 0


def test_the_standard_error_is_over_people_by_hand():
    """Two predictions of each of three people, who gained 1, 3 and 8 nats together: 2 a prediction, give or take."""
    mean, error = fitting._Trial._mean(np.array([1.0, 3.0, 8.0]), np.array([2.0, 2.0, 2.0]))
    assert mean == pytest.approx(2.0)
    assert error == pytest.approx(math.sqrt((9 + 1 + 16) * 3 / 2) / 6)


def test_what_must_be_agreed_on_is_verified_so(clustered):
    """Twenty people of each kind: what five of the lenders lean to is lent, and of more than there are nothing is."""
    found = fitted(clustered, agree=5)
    assert (found.agree, found.strength > 0) == (5, True)
    none = fitted(clustered, agree=31)
    assert (none.agree, none.strength) == (31, 0)


def test_no_more_than_chance_is_accepted_of_people_who_have_nothing_in_common():
    """A count that the tested person is part of would tell which way they chose: half of these would be accepted."""
    tried = [fitted(crowd(40, 8, clusters=0, seed=seed)[0], agree=agree) for seed in range(6) for agree in (1, 5)]
    assert sum(found.strength > 0 for found in tried) <= 2
