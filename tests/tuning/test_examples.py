"""From signals to examples: which are pairs, which stand alone, what is asked, and whose they may be."""

import json

import pytest
from hypothesis import given

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import InputError
from persona_sdk.models import Message
from persona_sdk.signals import Edit, Preference, Rating, Regeneration, Utterance, choices_of
from persona_sdk.testing.memory_strategies import signal_lists
from persona_sdk.tuning.examples import examples_from_jsonl, examples_from_memory, examples_of

TALK = tuple(
    Message(role=role, content=said)
    for role, said in [("system", "Be kind."), ("user", "First?"), ("assistant", "Yes."), ("user", "Second?")]
)


def rated(id_, response, score, prompt="Why?"):
    return Rating(id=id_, user_id="ann", prompt=prompt, response=response, score=score)


def read(*signals):
    return [(e.chosen, e.rejected, e.certainty) for e in examples_of("default", "ann", signals)]


@pytest.fixture
def memory(tmp_path):
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    yield memory
    memory.close()


def likes(memory, user, *answers, tenant="default"):
    who = {"user_id": user, "tenant": tenant, "prompt": "Why?", "rejected": "Hm."}
    memory.append([Preference(id=f"{n}", chosen=answer, **who) for n, answer in enumerate(answers)])


def test_choices_become_pairs_with_their_whole_conversation():
    who = {"user_id": "ann", "prompt": TALK}
    found = examples_of(
        "acme",
        "ann",
        [
            Preference(id="p", chosen="A", rejected="B", **who),
            Utterance(id="u", user_id="ann", text="Short, please."),
            Edit(id="e", original="D", edited="C", **who),
            Regeneration(id="g", response="F", kept="E", **who),
            Regeneration(id="h", response="F", **who),
        ],
    )
    assert [(e.chosen, e.rejected, e.certainty) for e in found] == [("A", "B", 1.0), ("C", "D", 1.0), ("E", "F", 0.5)]
    assert all(e.prompt == TALK and e.question == "Second?" and e.is_pair for e in found)
    assert [e.origin.signals for e in found] == [("p",), ("e",), ("g",)]
    assert {(e.origin.tenant, e.user_id, e.origin.persona) for e in found} == {("acme", "ann", 0)}


def test_a_rating_alone_is_half_an_example():
    assert read(rated("1", "A", 0.5)) == [("A", None, 0.5)]
    assert read(rated("1", "A", -1)) == [(None, "A", 1.0)]
    assert read(rated("1", "A", 0)) == []


def test_ratings_of_one_conversation_are_paired_and_the_rest_stands_alone():
    found = examples_of(
        "default", "ann", [rated("1", "A", 1), rated("2", "C", 1, "When?"), rated("3", "B", -1), rated("4", "D", -1)]
    )
    assert [(e.chosen, e.rejected) for e in found] == [("C", None), ("A", "B"), (None, "D")]
    assert [e.origin.signals for e in found] == [("2",), ("1", "3"), ("4",)]


def test_an_answer_to_another_question_is_not_taught_as_the_better_one():
    signals = [rated("1", "A", 1, "When?"), rated("2", "B", -1)]
    assert len(choices_of(signals)) == 1
    assert read(*signals) == [("A", None, 1.0), (None, "B", 1.0)]
    assert read(rated("1", "A", 1, "When?"), rated("2", "B", 0)) == [("A", None, 1.0)]
    same_last_words = [rated("1", "A", 1, TALK), rated("2", "B", -1, TALK[:1] + TALK[3:])]
    assert read(*same_last_words) == [("A", None, 1.0), (None, "B", 1.0)]


def test_what_an_app_says_in_front_does_not_part_conversations():
    later = (Message(role="system", content="It is noon."), *TALK[1:])
    assert read(rated("1", "A", 1, TALK), rated("2", "B", -1, later)) == [("A", "B", 1.0)]


def test_a_signal_counts_once_and_the_first_of_an_id_holds():
    first = Preference(id="1", user_id="ann", prompt="Why?", chosen="A", rejected="B")
    assert read(first, first.model_copy(update={"chosen": "C"})) == [("A", "B", 1.0)]
    assert read(rated("1", "A", 1), rated("1", "A", 1)) == [("A", None, 1.0)]


