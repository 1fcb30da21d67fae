"""Past choices and similar prompts are verified on left-out choices: planted effects are found, and nothing else is."""

import math
import random

import pytest

from persona_plugins.similar_personas import verifying
from persona_plugins.similar_personas.closeness import by_meaning, by_words
from persona_plugins.similar_personas.verifying import Way, verify_own_choices, verify_similar_prompt
from persona_sdk.inference import History
from persona_sdk.signals import Preference
from tests.plugins.similar_personas.stand_ins import Bag, Counting

TOPICS = ("tea", "bread", "bicycles", "monads", "rivers", "kettles")


def people(count, choices, taste, *, seed=0, noise=0.1):
    """People who take the answer with the word that `taste(person, topic)` names, or either if it names none."""
    rng = random.Random(seed)
    histories = []
    for p in range(count):
        signals = []
        for n in range(choices):
            topic = TOPICS[n % len(TOPICS)] if choices >= len(TOPICS) else rng.choice(TOPICS)
            word, other = "crisp", "mellow"
            wanted = taste(p, topic)
            if wanted == other or (wanted is None and rng.random() < 0.5):
                word, other = other, word
            if rng.random() < noise:
                word, other = other, word
            answers = {"chosen": f"{word} it is.", "rejected": f"{other} it is."}
            prompt = f"Something about {topic}, number x{p}y{n}?"
            signals.append(Preference(id=f"{p}-{n}", user_id=f"p{p}", prompt=prompt, **answers))
        histories.append(History(f"p{p}", signals))
    return histories


def own_taste(p, topic):
    """Everyone has their own taste in each topic: only one's own choices about the same topic tell."""
    return random.Random(f"{p}{topic}").choice(["crisp", "mellow"])


def shared_taste(p, topic):
    """All have the same taste in a topic."""
    return random.Random(topic).choice(["crisp", "mellow"])


def no_taste(p, topic):
    return None


def by_topic():
    class Topic:
        def embed_documents(self, texts):
            return [[float(topic in text) for topic in TOPICS] for text in texts]

    return by_meaning(Topic())


def test_own_choices_help_where_people_choose_as_before():
    found = verify_own_choices(Counting(), None, people(30, 18, own_taste), by_words())
    assert found.helps
    assert (found.choices, found.people) == (540, 30)
    assert found.gain > 0.1
    assert found.verified.startswith("own_choices predicts 540 left-out choices of 30 people better: +0.")


@pytest.mark.parametrize("seed", range(4))
def test_own_choices_do_not_help_where_people_choose_at_random(seed):
    found = verify_own_choices(Counting(), None, people(30, 12, no_taste, seed=seed), by_words())
    assert not found.helps
    assert found.choices == 360
    assert "is not shown to help" in found.verified


def test_what_was_chosen_for_the_very_same_prompt_gives_nothing_away():
    """Each choice was made twice, at random: seeing its double would predict it perfectly."""
    doubled = [
        History(h.user_id, [s for one in h.signals for s in (one, one.model_copy(update={"id": f"{one.id}b"}))])
        for h in people(30, 8, no_taste)
    ]
    assert not verify_own_choices(Counting(), None, doubled, by_topic()).helps


def test_one_loud_person_is_no_proof():
    """The gain is large but of few people, of whom one makes most choices: the error is over people."""
    crowd = [*people(8, 5, no_taste, seed=3), *people(1, 24, own_taste)]
    crowd[-1] = History("loud", [s.model_copy(update={"user_id": "loud"}) for s in crowd[-1].signals])
    assert not verify_own_choices(Counting(), None, crowd, by_topic()).helps


def test_similar_prompts_help_where_a_topic_has_one_taste():
    found = verify_similar_prompt(Counting(), None, people(60, 1, shared_taste), by_topic())
    assert found.helps
    assert found.people == 60


@pytest.mark.parametrize("seed", range(4))
def test_similar_prompts_do_not_help_where_everyone_has_their_own(seed):
    assert not verify_similar_prompt(Counting(), None, people(40, 2, no_taste, seed=seed), by_topic()).helps


def test_nobody_is_their_own_most_similar_person():
    """One's own choice is in one's own leaning: it would predict itself."""
    asked = []

    class Noting(Counting):
        def leaning(self, request):
            asked.append(request.user_id)
            return super().leaning(request)

    class Own:
        def embed_documents(self, texts):
            return [[float(f"x{p}y" in text) for p in range(6)] for text in texts]

    found = verify_similar_prompt(Noting(), None, people(6, 6, no_taste), by_meaning(Own()))
    assert asked == []  # nobody else asked anything similar
    assert found.choices == 0


def test_too_few_people_or_choices_are_not_tried():
    few = verify_own_choices(Counting(), None, people(4, 18, own_taste), by_words())
    assert few == Way("own_choices")
    assert not few.helps
    assert few.verified == "own_choices was not tried: too few people whose choices can be compared"
    assert verify_own_choices(Counting(), None, people(30, 3, own_taste), by_topic()).choices == 0
    assert verify_similar_prompt(Counting(), None, [], by_topic()) == Way("similar_prompt")


@pytest.mark.parametrize(
    ("limit", "value", "tested"),
    [("MAX_PEOPLE", 20, (20, 240)), ("MAX_CHOICES", 100, (8, 96)), ("MAX_OF_ONE", 8, (40, 320))],
)
def test_of_many_some_are_drawn_the_same_ones_in_any_order(monkeypatch, limit, value, tested):
    monkeypatch.setattr(verifying, limit, value)
    crowd = people(40, 12, own_taste)
    found = verify_own_choices(Counting(), None, crowd, by_topic())
    assert (found.people, found.choices) == tested
    shuffled = random.Random(1).sample(crowd, len(crowd))
    assert found == verify_own_choices(Counting(), None, shuffled, by_topic())


def test_as_many_past_choices_are_looked_at_as_would_be_shown():
    crowd = people(30, 18, own_taste, noise=0.3)
    gains = [verify_own_choices(Counting(), None, crowd, by_topic(), shots).gain for shots in (1, 2, 9)]
    assert gains[0] < gains[1]  # two choices about the same topic tell more than one
    assert gains[1] == gains[2]  # there are no more than two


def test_a_way_survives_being_kept():
    way = Way("own_choices", 10, 5, 0.5, 0.1)
    assert Way.from_data(way.to_data()) == way


@pytest.mark.parametrize(("gain", "helps"), [(0.02, True), (0.016, False), (-0.02, False)])
def test_a_gain_that_chance_may_give_is_none(gain, helps):
    assert Way("own_choices", 10, 5, gain, 0.01).helps == helps


def test_how_close_prompts_are():
    alike = by_words().matrix(["Which green tea?", "Which black tea?", "Fix a bicycle tube", "", "tea " * 9999])
    assert alike[0, 0] == pytest.approx(1.0)
    assert alike[0, 1] > 0.1
    assert alike[0, 2] == alike[0, 3] == alike[3, 3] == 0
    assert by_meaning(Bag()).matrix(["Which tea?", "Which bread?"])[0, 1] == 0
    assert by_words().matrix([]).shape == by_meaning(Bag()).matrix([]).shape == (0, 0)


def test_prompts_that_are_hardly_alike_have_nothing_to_do_with_each_other():
    class Angles:
        def embed_documents(self, texts):
            return [[math.cos(float(text)), math.sin(float(text))] for text in texts]

    alike = by_meaning(Angles()).matrix(["0", str(math.acos(0.29)), str(math.acos(0.31))])
    assert alike[0].tolist() == [1.0, 0.0, 0.31]
