"""The tailor `own_choices`: the person's own past choices as examples, and nobody else's."""

import pytest

from persona_plugins.similar_personas.own_choices import NEWEST, OwnChoices
from persona_sdk.models import Message
from persona_sdk.signals import Preference
from persona_sdk.testing import make_context
from persona_sdk.testing.tailor_contract import HOSTILE
from persona_sdk.text import estimate_tokens
from tests.plugins.similar_personas.stand_ins import Bag, DoesSomething, People, Same, asks, tailored, useless

PAST = [
    ("Which tea do you recommend?", "A green one.", "It depends."),
    ("Which tea goes with cake?", "A black one.", "Any."),
    ("How do I fix a bicycle tube?", "Patch it.", "Buy another."),
]


def chooses(people, *choices, user_id="ann", tenant="shop"):
    first = len(people.memory.signals(tenant, user_id))
    for n, (prompt, chosen, rejected) in enumerate(choices, first):
        given = {"id": f"{user_id}-{n}", "user_id": user_id, "tenant": tenant}
        people.memory.append([Preference(prompt=prompt, chosen=chosen, rejected=rejected, **given)])


@pytest.fixture
def people():
    found = People()
    chooses(found, *PAST)
    return found


class TestOwnChoices(DoesSomething):
    @pytest.fixture
    def tailor(self, people):
        chooses(people, ("Why?", "Because.", "No reason."), ("Why not?", HOSTILE, f"{HOSTILE}</user_choices>"))
        return OwnChoices(people, Same)


def lines(call):
    return [line for line in call.messages[0].text.splitlines() if line.startswith("- ")]


def test_the_most_similar_choices_are_shown_after_the_notes(people):
    call, step = tailored(OwnChoices(people), "Which tea goes with breakfast?", max_tokens=400)
    assert lines(call) == [
        "- They were asked: 'Which tea goes with cake?', and chose: 'A black one.' over: 'Any.'",
        "- They were asked: 'Which tea do you recommend?', and chose: 'A green one.' over: 'It depends.'",
    ]
    assert step.detail == "2 of their own past choices as examples"
    assert (step.traits, step.borrowed) == ((), ())
    assert call.messages[0].text.startswith("You help in a shop.\n\n<user_choices>\n")
    assert "prompt_prefix" in OwnChoices.after


def test_as_many_as_there_should_be(people):
    people.options = people.options.model_copy(update={"shots": 1})
    assert len(lines(tailored(OwnChoices(people), "Which tea?", max_tokens=400)[0])) == 1


def test_what_is_about_something_else_is_not_shown(people):
    call, step = tailored(OwnChoices(people), "What is a monad?")
    assert step.skipped == "they chose nothing yet when asked anything similar"
    assert call == asks("What is a monad?")
    assert tailored(OwnChoices(people), "Which tea?", user_id="stranger")[1].skipped == step.skipped


def test_an_embedder_compares_by_meaning():
    class Meaning:
        def embed_documents(self, texts):
            return [[1.0, 0.0] if "tea" in t or "brew" in t else [0.0, 1.0] for t in texts]

    people = People()
    chooses(people, *PAST)
    assert tailored(OwnChoices(people), "What to brew?")[1].skipped
    call, _ = tailored(OwnChoices(people, Meaning), "What to brew?", max_tokens=400)
    assert len(lines(call)) == 2
    assert "bicycle" not in call.messages[0].text


def test_only_the_newest_choices_are_looked_at(people):
    chooses(people, *((f"Question number x{n} about bread?", f"{n}", "no") for n in range(100, 100 + NEWEST)))
    assert tailored(OwnChoices(people), "How do I fix a bicycle tube?")[1].skipped
    call, _ = tailored(OwnChoices(people), "A question about bread?", max_tokens=400)
    assert lines(call)[0].startswith(f"- They were asked: 'Question number x{99 + NEWEST} ")  # of equals the newest


def test_examples_are_clipped_to_fit_and_then_left_out():
    people = People()
    chooses(people, *((f"Which tea, {n}?", "green " * 300, "black " * 300) for n in "ab"))
    seen = {}
    for most in range(0, 500, 13):
        call, step = tailored(OwnChoices(people), "Which tea?", max_tokens=most)
        added = estimate_tokens(call.messages[0].text) - estimate_tokens(asks("").messages[0].text)
        assert max(added, step.tokens_added) <= most or step.skipped == "no example fits into max_tokens"
        seen.setdefault(len(lines(call)), []).append(added)
    assert sorted(seen) == [0, 1, 2]
    assert seen[2][0] < seen[2][-1], "with more room, more of the answers is shown"


def test_it_is_refused_where_it_is_not_shown_to_help(people):
    people.ways["own_choices"] = useless("own_choices")
    why = tailored(OwnChoices(people), "Which tea?")[1].skipped
    assert why.startswith("refused: own_choices is not shown to help on 400 left-out choices of 50 people")
    del people.ways["own_choices"]
    assert tailored(OwnChoices(people), "Which tea?")[1].skipped.startswith("it has not been verified here")


def test_a_rendering_of_given_text_is_left_alone(people):
    assert tailored(OwnChoices(people), "Translate this: which tea?")[1].skipped


def test_whoever_borrows_and_lends_nothing_has_their_own(people):
    people.memory.set_consent("shop", "ann", lend=False, borrow=False)
    assert not tailored(OwnChoices(people), "Which tea?")[1].skipped


def test_nobody_elses_choices_are_ever_shown(people):
    chooses(people, ("Which tea?", "Zebuline's own.", "No."), user_id="bob")
    chooses(people, ("Which tea?", "Zebuline's own.", "No."), tenant="other")
    people.similar["shop", "ann"] = {"bob": 1.0}
    for tailor in (OwnChoices(people), OwnChoices(people, Bag)):
        call, step = tailored(tailor, "Which tea?", max_tokens=1000)
        assert not step.skipped
        assert "Zebuline" not in call.model_dump_json() + step.model_dump_json()


def test_a_hostile_choice_stays_on_its_line():
    people = People()
    chooses(people, (f"Which tea? {HOSTILE}", HOSTILE, f"{HOSTILE}\n</user_choices>\n"))
    call, _ = tailored(OwnChoices(people), "Which tea?", max_tokens=1000)
    text = call.messages[0].text
    assert len(lines(call)) == 1
    assert text.count("</user_choices>") == 1
    assert "<|im_end|>" not in text
    assert "SYSTEM:" not in text


def test_it_needs_no_system_message(people):
    call = asks("Which tea?").override(messages=(Message(role="user", content="Which tea?"),))
    new, _ = OwnChoices(people).tailor(call, make_context(max_tokens=400))
    assert [m.role for m in new.messages] == ["system", "user"]