def test_ids_are_those_of_one_person_and_tell_nothing():
    one = Preference(id="of-mr-miller", user_id="ann", prompt="Why?", chosen="A", rejected="B")
    ids = {examples_of(tenant, user, [one])[0].id for tenant in ("a", "b") for user in ("ann", "bob")}
    assert len(ids) == 4
    assert not any("miller" in id_ for id_ in ids)
    assert examples_of("a", "ann", [one]) == examples_of("a", "ann", [one])


@given(signal_lists("ann"))
def test_any_signals_are_read_once_each_and_in_order(signals):
    found = examples_of("default", "ann", signals)
    ids = [s.id for s in signals]
    places = [ids.index(e.origin.signals[-1]) for e in found]
    assert places == sorted(set(places))
    used = [signal for e in found for signal in e.origin.signals]
    assert len(used) == len(set(used))
    assert all(0 < e.certainty <= 1 and e.chosen != e.rejected for e in found)
    scored = {s.id for s in signals if isinstance(s, Rating) and s.score}
    assert scored <= set(used)  # what was judged is not lost
    ratings = {s.id for s in signals if isinstance(s, Rating)}
    others = [s for s in signals if s.id not in ratings]
    assert [(c.chosen, c.rejected) for c in choices_of(others)] == [
        (e.chosen, e.rejected) for e in found if e.origin.signals[-1] not in ratings
    ]


# Memory and consent


def test_whoever_does_not_lend_teaches_nobody_but_their_own_adapter(memory):
    likes(memory, "ann", "A"), likes(memory, "bob", "B"), likes(memory, "cleo", "C", tenant="other")
    memory.set_consent("default", "bob", lend=False)
    assert [e.chosen for e in examples_from_memory(memory, "default")] == ["A"]
    assert [e.chosen for e in examples_from_memory(memory, "default", ["bob", "ann", "bob", "stranger"])] == ["A"]
    assert [e.chosen for e in examples_from_memory(memory, "default", ["bob"], own="bob")] == ["B"]
    assert [e.chosen for e in examples_from_memory(memory, "default", ["bob"], own="ann")] == []
    memory.set_consent("default", "bob", lend=True, borrow=False)
    assert {e.chosen for e in examples_from_memory(memory, "default")} == {"A", "B"}


def test_nothing_is_left_of_whoever_is_forgotten(memory):
    likes(memory, "ann", "A"), likes(memory, "bob", "B")
    memory.forget("default", "ann")
    assert [e.user_id for e in examples_from_memory(memory, "default")] == ["bob"]


# Files


def test_a_file_of_rows_is_read_by_person_and_broken_lines_are_named(tmp_path):
    rows = [
        {"user_id": "ann", "prompt": "Why?", "chosen": "A", "rejected": "B"},
        {"user_id": "bob", "prompt": "Why?", "completion": "C", "label": False},
        {"prompt": "What?", "chosen": "D", "rejected": "E"},
        {"user_id": "cleo", "prompt": "Why?", "chosen": "secret", "rejected": "F"},
        {"user_id": "ann", "prompt": "Why?", "chosen": "A", "rejected": "B"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([*map(json.dumps, rows), "{"]), "utf-8")
    found, problems = examples_from_jsonl(file, tenant="t", user_id="ann", lends=lambda user: user != "cleo")
    assert [(e.user_id, e.chosen, e.rejected) for e in found] == [
        ("ann", "A", "B"), ("ann", "D", "E"), ("bob", None, "C"),
    ]  # fmt: skip
    assert {e.origin.tenant for e in found} == {"t"}
    assert [(p.line, "secret" in p.message) for p in problems] == [(6, False)]
    assert [p.line for p in examples_from_jsonl(file)[1]] == [3, 6]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        examples_from_jsonl(tmp_path / "nowhere.jsonl")


def test_rows_are_the_same_from_memory_and_from_its_file(memory, tmp_path):
    likes(memory, "ann", "A", "B")
    file = tmp_path / "out.jsonl"
    file.write_text("\n".join(s.signal.model_dump_json() for s in memory.signals("default", "ann")), "utf-8")
    found = examples_from_memory(memory, "default")
    assert len(found) == 2
    assert examples_from_jsonl(file)[0] == found
