"""The official clients before a real model behind a real server: llama.cpp with SmolLM2, in this process."""

from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from persona_integrations.openai import personalize
from persona_sdk.engine import Personalizer
from tests.support.local_openai import CALLS_A_TOOL, local_openai

ASKED = [{"role": "system", "content": "You make tea."}, {"role": "user", "content": "How do I descale a kettle?"}]


class Kettle(BaseModel):
    """A kettle."""

    kind: Literal["steel", "glass"]
    litres: Literal[1, 2]


@pytest.fixture(scope="module")
def local():
    with local_openai() as running:
        yield running


@pytest.fixture
def personalizer(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", learning="manual", calls="memory") as made:
        for number in range(12):
            prompt = f"How do I clean thing {number} in the kitchen?"
            made.prefer("ada", prompt=prompt, chosen="Vinegar.", rejected="That depends on very many things. " * 9)
        made.said("ada", "I prefer short answers.")
        assert made.persona("ada")
        yield made


@pytest.fixture
def bare(way, local):
    return way.kind(base_url=local.url, api_key=local.key, max_retries=0, timeout=60, http_client=way.http())


@pytest.fixture
def client(bare, personalizer):
    return personalize(bare, personalizer, learn=True)


def chat(client, **more):
    asked = {"model": "smollm2", "messages": ASKED, "max_tokens": 8, "temperature": 0} | more
    return client.chat.completions.create(**asked)


def test_a_call_that_names_nobody_is_answered_as_without_us(way, bare, client):
    one, other = (way.done(chat(c)) for c in (bare, client))
    assert one.choices == other.choices
    assert one.usage.prompt_tokens == other.usage.prompt_tokens


def test_a_person_is_answered_with_what_is_known_of_them(way, client, personalizer):
    plain, tailored = way.done(chat(client)), way.done(chat(client, user="ada"))
    assert tailored.usage.prompt_tokens > plain.usage.prompt_tokens
    explained = way.done(client.explain(tailored))
    assert explained.user_id == "ada"
    rating = way.done(client.feedback(tailored, thumb=True))
    assert rating.response == tailored.choices[0].message.content
    assert [m.text for m in rating.prompt] == [m["content"] for m in ASKED]
    assert rating in personalizer.signals("ada")


def test_a_stream_is_the_answer_token_by_token(way, client, personalizer):
    pieces = way.pieces(chat(client, user="ada", stream=True))
    text = "".join(p.choices[0].delta.content or "" for p in pieces)
    assert len(pieces) > 5
    assert personalizer.call(pieces[0].id).answer == text
    assert way.done(client.feedback(pieces[-1], thumb=False)).response == text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_tools_are_called(way, client, personalizer, stream):
    tools = [openai.pydantic_function_tool(Kettle)]
    asked = CALLS_A_TOOL | {"user": "ada", "tools": tools, "max_tokens": 60, "stream": stream}
    if stream:
        pieces = way.pieces(chat(client, **asked))
        arguments = "".join(c.function.arguments or "" for p in pieces for c in p.choices[0].delta.tool_calls or ())
    else:
        message = way.done(chat(client, **asked)).choices[0].message
        arguments = message.tool_calls[0].function.arguments
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "A steel one."}
        again = way.done(chat(client, user="ada", tools=tools, messages=[*ASKED, message, result]))
        assert personalizer.call(again.id).asked[3].text == "A steel one."
    assert Kettle.model_validate_json(arguments)


def test_structured_answers_are_parsed(way, client):
    asked = {"model": "smollm2", "messages": ASKED, "max_tokens": 60, "response_format": Kettle}
    completion = way.done(client.for_user("ada").chat.completions.parse(**asked))
    assert completion.choices[0].message.parsed.kind in ("steel", "glass")
    assert way.done(client.feedback(completion, thumb=True)).response == completion.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_responses_are_tailored(way, client, personalizer, stream):
    asked = {"model": "smollm2", "input": "How do I descale a kettle?", "max_output_tokens": 8, "temperature": 0}
    plain = way.done(client.responses.create(**asked))
    if stream:
        response = way.pieces(client.responses.create(**asked, safety_identifier="ada", stream=True))[-1].response
    else:
        response = way.done(client.responses.create(**asked, safety_identifier="ada"))
    assert response.usage.input_tokens > plain.usage.input_tokens
    assert personalizer.call(response.id).answer == response.output_text
    assert personalizer.call(response.id).user_id == "ada"


def test_the_best_of_several_answers_is_one_the_model_gave(way, bare, tmp_path):
    tailors = ("best_of_n",)
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", learning="manual", tailors=tailors) as personalizer:
        for number in range(12):
            prompt = f"How do I clean thing {number} in the kitchen?"
            personalizer.prefer("ada", prompt=prompt, chosen="Vinegar.", rejected="Take vinegar, and wait. " * 9)
        personalizer.learn("ada")
        client = personalize(bare, personalizer, user_id="ada")
        response = way.done(chat(client, temperature=1.5, max_tokens=6))
        assert len(response.choices) == 1
        assert way.done(client.feedback(response, thumb=True)).response == response.choices[0].message.content


def test_what_is_no_chat_passes_through(way, client):
    named = client.for_user("ada")
    assert [m.id for m in way.pieces(named.models.list())] == ["smollm2"]
    embedded = way.done(named.embeddings.create(model="smollm2", input="tea"))
    assert len(embedded.data[0].embedding) > 100


def test_what_the_server_refuses_comes_out(way, client):
    refused = client.for_user("ada").with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError):
        way.done(chat(refused))
    with pytest.raises(openai.BadRequestError):
        way.done(chat(client.for_user("ada"), messages=[{"role": "user", "content": "kettle " * 4000}]))
