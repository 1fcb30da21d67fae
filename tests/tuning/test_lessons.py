"""What is measured was read by nobody: not by the model, nor by a persona, nor by the population behind it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk.memory import person_key
from persona_sdk.models import Message
from persona_sdk.signals import Preference
from persona_sdk.testing import FakeMemory
from persona_sdk.tuning.cards import Base, Card, lineage
from persona_sdk.tuning.lessons import Teaching, asked_anew, lessons
from persona_sdk.tuning.prefixes import PrefixOptions
from tests.support.reading import Reads, choices, histories, people, readers

KINDS = ("persona", "few_shot", "few_shot_both", "retrieved", "shuffled", "shuffled:few_shot", "tag", "none")
WIDE = PrefixOptions(max_tokens=4000)


def teaching(kind="persona", **more):
    return Teaching(prefix=kind, options=WIDE, **more)


def signals(rows):
    """Whose signals are in the examples of rows."""
    return {signal for row in rows for signal in row.example.origin.signals}


def read_by(rows):
    """Every signal that is in rows, those of their prefixes among them."""
    return {signal for row in rows for origin in row.origins for signal in origin.signals}


def users(rows):
    return {row.example.user_id for row in rows}


def card_of(rows, name="shared"):
    return Card(name=name, base=Base(name="b", sha256="b"), people=lineage(rows))


def remembered(source, *, not_lending=()):
    memory = FakeMemory()
    for history in source:
        memory.append(history.signals)
    for user in not_lending:
        memory.set_consent("default", user, lend=False)
    return memory


# The lessons of a run


@settings(max_examples=60)
@given(source=readers(), kind=st.sampled_from(KINDS), seed=st.integers(0, 3), memory=st.booleans())
def test_nothing_that_is_measured_was_read(source, kind, seed, memory):
    inferrer = Reads()
    made = lessons(remembered(source) if memory else source, inferrer, teaching(kind, seed=seed))
    asked = signals([*made.held_out, *made.validation, *made.test])
    assert not asked & signals(made.train)
    assert not asked & read_by(made.train)
    for rows in (made.held_out, made.validation, made.test):
        prefixes = {s for row in rows for origin in row.prefix.origins for s in origin.signals}
        assert not asked & prefixes
    assert not asked & set().union(*inferrer.persons.values(), *inferrer.population.values())
    assert set().union(*inferrer.population.values()) <= signals(made.train)


@settings(max_examples=60)
@given(source=readers(), kind=st.sampled_from(KINDS), seed=st.integers(0, 3))
def test_whoever_is_not_trained_on_is_not_in_what_is_trained_on(source, kind, seed):
    made = lessons(source, Reads(), teaching(kind, seed=seed))
    trained = users(made.train)
    assert {origin.user_id for row in made.train for origin in row.origins} <= trained
    assert not users(made.test) & trained
    assert users(made.held_out) <= trained


def test_everybody_is_there_once_and_known_by_the_right_part():
    inferrer = Reads()
    made = lessons(people(10), inferrer, teaching())
    assert len(users(made.test)) == 2
    assert len(users(made.validation)) == 1
    assert len(users(made.train)) == 7
    assert users(made.held_out) == users(made.train)
    assert all(row.prefix.text for row in (*made.train, *made.held_out, *made.validation, *made.test))
    for user in users(made.train):
        mine = signals(row for row in made.train if row.example.user_id == user)
        assert inferrer.persons[user] == inferrer.population[user] == mine
        assert len(mine) == 6
    for user in users(made.test):
        assert len(inferrer.persons[user]) == 4
        assert user not in inferrer.population
    assert sum(len(rows) for rows in (made.train, made.held_out, made.validation, made.test)) == 80 - 3 * 4


def test_whoever_does_not_lend_teaches_their_own_adapter_only():
    memory = remembered(people(8), not_lending=["user1"])
    inferrer = Reads()
    made = lessons(memory, inferrer, teaching("shuffled"))
    everything = [*made.train, *made.held_out, *made.validation, *made.test]
    assert "user1" not in users(everything) | {o.user_id for row in everything for o in row.origins}
    assert "user1" not in {*inferrer.persons, *inferrer.population}
    own = lessons(memory, inferrer, teaching(test=0.0), own="user1")
    assert {o.user_id for row in own.train for o in row.origins} == {"user1"}
    assert signals(own.train)
    assert signals(own.held_out)


def test_a_cluster_is_taught_by_its_people_only():
    made = lessons(people(8), Reads(), teaching("shuffled"), users=["user1", "user2", "user3", "nobody"])
    everything = [*made.train, *made.held_out, *made.validation, *made.test]
    assert {o.user_id for row in everything for o in row.origins} == {"user1", "user2", "user3"}


def test_untaught_prefixes_are_not_measured_with_either():
    made = lessons(people(6), Reads(), teaching(training="none"))
    assert {row.prefix.kind for row in (*made.train, *made.held_out, *made.test)} == {"none"}


# Asked anew, by what stands on cards


@settings(max_examples=60)
@given(
    source=readers(),
    kind=st.sampled_from(KINDS),
    trained=st.sampled_from(KINDS),
    later=st.dictionaries(st.sampled_from(["user0", "user1", "new"]), st.lists(st.integers(10, 14), max_size=5)),
)
def test_no_choice_on_a_card_is_asked_anew(source, kind, trained, later):
    taught = lessons(source, Reads(), teaching(trained))
    cards = [card_of(taught.train[::2], "one"), card_of([*taught.train[1::2], *taught.validation], "two")]
    memory = remembered(source)
    for user, asked in later.items():
        memory.append([s.model_copy(update={"id": f"later:{s.id}"}) for s in choices(user, asked)])
    inferrer = Reads()
    found = asked_anew(memory, inferrer, cards, teaching(kind))
    rows = [row for theirs in found.values() for row in theirs]
    asked = signals(rows)
    assert not asked & read_by([*taught.train, *taught.validation])
    assert not asked & {s for row in rows for origin in row.prefix.origins for s in origin.signals}
    assert not asked & set().union(*inferrer.persons.values(), *inferrer.population.values())
    assert all(row.example.is_pair for row in rows)
    assert {user: {row.example.user_id for row in theirs} for user, theirs in found.items()} == {u: {u} for u in found}


def test_of_those_trained_on_all_the_rest_is_asked_and_of_others_a_half():
    source = people(10)
    taught = lessons(source, Reads(), teaching())
    inferrer = Reads()
    found = asked_anew(source, inferrer, [card_of(taught.train)], teaching())
    for user in users(taught.train):
        assert signals(found[user]) == signals(row for row in taught.held_out if row.example.user_id == user)
        assert inferrer.persons[user] == signals(row for row in taught.train if row.example.user_id == user)
    for user in users([*taught.test, *taught.validation]):
        assert len(found[user]) == 4
        assert len(inferrer.persons[user]) == 4
    assert set(inferrer.population) == {history.user_id for history in source}
    nothing = asked_anew(source, Reads(), [card_of([*taught.train, *taught.held_out])], teaching())
    assert set(nothing) == users([*taught.test, *taught.validation])


def test_a_choice_that_came_later_is_asked_and_so_is_one_with_a_read_thumb_in_it_not():
    memory = remembered(histories(ann=[4, 1, 2, 3], bob=[1, 2]))
    taught = lessons(memory, Reads(), teaching(test=0.0, validation=0.0, held_out=0.0))
    assert "ann:0" in signals(taught.train)
    again = {"user_id": "ann", "prompt": "Is the sky number 4 blue?"}
    (one,) = [signal for signal in choices("ann", [4]) if signal.id == "ann:0"]
    memory.append([one.model_copy(update={"id": "no", "response": "No.", "score": -1})])  # now ann:0 and no are a pair
    memory.append([Preference(id="new", **again, chosen="Blue.", rejected="Red.")])
    found = asked_anew(memory, Reads(), [card_of(taught.train)], teaching())
    assert {user: signals(rows) for user, rows in found.items()} == {"ann": {"new"}}


def test_ids_that_two_people_share_are_told_apart():
    both = [
        Preference(id=str(n), user_id=user, prompt=f"Number {n}?", chosen="Yes.", rejected="No.")
        for user in ("ann", "bob")
        for n in range(4)
    ]
    memory = FakeMemory()
    memory.append(both)
    taught = lessons(memory, Reads(), teaching(test=0.0, validation=0.0, held_out=0.0), users=["ann"])
    found = asked_anew(memory, Reads(), [card_of(taught.train)], teaching())
    assert {user: len(rows) for user, rows in found.items()} == {"bob": 2}
    assert {one.key for one in card_of(taught.train).people} == {person_key("default", "ann")}


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_does_not_lend_is_asked_and_is_in_nothing_of_others(kind):
    memory = remembered(people(8), not_lending=["user1", "user2"])
    inferrer = Reads()
    found = asked_anew(memory, inferrer, [], teaching(kind))
    assert {"user1", "user2"} < set(found)
    assert set(inferrer.population) == set(found) - {"user1", "user2"}
    for user, rows in found.items():
        whose = {origin.user_id for row in rows for origin in row.origins}
        assert not whose & ({"user1", "user2"} - {user})


def test_nobody_lends():
    memory = remembered(people(2), not_lending=["user0", "user1"])
    inferrer = Reads()
    assert set(asked_anew(memory, inferrer, [], teaching())) == {"user0", "user1"}
    assert inferrer.population == {}


def test_each_kind_of_prefix_is_put_in_front_of_the_same_choices():
    source = people(6)
    kinds = [teaching(kind) for kind in ("persona", "none", "few_shot")]
    personas, nothing, shots = (asked_anew(source, Reads(), [], kind) for kind in kinds)
    for user in personas:
        asked = [row.example for row in personas[user]]
        assert asked == [row.example for row in nothing[user]] == [row.example for row in shots[user]]
        assert {row.prefix.kind for row in shots[user]} == {"few_shot"}
        assert all(row.prefix.text for row in shots[user])
        assert {row.prefix.text for row in nothing[user]} == {""}


def test_another_tenants_people_are_not_asked():
    memory = remembered(people(3))
    memory.append([s.model_copy(update={"tenant": "shop", "user_id": "eve"}) for s in choices("eve", range(8))])
    assert set(asked_anew(memory, Reads(), [], teaching(), tenant="shop")) == {"eve"}
    (row, *_) = asked_anew(memory, Reads(), [], teaching(), tenant="shop")["eve"]
    assert row.example.origin.tenant == "shop"
    assert row.example.prompt == (Message(role="user", content=row.example.question),)
