"""Signals in and out as JSON Lines."""

import io
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk import Personalizer, interchange
from persona_sdk.errors import InputError
from persona_sdk.interchange import Problem, read_jsonl, signal_from_row
from persona_sdk.signals import Preference, Rating, Utterance
from persona_sdk.testing.memory_strategies import signal_lists

PLAIN = {"prompt": "Why?", "chosen": "Because.", "rejected": "Hm."}


def turn(role, content):
    return {"role": role, "content": content}


def read(tmp_path, data, **about):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [item for _, item in read_jsonl(path, **{"tenant": "shop", "user_id": "ann", **about})]


def preference(row):
    signal = signal_from_row(row, tenant="shop", user_id="ann")
    assert isinstance(signal, Preference)
    return [(m.role, m.text) for m in signal.prompt], signal.chosen, signal.rejected


@pytest.fixture
def make(tmp_path):
    """Make personalizers, each on a file of its own."""
    made = []

    def one(name="one"):
        made.append(Personalizer(f"sqlite:///{tmp_path / name}.db", learning="manual"))
        return made[-1]

    yield one
    for personalizer in made:
        personalizer.close()


# TRL's rows


def test_plain_rows():
    assert preference(PLAIN) == ([("user", "Why?")], "Because.", "Hm.")
    assert preference({**PLAIN, "score_chosen": 9, "margin": 1.5})[1] == "Because."  # TRL's other columns are let be


def test_conversational_rows():
    row = {
        "prompt": [turn("system", "Be kind."), turn("user", "Why?")],
        "chosen": [turn("assistant", "Be"), turn("assistant", "cause.")],
        "rejected": turn("assistant", "Hm."),
    }
    assert preference(row) == ([("system", "Be kind."), ("user", "Why?")], "Be\ncause.", "Hm.")


def test_an_implicit_prompt_is_what_both_begin_with():
    both = [turn("user", "Why?"), turn("assistant", "What?"), turn("user", "That.")]
    row = {"chosen": [*both, turn("assistant", "Because.")], "rejected": [*both, turn("assistant", "Hm.")]}
    prompt, chosen, rejected = preference(row)
    assert prompt == [("user", "Why?"), ("assistant", "What?"), ("user", "That.")]
    assert (chosen, rejected) == ("Because.", "Hm.")


def test_an_implicit_prompt_of_text_ends_at_a_word():
    row = {"chosen": "Q: why? A: because", "rejected": "Q: why? A: beans"}
    assert preference(row) == ([("user", "Q: why? A: ")], "because", "beans")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"chosen": "yes", "rejected": "no"}, "prompt"),
        ({"chosen": "yes", "rejected": [turn("user", "yes")]}, "prompt"),
        ({"chosen": 5, "rejected": 6}, "prompt"),
        ({"chosen": [turn("user", "a")], "rejected": [turn("user", "b")]}, "prompt"),
        ({"chosen": [turn("user", "a")], "rejected": [turn("user", "a")]}, "chosen"),
        ({**PLAIN, "chosen": [turn("assistant", None)]}, "chosen"),
        ({**PLAIN, "rejected": ["Hm."]}, "rejected"),
        ({**PLAIN, "rejected": None}, "rejected"),
        ({**PLAIN, "prompt": 5}, "prompt"),
        ({**PLAIN, "user_id": 5}, "user_id"),
        ({"prompt": "Why?", "completion": "Hm.", "label": "true"}, "label"),
        ({"prompt": "Why?", "completion": "Hm.", "label": 1}, "label"),
        ({"completion": "Hm.", "label": True}, "prompt"),
        ({"kind": "opinion", "text": "x"}, "kind"),
    ],
)
def test_unusable_rows_name_the_field(row, field):
    with pytest.raises(InputError) as caught:
        signal_from_row(row, tenant="shop", user_id="ann")
    assert caught.value.field == field


@pytest.mark.parametrize("row", [[], "text", 5, None, {}, {"prompt": "Why?"}, {"chosen": "a"}, {"label": True}])
def test_what_is_no_row_is_refused(row):
    with pytest.raises(InputError):
        signal_from_row(row, tenant="shop", user_id="ann")


