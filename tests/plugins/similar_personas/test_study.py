"""Similar people among given histories: who they are, and what they add to what is predicted of somebody new."""

import math
import random

import pytest

from persona_plugins.similar_personas.blending import added, borrowed, similarity
from persona_plugins.similar_personas.leanings import Leanings
from persona_plugins.similar_personas.study import LeaningStudy
from persona_sdk.inference import InferenceRequest
from persona_sdk.signals import choices_of
from tests.support.clusters import Words, choices, crowd


class Setting:
    """People, what they like, and the study of them."""

    def __init__(self, clusters, seed=0):
        self.histories, self.likes = crowd(60, 10, clusters=clusters, seed=seed)
        self.inferrer = Words()
        self.population = self.inferrer.fit_population("t", self.histories)
        self.study = LeaningStudy(self.inferrer, self.population, self.histories)

    def request(self, user, signals):
        return InferenceRequest("t", user, signals, self.population)

    def newcomers(self, known, count=300):
        """Predict another choice of new people who have made a few: log losses, without borrowing and with."""
        rng = random.Random(99)
        own = borrowed = 0.0
        for i in range(count):
            signals = choices("new", self.likes[f"u{i % 60:03d}"], known + 1, rng)
            request, asked = self.request("new", signals[:known]), choices_of(signals[known:])
            (p,), (z,) = self.inferrer.predict(request, asked), self.study.adds(request, asked)
            own -= math.log(p) / count
            borrowed += math.log1p(math.exp(-(math.log(p / (1 - p)) + z))) / count
        return own, borrowed


@pytest.fixture(scope="module")
def clustered():
    return Setting(clusters=3)


@pytest.fixture(scope="module")
def independent():
    return Setting(clusters=0)


@pytest.mark.parametrize("known", [1, 2])
def test_newcomers_are_predicted_better_where_people_come_in_kinds(clustered, known):
    own, with_others = clustered.newcomers(known)
    assert with_others < own - 0.03


@pytest.mark.parametrize("known", [1, 8])
def test_where_people_are_each_on_their_own_nothing_at_all_changes(independent, known):
    assert independent.study.borrowing.strength == 0
    own, with_others = independent.newcomers(known, 40)
    assert with_others == pytest.approx(own, abs=1e-12)
    asked = choices_of(independent.histories[0].signals)
    assert independent.study.adds(independent.request("new", independent.histories[1].signals), asked) == [0.0] * 10


def test_the_most_similar_are_of_ones_own_kind(clustered):
    rng = random.Random(5)
    alike = []
    for i in range(30):
        signals = choices("new", clustered.likes[f"u{i:03d}"], 8, rng)
        found = clustered.study.neighbours(clustered.request("new", signals))
        assert len(found) == 60
        assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)
        assert found[-1].similarity < 0
        assert clustered.study.neighbours(clustered.request("new", signals), 4) == found[:4]
        alike.extend(int(n.user_id[1:]) % 3 == i % 3 for n in found[:10])
    assert sum(alike) / len(alike) > 0.6  # a third would be by chance


def test_nobody_is_their_own_neighbour_or_lender(clustered):
    history = clustered.histories[0]
    mine, strangers = clustered.request("u000", history.signals), clustered.request("new", history.signals)
    assert "u000" not in {n.user_id for n in clustered.study.neighbours(mine)}
    first = clustered.study.neighbours(strangers)[0]
    assert (first.user_id, first.similarity) == ("u000", pytest.approx(1.0, abs=1e-6))
    asked = choices_of(history.signals)
    assert clustered.study.adds(mine, asked) != clustered.study.adds(strangers, asked)


def test_what_is_added_is_what_the_method_says(clustered):
    signals, asked = clustered.histories[4].signals[:3], choices_of(clustered.histories[4].signals[3:])
    request = clustered.request("u004", signals)
    leaning = clustered.inferrer.leaning
    others = [leaning(clustered.request(h.user_id, h.signals)) for h in clustered.histories if h.user_id != "u004"]
    rule = clustered.study.borrowing
    lenders = [(similarity(leaning(request), other, rule.groups), other) for other in others]
    weights = borrowed(lenders, rule, 3)
    expected = [added(weights, row) for row in clustered.inferrer.contrast(None, asked)]
    assert clustered.study.adds(request, asked) == pytest.approx(expected, abs=1e-5)
    assert any(abs(z) > 0.1 for z in expected)


def test_of_whom_nothing_is_known_nobody_is_similar(clustered):
    asked = choices_of(clustered.histories[0].signals)
    empty = clustered.request("new", ())
    assert clustered.study.neighbours(empty) == []
    assert clustered.study.adds(empty, asked) == [0.0] * 10
    assert clustered.study.adds(clustered.request("new", clustered.histories[0].signals), []) == []


def test_a_study_of_nobody_has_no_neighbours():
    empty = LeaningStudy(Words(), None, [])
    request = InferenceRequest("t", "new", crowd(1, 2, clusters=1)[0][0].signals)
    assert empty.neighbours(request) == []
    assert empty.adds(request, choices_of(request.signals)) == [0.0, 0.0]
    assert "not tried" in empty.verified


def test_people_are_compared_by_the_groups_that_were_chosen():
    histories, _ = crowd(60, 10, clusters=3)
    inferrer = Words(noise=5.0)
    population = inferrer.fit_population("t", histories)
    found = LeaningStudy(inferrer, population, histories)
    assert found.borrowing.groups == {"w"}
    request = InferenceRequest("t", "u000", histories[0].signals, population)
    other = inferrer.leaning(InferenceRequest("t", "u003", histories[3].signals, population))
    (similar,) = (n.similarity for n in found.neighbours(request) if n.user_id == "u003")
    assert similar == pytest.approx(similarity(inferrer.leaning(request), other, frozenset("w")), abs=1e-6)
    assert similar != pytest.approx(similarity(inferrer.leaning(request), other, frozenset("sw")), abs=0.01)


def test_what_nobody_else_leans_to_makes_one_less_like_anybody():
    others = Leanings({"a": {"w:x": 2.0}, "b": {"s:x": 1.0}})
    assert others.cosines({"w:x": 3.0, "w:new": 4.0, "s:new": 9.0}, frozenset("w")).tolist() == pytest.approx(
        [0.6, 0.0]
    )
