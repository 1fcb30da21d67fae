"""Rows: where the prefix stands, what TRL is given, and whose signals are in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from persona_sdk.models import Message
from persona_sdk.testing.memory_strategies import texts
from persona_sdk.tuning.rows import Example, Origin, Prefix, Row, digest, trl_rows
from tests.support.taught import example

TALK = tuple(
    Message(role=role, content=said)
    for role, said in [("user", "First?"), ("assistant", "Yes."), ("user", "Second?"), ("tool", "42")]
)
NOTES = Prefix(kind="persona", text="<user_notes>", origins=(Origin(user_id="bob", signals=("b1",), persona=3),))
FORMS = ("preference", "kto", "sft")


def said(row, system=""):
    return [(m["role"], m["content"]) for m in row.conversation(system)]


def test_an_example_has_an_answer():
    with pytest.raises(ValidationError, match="neither a chosen nor a rejected answer"):
        Example(id="1", origin=Origin(user_id="ann"), prompt=TALK)
    assert not example(rejected=None).is_pair
    assert example(chosen=None).rejected == "Hm."


def test_the_question_is_the_last_thing_the_person_said():
    assert example(prompt=TALK).question == "Second?"
    assert example(prompt=TALK[1:2]).question == ""


def test_the_prefix_stands_behind_the_system_message():
    ours = (Message(role="system", content="Be kind."), *TALK)
    row = Row(example=example(prompt=ours), prefix=NOTES)
    assert said(row)[0] == said(row, "Not this.")[0] == ("system", "Be kind.\n\n<user_notes>")
    assert said(row)[1:] == [(m.role, m.text) for m in TALK]
    assert row.example.prompt == ours


def test_without_a_system_message_one_is_put_in_front():
    row, plain = Row(example=example(), prefix=NOTES), Row(example=example())
    assert said(row) == [("system", "<user_notes>"), ("user", "Why?")]
    assert said(row, "Be kind.")[0] == ("system", "Be kind.\n\n<user_notes>")
    assert said(plain, "Be kind.") == [("system", "Be kind."), ("user", "Why?")]
    assert said(plain) == [("user", "Why?")]


def test_a_row_remembers_everybody_in_it():
    row = Row(example=example(), prefix=NOTES)
    assert row.origins == (row.example.origin, *NOTES.origins)
    twice = Prefix(kind="pair", text="x", origins=(row.example.origin,))
    assert Row(example=row.example, prefix=twice).origins == (row.example.origin,)


def test_preference_rows_have_both_answers():
    rows = [
        Row(example=example(), prefix=NOTES),
        Row(example=example(rejected=None)),
        Row(example=example(chosen=None)),
    ]
    assert trl_rows(rows, "preference", system="Be kind.") == [
        {
            "id": "ann/Why?/0",
            "prompt": [{"role": "system", "content": "Be kind.\n\n<user_notes>"}, {"role": "user", "content": "Why?"}],
            "chosen": [{"role": "assistant", "content": "Because."}],
            "rejected": [{"role": "assistant", "content": "Hm."}],
        }
    ]


def test_kto_rows_are_one_for_each_answer_there_is():
    rows = [Row(example=example()), Row(example=example(rejected=None)), Row(example=example(chosen=None))]
    made = trl_rows(rows, "kto")
    assert [(r["completion"][0]["content"], r["label"]) for r in made] == [
        ("Because.", True), ("Hm.", False), ("Because.", True), ("Hm.", False),
    ]  # fmt: skip


def test_sft_rows_teach_what_was_chosen():
    made = trl_rows([Row(example=example(rejected=None)), Row(example=example(chosen=None))], "sft")
    assert [(sorted(r), r["completion"]) for r in made] == [
        (["completion", "id", "prompt"], [{"role": "assistant", "content": "Because."}])
    ]


def test_plain_text_names_the_turns():
    row = Row(example=example(prompt=TALK), prefix=NOTES)
    made = trl_rows([row], "preference", template="plain", system="Be kind.")[0]
    assert made["prompt"].startswith(
        "Be kind.\n\n<user_notes>\n\nUser: First?\n\nAssistant: Yes.\n\nUser: Second?\n\ntool: 42\n\nAssistant:"
    )
    # What a model reads is the same however prompt and answer share the space between them.
    assert (made["prompt"] + made["chosen"]).endswith("\n\nAssistant: Because.")
    assert (made["prompt"] + made["rejected"]).endswith("\n\nAssistant: Hm.")


@given(st.lists(st.tuples(texts(30), texts(30), st.none() | texts(30), texts(30)), max_size=4))
def test_any_text_is_written_and_read_back(made):
    rows = [
        Row(example=example(question=q, chosen=c, rejected=r, number=n, id=str(n)), prefix=Prefix(kind="tag", text=p))
        for n, (q, c, r, p) in enumerate(made)
    ]
    for form in FORMS:
        for template in ("chat", "plain"):
            found = trl_rows(rows, form, template=template)
            assert json.loads(json.dumps(found)) == found
            assert len(found) == sum(
                {"preference": r is not None, "kto": 1 + (r is not None), "sft": 1}[form] for _, _, r, _ in made
            )
    asked = [m[-1]["content"] for m in (r["prompt"] for r in trl_rows(rows, "sft"))]
    assert asked == [q for q, *_ in made]


def test_the_digest_changes_with_the_rows_and_their_order():
    rows = [Row(example=example()), Row(example=example("bob"))]
    kinds = [rows, rows[::-1], rows[:1], [], [rows[0], rows[1].model_copy(update={"prefix": NOTES})]]
    assert len({digest(r) for r in kinds}) == 5
    assert digest(rows) == digest([Row.model_validate_json(r.model_dump_json()) for r in rows])
    assert len(digest(rows)) == 16