def test_kto_rows_are_ratings():
    for label, score in ((True, 1), (False, -1)):
        row = {"prompt": [turn("user", "Why?")], "completion": [turn("assistant", "Because.")], "label": label}
        signal = signal_from_row(row, tenant="shop", user_id="ann")
        assert isinstance(signal, Rating)
        assert (signal.prompt[0].text, signal.response, signal.score) == ("Why?", "Because.", score)


def test_whose_a_row_is():
    assert signal_from_row(PLAIN, tenant="shop", user_id="ann").user_id == "ann"
    assert signal_from_row({**PLAIN, "user_id": "bob"}, tenant="shop", user_id="ann").user_id == "bob"
    assert signal_from_row({**PLAIN, "user_id": None}, tenant="shop", user_id="ann").user_id == "ann"
    assert signal_from_row({**PLAIN, "tenant": "other"}, tenant="shop", user_id="ann").tenant == "shop"
    with pytest.raises(InputError, match="user_id: missing"):
        signal_from_row(PLAIN, tenant="shop")


def test_time_and_source_are_kept_and_the_id_is_the_rows_own():
    row = {**PLAIN, "id": 17, "at": "2026-05-01T12:00:00Z", "source": "survey", "response_id": "r1"}
    signal = signal_from_row(row, tenant="shop", user_id="ann")
    assert (signal.id, signal.source, signal.response_id, signal.at.year) == ("17", "survey", "r1", 2026)


def test_ids_come_from_the_content():
    def id_of(row, user="ann"):
        return signal_from_row(row, tenant="shop", user_id=user).id

    assert id_of(PLAIN) == id_of(dict(reversed(PLAIN.items())))
    assert id_of(PLAIN) == id_of({**PLAIN, "extra": 1})
    assert len({id_of(PLAIN), id_of({**PLAIN, "chosen": "Other."}), id_of(PLAIN, "bob")}) == 3
    own = {"kind": "utterance", "text": "Hello"}
    assert id_of(own) == id_of({"text": "Hello", "kind": "utterance"}) != id_of({**own, "text": "Bye"})


# Files


GOOD = json.dumps(PLAIN).encode()
BROKEN = {
    "not UTF-8 at byte 2": b'{"\xff": 1}',
    "not JSON at character 0": b"hello",
    "not JSON at character 3: Expecting": b"{ ",
    "neither a signal": b"{}",
    "a row must be a JSON object, this is list": b"[]",
    "a row must be a JSON object, this is int": b"5",
    "nested too deeply": b"[" * 100_000,
    "not JSON: a number has too many digits": b'{"id": ' + b"1" * 5_000 + b"}",
    "chosen: is empty": json.dumps({**PLAIN, "chosen": ""}).encode(),
    "chosen: is not valid Unicode": b'{"prompt": "Why?", "chosen": "\\ud800", "rejected": "Hm."}',
    "user_id: Input should be a valid string": json.dumps({**PLAIN, "user_id": {}}).encode(),
    "user_id: contains control characters": json.dumps({**PLAIN, "user_id": "a\n"}).encode(),
    "score: Input should be a finite number": b'{"kind": "rating", "prompt": "?", "response": "a", "score": NaN}',
    "at: is outside": json.dumps({**PLAIN, "at": "0001-01-01T00:00:00+14:00"}).encode(),
    "prompt.0": json.dumps({**PLAIN, "prompt": [1]}).encode(),
    "prompt: message 0 cannot be stored": json.dumps(
        {**PLAIN, "prompt": [turn("user", [{"type": "text", "text": "\ud800"}])]}
    ).encode(),
}


@pytest.mark.parametrize(("message", "line"), BROKEN.items(), ids=BROKEN)
def test_a_broken_line_is_reported_and_the_others_kept(tmp_path, make, message, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n\n" + line + b"\n" + GOOD.replace(b"Why", b"How") + b"\n")
    report = make().import_jsonl(path, user_id="ann")
    assert (report.read, report.new, len(report.problems)) == (2, 2, 1)
    problem = report.problems[0]
    assert problem.line == 3
    assert problem.message.startswith(message)


def test_an_overlong_line_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(interchange, "MAX_LINE", 200)
    fits = GOOD + b" " * (199 - len(GOOD)) + b"\n"
    assert len(fits) == interchange.MAX_LINE
    data = b"\n".join([GOOD, b"x" * 201, b"y" * 1000, GOOD]) + b"\n" + fits + b"z" * 500
    items = read(tmp_path, data)
    assert [isinstance(i, Problem) and i.line for i in items] == [False, 2, 3, False, False, 6]
    assert items[1].message == "longer than 200 bytes"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["lf", "crlf", "no end"])
