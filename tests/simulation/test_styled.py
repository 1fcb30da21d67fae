"""Made-up people take the answer written in their style, and those who are told nothing can only guess."""

import statistics

from persona_sdk.simulation.planted import TOPICS, TRAITS
from persona_sdk.simulation.styled import styled_people, write_styled


def test_the_same_seed_makes_the_same_people():
    first, again, other = ([c.chosen for p in styled_people(4, 5, seed=s) for c in p.choices] for s in (1, 1, 2))
    assert first == again != other


def test_they_take_the_answer_in_their_style_as_often_as_promised():
    own = []
    for person in styled_people(16, 100, noise=0.1, seed=3):
        for choice in person.choices:
            topic = next(i for i, (question, *_) in enumerate(TOPICS) if question == choice.prompt[-1].text)
            styles = {write_styled(topic, trait): trait for trait in TRAITS}
            taken, left = styles[choice.chosen], styles[choice.rejected]
            assert (taken == person.trait) != (left == person.trait)
            own.append(taken == person.trait)
    assert 0.88 < statistics.mean(own) < 0.92


def test_they_are_asked_about_the_topics_named():
    asked = {choice.prompt[-1].text for one in styled_people(8, 20, topics=range(20, 30)) for choice in one.choices}
    assert asked == {question for question, *_ in TOPICS[20:30]}


def test_an_answer_is_written_in_its_style():
    assert (
        write_styled(0, "plain") == "Boil equal parts of vinegar and water. Leave it for half an hour. Rinse it twice."
    )
    assert write_styled(0, "short") == "Boil equal parts of vinegar and water."
    assert write_styled(0, "list").splitlines()[1:] == ["- Leave it for half an hour", "- Rinse it twice"]
    assert write_styled(1, "formal").startswith("It is advisable to put the pot where it gets sun.")
    assert len({write_styled(topic, trait) for topic in range(30) for trait in TRAITS}) == 240
