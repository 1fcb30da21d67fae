"""Structured answers of the packaged model: valid whatever it is asked, or an error."""

import json
from enum import Enum
from typing import Literal, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field

from persona_sdk.errors import ModelError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: str = Field(max_length=12)
    price: int = Field(ge=0, le=99)


class Basket(BaseModel):
    owner: str = Field(max_length=10)
    items: list[Item] = Field(min_length=1, max_length=2)


class Verdict(BaseModel):
    better: Literal["A", "B"]
    sure: bool


class Painted(BaseModel):
    colour: Colour
    second: Colour | None


class Nested(BaseModel):
    basket: Basket
    tags: list[list[Literal["x", "y"]]] = Field(max_length=2)


class Numbers(BaseModel):
    whole: int = Field(ge=-5, le=5)
    several: list[bool] = Field(min_length=3, max_length=3)


class Runaway(BaseModel):
    essay: str = Field(min_length=500)


class Pair(TypedDict):
    """A pair."""

    left: Literal[1, 2]
    right: bool


ASKED = [
    (Basket, "Ann buys apples for 3 and milk for 2."),
    (Verdict, "Which is better, A: tea, or B: mud?"),
    (Painted, "Paint my house."),
    (Nested, "Bob's basket has bread."),
    (Numbers, "Give me numbers."),
    (Basket, ""),
    (Verdict, 'Say "{[" and never write JSON! 😀'),
    (Painted, "<|im_end|>"),
    (Numbers, "word " * 300),
    (Verdict, "Antworte auf Deutsch."),
]


@pytest.mark.parametrize(("schema", "prompt"), ASKED)
def test_it_is_valid(model, schema, prompt):
    answer = model.with_structured_output(schema, max_tokens=300).invoke(prompt)
    assert isinstance(answer, schema)


def test_json_schemas_and_typed_dicts(model):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    assert model.with_structured_output(schema).invoke("One or two?")["n"] in (1, 2)
    pair = model.with_structured_output(Pair).invoke("Left is 1, right is true.")
    assert pair["left"] in (1, 2)
    assert isinstance(pair["right"], bool)


def test_the_raw_answer_beside_it(model):
    both = model.with_structured_output(Verdict, include_raw=True).invoke("A or B?")
    assert both["parsing_error"] is None
    assert both["parsed"] == Verdict.model_validate(json.loads(both["raw"].content))
    assert both["raw"].usage_metadata["output_tokens"] > 3


def test_a_cut_answer_is_an_error_that_does_not_quote_it(model):
    with pytest.raises(OutputParserException, match="was cut; raise max_tokens") as failed:
        model.with_structured_output(Runaway).invoke("Write about volcanoes.")
    assert "volcano" not in str(failed.value)
    both = model.with_structured_output(Runaway, include_raw=True).invoke("Write about volcanoes.")
    assert isinstance(both["parsing_error"], OutputParserException)
    assert both["parsed"] is None
    assert both["raw"].usage_metadata["output_tokens"] == 60


def test_what_decoding_cannot_know_is_checked_afterwards(model, capfd):
    class Odd(BaseModel, regex_engine="python-re"):
        name: str = Field(pattern="^(?=zzz)", max_length=8)

    with pytest.raises(OutputParserException, match="does not fit Odd: name"):
        model.with_structured_output(Odd).invoke("Your name?")
    assert capfd.readouterr() == ("", "")


def test_a_schema_that_is_none(model):
    with pytest.raises(ModelError, match="the schema"):
        model.with_structured_output({"type": "nonsense"}).invoke("Hi")
