"""Made-up people choose by the trait they were given, and by nothing else."""

import statistics

from persona_sdk.simulation.planted import TRAITS, people, write_answer


def style_of(answer):
    return {
        "long": len(answer.split()) > 22,
        "warm": "delighted" in answer or "honour" in answer or "love" in answer or "happy" in answer,
        "list": "\n- " in answer,
    }


def test_the_same_seed_makes_the_same_people():
    assert people(4, seed=1) != people(4, seed=2)
    first, again = ([c.chosen for p in people(4, seed=1) for c in p.choices] for _ in range(2))
    assert first == again


def test_people_choose_by_their_trait_as_often_as_promised():
    shares = []
    for person in people(16, 200, noise=0.1, seed=5):
        dimension, liked, _ = TRAITS[person.trait]
        if dimension not in ("warm", "list"):
            continue
        pairs = [(style_of(c.chosen)[dimension], style_of(c.rejected)[dimension]) for c in person.choices]
        differ = [chosen == liked for chosen, rejected in pairs if chosen != rejected]
        assert 0.6 < len(differ) / len(pairs) < 0.9
        shares.append(statistics.mean(differ))
    assert len(shares) == 8
    assert 0.87 < statistics.mean(shares) < 0.93


def test_fewer_topics_make_fewer_answers():
    texts = {text for p in people(8, 60, topics=2) for c in p.choices for text in (c.chosen, c.rejected)}
    assert len(texts) <= 2 * 16
    assert all(c.chosen != c.rejected for p in people(8, 60) for c in p.choices)


def test_an_answer_is_written_in_its_style():
    plain = {"long": False, "warm": False, "formal": False, "list": False}
    assert write_answer(0, plain) == "OK so, here's the deal. Boil equal parts of vinegar and water."
    assert write_answer(0, {**plain, "list": True, "formal": True}) == (
        "It is advisable to proceed as follows.\n- Boil equal parts of vinegar and water"
    )
