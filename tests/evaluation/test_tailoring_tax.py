"""What tailoring costs on neutral prompts: files in, changes by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation.tailoring import Arm, Setup, arms_of
from persona_sdk.evaluation.tailoring_tax import Neutral, evaluate_tax, read_neutral_rows
from persona_sdk.language import LogLikelihood
from persona_sdk.memory import person_key
from persona_sdk.models import Message
from persona_sdk.tuning.prefixes import Knowledge


def key(user):
    return person_key("default", user)


def neutral(prompt, good, bad=None):
    return Neutral((Message(role="user", content=prompt),), good, bad)


class Led:
    """Finds "good" answers 1 nat likelier a token than bad ones; the prefix takes 1.5 away where it says "contrary"."""

    def __init__(self, less=0.0):
        self.less, self.asked = less, []

    def log_likelihoods(self, asked):
        return [self._one(messages, answer) for messages, answer in asked]

    def _one(self, messages, answer):
        self.asked.append((json.dumps(messages), answer))
        contrary = any(m["role"] == "system" and "contrary" in m["content"] for m in messages)
        mean = -2.0 + ("good" in answer) * (1.0 - 1.5 * contrary) - self.less
        tokens = len(answer)
        return LogLikelihood(mean * tokens, tokens)


PEOPLE = Knowledge(gold={"ann": ("Is contrary.",), "bob": ("Is kind.",)})
PROMPTS = [neutral("Is it?", "a good one", "a bad one"), neutral("Was it?", "good")]


def test_changes_are_counted_from_the_first_model_without_a_prefix():
    base, tuned = Led(), Led(less=0.25)
    report = evaluate_tax(PROMPTS, ["ann", "bob", "cy"], PEOPLE, arms_of({"base": base, "tuned": tuned}, ["gold"]))
    assert (report.prompts, report.pairs, report.reference) == (2, 1, "base/none")
    assert (report.accuracy, report.nats) == (1.0, pytest.approx(-1.0))
    assert list(report.arms) == ["base/gold", "tuned/none", "tuned/gold"]
    untold, told = report.arms["tuned/none"], report.arms["tuned/gold"]
    assert list(untold.people) == [""]
    assert (untold.nats.value, untold.worst_nats) == (pytest.approx(-0.25), pytest.approx(-0.25))
    assert untold.accuracy.value == 0.0
    assert told.people[key("ann")].nats == pytest.approx(-1.75)
    assert told.people[key("ann")].accuracy == -1.0
    assert told.people[key("bob")].nats == pytest.approx(-0.25)
    assert [told.people[key(u)].prefixed for u in ("ann", "bob", "cy")] == [1.0, 1.0, 0.0]
    assert told.nats.value == pytest.approx((-1.75 - 0.25 - 0.25) / 3)
    assert told.accuracy.value == pytest.approx(-1 / 3)
    assert (told.worst_nats, told.worst_accuracy) == (pytest.approx(-1.75), -1.0)
    assert len(base.asked) == len(set(base.asked)) == 3 * 3  # three answers, untold and told of two people
    said = report.as_dict()
    assert json.loads(json.dumps(said, allow_nan=False))["arms"]["tuned/gold"]["worst_accuracy"] == -1.0


def test_without_bad_answers_there_is_no_accuracy():
    report = evaluate_tax(PROMPTS[1:], ["ann"], PEOPLE, arms_of({"base": Led()}, ["gold"]))
    assert (report.pairs, report.accuracy) == (0, None)
    told = report.arms["base/gold"]
    assert (told.accuracy.value, told.worst_accuracy) == (None, None)
    assert told.nats.value == pytest.approx(-1.5)


def test_the_system_message_is_said_and_work_is_counted():
    model, shares = Led(), []
    evaluate_tax(PROMPTS, [], PEOPLE, [Arm("base", model)], Setup(system="Be brief."), progress=shares.append)
    assert all(json.loads(said)[0]["content"] == "Be brief." for said, _ in model.asked)
    assert shares == [1.0]


def test_what_cannot_be_measured_is_refused():
    arms = arms_of({"base": Led()}, ["gold"])
    for prompts, people, given_arms, said in (
        ([], ["ann"], arms, "holds no prompt"),
        (PROMPTS, [], arms, "names nobody"),
        (PROMPTS, ["ann"], arms[1:], "first must be"),
        (PROMPTS, ["ann"], [], "first must be"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate_tax(prompts, people, PEOPLE, given_arms)
    with pytest.raises(ModelError, match="no number"):
        evaluate_tax(PROMPTS, [], PEOPLE, [Arm("base", Led(less=float("nan")))])


# Reading


def read(tmp_path, *lines):
    path = tmp_path / "neutral.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return read_neutral_rows(path)


def test_rows_are_read_by_any_of_their_names(tmp_path):
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    rows, problems = read(
        tmp_path,
        {"prompt": "Why?", "chosen": "a", "rejected": "b"},
        {"prompt": "Why?", "good": "a", "bad": "b", "topic": "x"},
        b"",
        {"prompt": "Why?", "answer": "a"},
        {"prompt": conversation, "answer": [{"role": "assistant", "content": "a"}]},
    )
    assert problems == []
    assert rows[:3] == [neutral("Why?", "a", "b"), neutral("Why?", "a", "b"), neutral("Why?", "a")]
    assert [m.role for m in rows[3].prompt] == ["system", "user"]
    assert (rows[3].good, rows[3].bad) == ("a", None)


def test_bad_lines_are_problems_with_their_numbers(tmp_path):
    bad = [
        b"{not json", b"[1]", b"\xff", b"[" * 100_000, {"prompt": "Why?"}, {"answer": "a"},
        {"prompt": "Why?", "good": "a"}, {"prompt": "", "answer": "a"},
    ]  # fmt: skip
    rows, problems = read(tmp_path, *bad, {"prompt": "Why?", "answer": "a"})
    assert [p.line for p in problems] == list(range(1, 9)), problems
    assert len(rows) == 1
    with pytest.raises(InputError, match="cannot be read"):
        read_neutral_rows(tmp_path / "none.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["prompt", "chosen", "rejected", "good", "bad", "answer", "completion"]), JSON))
def test_whatever_is_in_a_row_it_is_a_row_or_a_problem(tmp_path_factory, row):
    rows, problems = read(tmp_path_factory.mktemp("any"), row)
    assert len(rows) + len(problems) == 1
