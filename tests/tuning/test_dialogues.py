"""Dialogues as examples: the real path as prompt, and broken lines that cost no other line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.errors import InputError
from persona_sdk.interchange import Problem
from persona_sdk.testing.memory_strategies import texts
from persona_sdk.tuning.dialogues import dialogue_from_row, read_dialogues, turn_examples
from persona_sdk.tuning.rows import Row, trl_rows
from persona_sdk.tuning.splits import by_person

SECRET = "what Ann said in confidence"


def turn(n, chosen="preferred", **more):
    return {"user": f"u{n}", "preferred": f"p{n}", "rejected": f"r{n}", "chosen": chosen, **more}


def row(*turns, **more):
    return {"profile": ["Has a dog."], "personality": ["Is shy."], "turns": list(turns), **more}


def said(example):
    return [m.text for m in example.prompt]


def test_each_turn_is_asked_on_the_path_the_dialogue_took():
    dialogue = dialogue_from_row(row(turn(1), turn(2, "rejected"), turn(3), user_id="ann", id="d1"), tenant="t")
    found = turn_examples(dialogue)
    assert [said(e) for e in found] == [["u1"], ["u1", "p1", "u2"], ["u1", "p1", "u2", "r2", "u3"]]
    assert [m.role for m in found[2].prompt] == ["user", "assistant", "user", "assistant", "user"]
    assert [(e.chosen, e.rejected) for e in found] == [("p1", "r1"), ("p2", "r2"), ("p3", "r3")]
    assert [e.question for e in found] == ["u1", "u2", "u3"]
    assert {(e.origin.tenant, e.user_id) for e in found} == {("t", "ann")}
    assert [e.origin.signals for e in found] == [("d1:1",), ("d1:2",), ("d1:3",)]
    assert len({e.id for e in found}) == 3


def test_as_sft_rows_they_are_every_prefix_of_the_dialogue():
    found = turn_examples(dialogue_from_row(row(turn(1), turn(2))))
    rows = trl_rows([Row(example=e) for e in found], "sft")
    assert [len(r["prompt"]) for r in rows] == [1, 3]
    assert [r["completion"][0]["content"] for r in rows] == ["p1", "p2"]


def test_one_persona_is_one_person_and_two_are_two():
    first, second = dialogue_from_row(row(turn(1))), dialogue_from_row(row(turn(2)))
    other = dialogue_from_row(row(turn(1), personality="Is loud."))
    assert first.user_id == second.user_id != other.user_id
    assert first.id != second.id
    assert len(by_person([e for d in (first, second, other) for e in turn_examples(d)])) == 2
    nameless = [dialogue_from_row({"turns": [turn(n)]}) for n in (1, 2)]
    assert nameless[0].user_id != nameless[1].user_id


def test_fields_are_taken_in_the_forms_they_come_in():
    inferred = {"inferred_profile": "Has a pet.", "inferred_personality": ["Is shy.", "Is kind."], "score": 5}
    dialogue = dialogue_from_row(row(turn(1, **inferred), turn(2, chosen="r2"), turn(3, chosen=None), model="x"))
    assert dialogue.turns[0].inferred_profile == ("Has a pet.",)
    assert dialogue.turns[0].inferred_personality == ("Is shy.", "Is kind.")
    assert [t.went_on_from for t in dialogue.turns] == ["p1", "r2", "p3"]
    assert dialogue_from_row(row(turn(1), profile="Has a dog.")).user_id == dialogue_from_row(row(turn(1))).user_id


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (row(), "turns"),
        (row(turns=5), "turns"),
        ({"profile": SECRET}, "turns"),
        (row(turn(1), turn(2, preferred=" ")), "turns.1.preferred"),
        (row(turn(1, user=None)), "turns.0.user"),
        (row(turn(1, user=SECRET + "\ud800")), "turns.0.user"),
        (row(turn(1, chosen=SECRET)), "turns.0.chosen"),
        (row(turn(1, preferred=SECRET, rejected=SECRET)), "turns.0"),
        (row(SECRET), "turns.0"),
        (row(turn(1), user_id="a\nb"), "user_id"),
        (row(turn(1), id=5), "id"),
        (row(turn(1), profile=[5]), "profile.0"),
        ([SECRET], None),
        (None, None),
    ],
    ids=repr,
)
def test_what_is_no_dialogue_is_refused_by_field_and_never_quoted(broken, field):
    with pytest.raises(InputError) as caught:
        dialogue_from_row(broken)
    assert caught.value.field == field
    assert SECRET not in str(caught.value)


def test_a_broken_line_costs_no_other_line(tmp_path):
    file = tmp_path / "dialogues.jsonl"
    good = json.dumps(row(turn(1)), ensure_ascii=False).encode()
    bad = [b"{", b"\xff", b"[1]", json.dumps(row(turn(1, user=""))).encode(), b"9" * 5000, b"[" * 100_000]
    file.write_bytes(b"\n".join([b"\xef\xbb\xbf" + good, b"", *bad, good]))
    found = list(read_dialogues(file, tenant="t"))
    problems = [f for f in found if isinstance(f, Problem)]
    assert [p.line for p in problems] == [3, 4, 5, 6, 7, 8]
    assert "turns.0.user" in problems[3].message
    assert [f.tenant for f in found if not isinstance(f, Problem)] == ["t", "t"]
    with pytest.raises(InputError, match="nowhere"):
        list(read_dialogues(tmp_path / "nowhere"))


answers = st.tuples(texts(20), texts(20), st.booleans()).filter(lambda t: t[0] != t[1])


@given(st.lists(st.tuples(texts(20), answers), min_size=1, max_size=5))
def test_any_text_survives_the_way_into_a_prompt(made):
    turns = [
        {"user": user, "preferred": p, "rejected": r, "chosen": "preferred" if liked else "rejected"}
        for user, (p, r, liked) in made
    ]
    found = turn_examples(dialogue_from_row(json.loads(json.dumps(row(*turns)))))
    path = [text for user, (p, r, liked) in made for text in (user, p if liked else r)]
    assert [said(e) for e in found] == [path[: 2 * n + 1] for n in range(len(made))]


FIELDS = st.sampled_from(["id", "user_id", "profile", "turns", "user", "preferred", "rejected", "chosen"])
SIMPLE = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5)))
def test_reading_raises_nothing_else(data):
    try:
        dialogue_from_row(data)
    except InputError as error:
        assert str(error)  # noqa: PT017 - whether it raises is not the point