def test_line_ends_and_a_byte_order_mark(tmp_path, end):
    (only,) = read(tmp_path, b"\xef\xbb\xbf" + GOOD + end)
    assert only.chosen == "Because."
    assert len(read(tmp_path, (end or b"\n").join([GOOD, b"", b" ", GOOD]))) == 2
    assert read(tmp_path, b"") == []


def test_what_cannot_be_opened(tmp_path, make):
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            make(path.name[:3]).import_jsonl(path)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=6))
def test_any_bytes_can_be_read(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "rows.jsonl"
    path.write_bytes(b"\n".join([*lines, GOOD]))
    items = [item for _, item in read_jsonl(path, tenant="shop", user_id="ann")]
    assert items[-1].chosen == "Because."
    assert all(isinstance(i, Problem) for i in items[:-1])
    numbers = [n for n, line in enumerate(lines, 1) if line.strip()]
    assert [i.line for i in items[:-1]] == numbers


# There and back


def exported(personalizer, **which):
    file = io.StringIO()
    personalizer.export_jsonl(file, **which)
    return file.getvalue()


def test_own_rows_come_back_exactly(tmp_path, make):
    here, there = make("here"), make("there")
    path, number = tmp_path / "out.jsonl", iter(range(10_000))

    @settings(max_examples=40, deadline=None)
    @given(signal_lists("someone"))
    def search(signals):
        user = f"user {next(number)}"
        given = [s.model_copy(update={"user_id": user}) for s in signals]
        here.observe(given)
        path.write_text(exported(here, user_id=user), encoding="utf-8", newline="")
        report = there.import_jsonl(path)
        assert (report.read, report.new, report.problems) == (len(given), len(given), [])
        assert there.signals(user) == here.signals(user) == given

    search()
    assert exported(there) == exported(here)


def test_importing_twice_changes_nothing(tmp_path, make):
    path, personalizer = tmp_path / "rows.jsonl", make()
    path.write_bytes(b"\n".join([GOOD, GOOD.replace(b"Why", b"How"), GOOD]))
    first, second = personalizer.import_jsonl(path, user_id="ann"), personalizer.import_jsonl(path, user_id="ann")
    assert (first.read, first.new) == (3, 2)  # a row that says the same is the same signal
    assert (second.read, second.new, second.problems) == (3, 0, [])
    assert len(personalizer.signals("ann")) == 2


def test_a_file_is_written_one_signal_a_line(make):
    personalizer = make()
    personalizer.said("ann", "line\u2028one\r\nline two")
    personalizer.said("bob", "other")
    lines = exported(personalizer).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["user_id"] for line in lines] == ["ann", "bob"]
    assert json.loads(exported(personalizer, user_id="bob"))["text"] == "other"
    assert exported(personalizer, user_id="nobody") == ""


def test_twenty_thousand_lines_of_which_every_hundredth_is_broken(tmp_path, make):
    path, seen = tmp_path / "rows.jsonl", []
    with path.open("w", encoding="utf-8") as file:
        for n in range(1, 20_001):
            row = {"kind": "utterance", "user_id": f"user {n % 50}", "text": f"I said {n}."}
            file.write((json.dumps(row) if n % 100 else "{broken") + "\n")
    personalizer = make()
    report = personalizer.import_jsonl(path, progress=seen.append)
    assert (report.read, report.new) == (19_800, 19_800)
    assert [p.line for p in report.problems] == list(range(100, 20_001, 100))
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= os.path.getsize(path)
    assert len(personalizer.users()) == 50
    assert personalizer.import_jsonl(path).new == 0


def test_a_signal_of_another_tenant_is_not_exported(make):
    personalizer = make()
    personalizer.for_tenant("other").observe([Utterance(user_id="ann", tenant="other", text="x")])
    assert exported(personalizer) == ""
