"""The plugin in an app: people come in kinds, and a newcomer of one kind gets what that kind prefers."""

import random

import pytest

from persona_sdk import Personalizer
from persona_sdk.errors import SettingsError
from tests.support.clusters import WORDS, Words, choices, crowd
from tests.support.people import InCode

TAILORS = ("prompt_prefix", "cold_start")


def app(url, **settings):
    given = {"tailors": TAILORS, "similar": "similar_personas", "index": "exact", "learning": "manual", **settings}
    return Personalizer(url, plugins=[InCode(inferrer=Words())], inferrer="words", time_budget=30, **given)


@pytest.fixture(scope="module")
def town():
    """Sixty people of three kinds, and what each kind likes."""
    return crowd(60, 10, clusters=3)


def settled(url, town, **settings):
    """Return an app that knows the town, and has verified what may be borrowed."""
    histories, _ = town
    p = app(url, **settings)
    p.observe(signal for history in histories for signal in history.signals)
    p.refit()
    p.learn_pending()
    assert p._similar().flush(60)
    return p


@pytest.fixture
def p(tmp_path, town):
    with settled(f"sqlite:///{tmp_path / 'p.db'}", town) as personalizer:
        yield personalizer


def newcomer(p, weights, name="new", count=2):
    p.observe(choices(name, weights, count, random.Random(5)))
    p.learn_pending()
    assert p._similar().flush(60)
    return name


def answers_for(weights):
    """Two answers: of words this kind likes, and of words it does not; the second is the better one."""
    liked = sorted(w for w in WORDS if weights[w] > 0)
    return [" ".join(w for w in WORDS if w not in liked), " ".join(liked)]


def test_what_may_be_borrowed_is_verified_with_a_refit(p, town):
    status = p.index_status()
    assert "better" in status.verified["borrowing"]
    assert "own_choices" in status.verified["own_choices"]
    assert "similar_prompt" not in status.verified
    assert p.neighbours("u000")
    assert (p.index_status().people, p.index_status().expected) == (60, 60)


def test_neighbours_are_of_the_same_kind(p, town):
    same = [int(one.user_id[1:]) % 3 == int(user[1:]) % 3 for user in town[1] for one in p.neighbours(user, 5)]
    assert sum(same) / len(same) > 0.6  # by chance it would be a third


def test_a_newcomer_gets_what_their_kind_prefers(p, town):
    _, weights = town
    user = newcomer(p, weights["u001"])
    answers = answers_for(weights["u001"])
    tailored = p.tailor(user, "Which one?", n=2)
    (step,) = tailored.steps
    assert (step.tailor, step.skipped) == ("cold_start", "")
    assert "30 similar people" in step.detail or "similar people" in step.detail
    assert p.choose(tailored, answers) == 1
    assert p.choose(tailored, answers[::-1]) == 0
    low, high = p.score(user, "Which one?", answers)
    assert high > low
    assert p.persona(user).version == 0  # nothing of it is known of them
    assert p._memory.leaning("default", user).weights.keys() <= {
        f"w:{word}" for s in p.signals(user) for word in f"{s.chosen} {s.rejected}".split()
    }


def test_whoever_said_nothing_gets_what_everybody_gets(p, town):
    _, weights = town
    tailored = p.tailor("stranger", "Which one?", n=2)
    assert [step.skipped for step in tailored.steps] == ["nobody similar is known yet"]
    assert p.choose(tailored, answers_for(weights["u000"])) == 0
    assert p.score("stranger", "Which one?", answers_for(weights["u000"])) == []


def test_less_is_borrowed_the_more_is_known_of_a_person(p, town):
    _, weights = town

    def step(count):
        newcomer(p, weights["u001"], name=f"new{count}", count=count)
        return float(p.tailor(f"new{count}", "Which?").steps[-1].detail.partition("strength ")[2].partition(";")[0])

    assert step(1) > step(4) > step(16)


@pytest.mark.parametrize("refusal", [{"borrow": False}, {}])
def test_who_does_not_borrow_is_lent_nothing(tmp_path, town, refusal):
    _, weights = town
    options = {} if refusal else {"similar_personas": {"no_borrowing": ["default"]}}
    with settled(f"sqlite:///{tmp_path / 'q.db'}", town, options=options) as p:
        user = newcomer(p, weights["u001"])
        p.share(user, **refusal)
        tailored = p.tailor(user, "Which one?", n=2)
        assert "does not borrow" in tailored.steps[0].skipped
        assert p.choose(tailored, answers_for(weights["u001"])) == 0
        assert p.neighbours(user)


def test_the_forgotten_lend_nothing_from_the_next_call_on(p, town):
    _, weights = town
    user = newcomer(p, weights["u001"])
    kind = [u for u in weights if int(u[1:]) % 3 == 1]
    for other in kind[:10]:
        p.forget(other)
    for other in kind[10:]:
        p.share(other, lend=False)
    assert not {one.user_id for one in p.neighbours(user, 60)} & set(kind)
    step = p.tailor(user, "Which one?", n=2).steps[0]
    assert "similar people are known yet" in step.skipped or "nothing" in step.skipped or "similar" in step.detail
    assert set(kind[:10]).isdisjoint(p.users())


def test_in_the_background_all_of_it_happens_by_itself(tmp_path, town):
    histories, weights = town
    with app(f"sqlite:///{tmp_path / 'b.db'}", learning="background") as p:
        p.observe(signal for history in histories for signal in history.signals)
        assert p.flush(60)
        p.refit()
        assert p._similar().flush(60)
        p.observe(choices("new", weights["u001"], 2, random.Random(5)))
        assert p.flush(60)
        assert p._similar().flush(60)
        assert p.index_status().people == 61
        assert {int(one.user_id[1:]) % 3 for one in p.neighbours("new", 5)} == {1}


@pytest.mark.parametrize("tailor", ["cold_start", "similar_people", "similar_prompt", "own_choices"])
def test_a_tailor_says_what_it_needs(tmp_path, tailor):
    with pytest.raises(SettingsError, match=f"{tailor}.*similar_personas"):
        app(f"sqlite:///{tmp_path / 'p.db'}", similar=None, tailors=(tailor,))


def test_people_who_do_not_lend_are_not_studied(tmp_path, town):
    histories, _ = town
    with app(f"sqlite:///{tmp_path / 'p.db'}") as p:
        p.observe(signal for history in histories for signal in history.signals)
        for history in histories[10:]:
            p.share(history.user_id, lend=False)
        p.refit()
        assert "100 left-out choices of 10 people" in p.index_status().verified["borrowing"]


def test_what_was_verified_of_another_population_does_not_count(p, town):
    """Killed between a refit and its verification, nothing is lent until that was done again."""
    population = p._memory.population("default", "words")
    p._memory.save_population(population.model_copy(update={"fingerprint": "another"}))
    p._similar()._kept.clear()
    user = newcomer(p, town[1]["u001"])
    assert "not been verified" in p.tailor(user, "Which one?").steps[0].skipped
    assert p.neighbours(user)
    p.rebuild_index()
    assert p.tailor(user, "Which one?").steps[0].skipped == ""


def test_a_chat_does_not_wait_for_an_index_to_be_opened(tmp_path, town):
    url = f"sqlite:///{tmp_path / 'p.db'}"
    with settled(url, town) as p:
        user = newcomer(p, town[1]["u001"])
    with app(url) as p:
        assert p.tailor(user, "Which one?").steps[0].skipped == "the index is being opened"
        assert p._similar().flush(60)
        assert p.tailor(user, "Which one?").steps[0].skipped == ""
