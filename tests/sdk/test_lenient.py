"""The tolerant parser: it finds what the schema accepts, makes nothing up, and never raises."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from persona_sdk.lenient import problems, read

SECRET = "what Ann said in confidence"


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int = Field(ge=-90, le=60)


words = st.text(max_size=30)
prose = st.lists(words | st.sampled_from("{ } [ ] \" ' ``` , : “ ” \\ <think> {'a': [1, null".split()), max_size=8).map(
    " ".join
)
weathers = st.builds(Weather, place=st.text(st.characters(exclude_categories=["Cs"])), degrees=st.integers(-90, 60))


@given(text=prose | st.text())
@example("[" * 100_000)
@example("{'a':" * 5000)
@example('{"place": "\\ud800", "degrees": 1,}')
@example('{"place": "x", "degrees": ' + "9" * 5000 + "}")
def test_the_parser_never_raises_and_returns_what_the_schema_accepts(text):
    found = read(text, Weather)
    assert found is None or Weather.model_validate_json(found.model_dump_json()) == found
    assert SECRET not in problems(text + SECRET, Weather)


@given(weather=weathers, before=prose, after=prose, indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_valid_json_in_prose_is_found(weather, before, after, indent, ascii_only):
    dumped = json.dumps(weather.model_dump(), indent=indent, ensure_ascii=ascii_only)
    assert read(f"{before}\n{dumped}\n{after}", Weather) == weather


@given(weather=weathers, cut=st.integers(1, 200))
def test_what_was_cut_off_is_the_same_or_nothing(weather, cut):
    dumped = json.dumps(weather.model_dump())
    assert read(dumped[:-cut], Weather) in (None, weather)


@given(weather=weathers)
def test_python_literals_are_read(weather):
    assert read(f"answer = {weather.model_dump()!r}", Weather) == weather


class Rating(BaseModel):
    score: int
    sure: bool = True
    notes: list[str] = []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 4, "sure": fal', None),  # the default would be a lie
        ('{"score": 4', None),  # or 42?
        ('{"score": 4, "notes": ["a", "b", "c', Rating(score=4, notes=["a", "b"])),
        ("{'score': 4, 'sure': False, 'notes': ['it's', None,]}", None),
        ("{'score': 4, 'sure': False, 'notes': ['it's',]}", Rating(score=4, sure=False, notes=["it's"])),
        ('{"result": {"score": 4}}', Rating(score=4)),
        ('[{"score": 4}]', Rating(score=4)),
        ('[{"score": 4}, {"score": 5}]', None),  # which one?
        ('Like {"score": 1}? No: {"score": 4}', Rating(score=4)),
        ('```json\n{"score": 4}\n```\nnot {"score": 1}', Rating(score=4)),
        ('{"score": NaN}', None),
        ('{"score": 4, "notes": ["a\nb"]}', Rating(score=4, notes=["a\nb"])),
        ("__import__('os').system('true')", None),
        ("{score: 4}", Rating(score=4)),
        ("", None),
    ],
)
def test_what_is_forgiven_and_what_is_not(text, expected):
    assert read(text, Rating) == expected


@pytest.mark.parametrize("unit", ["{", "[", '{"', "['", "```{", "{}"])
def test_a_megabyte_of_garbage_is_soon_given_up(unit):
    for text in ((unit * 1_000_000)[:1_000_000], "\n" * 900_000 + (unit * 100_000)[:100_000]):
        begin = time.monotonic()
        assert read(text, Weather) is None
        assert time.monotonic() - begin < 5  # it is less than one; without bounds it would be minutes


def test_problems_name_fields_of_the_schema_only():
    class Table(BaseModel):
        rows: dict[str, int]

    told = problems(json.dumps({"rows": {SECRET: "many"}}), Table)
    assert told == "rows.?: int_parsing"
