"""An app that uses a client library changes its base URL and nothing else."""

import asyncio
import json

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.integrations.server.running import asks, running
from tests.support.local_openai import CALLS_A_TOOL, local_openai

EGGS = "How do I boil eggs?"
SAID = [{"role": "system", "content": "You are a cook."}, {"role": "user", "content": EGGS}]
NOTE = "Prefers shorter answers"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}}
CALLS = {"tools": [TOOL], "tool_choice": "required"}


class Recipe(BaseModel):
    name: str
    minutes: int


@pytest.fixture
def gateway(shared_gateway, up):
    return shared_gateway


def told(up):
    """What the server behind was told about the person, and the rest of the request."""
    body = up.requests[-1].json
    messages = body.pop("messages")
    notes = [m["content"] for m in messages if m["role"] == "system" and NOTE in m["content"]]
    rest = [m for m in messages if m["role"] != "system"]
    return notes, rest, body


def test_a_tailored_chat_changes_in_its_messages_only(gateway, up):
    more = {
        "user": "ann",
        "temperature": 0.123456789,
        "seed": 12345678901234567890,
        "metadata": {"a": "\ud800é"},
        "stop": [],
        "unknown": None,
    }
    tool = {"role": "tool", "tool_call_id": "c1", "content": "12"}
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a" :1}'}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    asked = {"role": "user", "content": [{"type": "text", "text": EGGS}, picture], "name": "x", "odd": [1, None]}
    messages = [asked, {"role": "assistant", "content": None, "tool_calls": [call]}, tool, asked]
    answer = gateway.http.post(
        "/v1/chat/completions",
        content=json.dumps({**asks(), **more, "messages": messages}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 200
    notes, rest, body = told(up)
    assert len(notes) == 1
    assert rest == messages
    assert body == {"model": "m", **more}
    assert len(up.requests) == 1


def test_a_tailored_response_changes_in_its_instructions_only(gateway, up):
    more = {"model": "m", "user": "ann", "store": False, "include": ["x"], "reasoning": {"effort": "low"}}
    for instructions in (None, "You are a cook."):
        given = {"input": EGGS, **more, **({"instructions": instructions} if instructions else {})}
        assert gateway.http.post("/v1/responses", json=given).status_code == 200
        body = up.requests[-1].json
        sent = body.pop("instructions")
        assert NOTE in sent
        assert (instructions or "") in sent
        assert body == {"input": EGGS, **more}


def test_chat(gateway, up):
    client = gateway.openai()
    answer = client.chat.completions.create(model="m", messages=SAID, user="ann", temperature=0.5)
    assert answer.choices[0].message.content == f"echo: {EGGS}"
    notes, rest, body = told(up)
    assert notes
    assert rest == SAID[1:]
    assert body == {"model": "m", "user": "ann", "temperature": 0.5}


def test_a_stream(gateway, up):
    client = gateway.openai()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="m", messages=SAID, user="ann", **options))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == f"echo: {EGGS}"
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + 6
    assert told(up)[0]


def test_the_streaming_helper(gateway, up):
    with gateway.openai().chat.completions.stream(model="m", messages=SAID, user="ann", n=2) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert [c.message.content for c in final.choices] == [f"echo: {EGGS}"] * 2


def test_tools(gateway, up):
    client = gateway.openai()
    answer = client.chat.completions.create(model="m", messages=SAID, user="ann", **CALLS)
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": EGGS}
    with client.chat.completions.stream(model="m", messages=SAID, user="ann", **CALLS) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.tool_calls[0].function.name == "weather"
    notes, _, body = told(up)
    assert notes
    assert body["tools"] == [TOOL]


def test_parsed(gateway, up):
    client = gateway.openai()
    answer = client.chat.completions.parse(model="m", messages=SAID, user="ann", response_format=Recipe)
    assert answer.choices[0].message.parsed == Recipe(name=f"echo: {EGGS}", minutes=7)
    answer = client.responses.parse(model="m", input=EGGS, safety_identifier="ann", text_format=Recipe)
    assert answer.output_parsed == Recipe(name=f"echo: {EGGS}", minutes=7)
    assert NOTE in up.requests[-1].json["instructions"]


def test_responses(gateway, up):
    client = gateway.openai()
    answer = client.responses.create(model="m", input=EGGS, instructions="You are a cook.", user="ann")
    assert answer.output_text == f"echo: {EGGS}"
    with client.responses.stream(model="m", input=[{"role": "user", "content": EGGS}], user="ann") as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == f"echo: {EGGS}"
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 6
    assert NOTE in up.requests[-1].json["instructions"]


def test_embeddings_and_models(gateway, up):
    client = gateway.openai()
    made = client.embeddings.create(model="m", input=["a", "bb"], user="ann")
    assert [e.embedding for e in made.data] == [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]
    assert [m.id for m in client.models.list()] == ["m", "org/model"]
    assert client.models.retrieve("org/model").id == "org/model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


async def test_async(gateway, up):
    async with gateway.async_openai() as client:

        async def whole(n):
            asked = [{"role": "user", "content": f"Question {n}?"}]
            return (await client.chat.completions.create(model="m", messages=asked, user="ann")).choices[0].message

        async def streamed(n):
            asked = [{"role": "user", "content": f"Question {n}?"}]
            parts = await client.chat.completions.create(model="m", messages=asked, user="ann", stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in parts])

        answers = await asyncio.gather(*(whole(n) for n in range(20)), *(streamed(n) for n in range(20)))
    assert [getattr(a, "content", a) for a in answers] == [f"echo: Question {n}?" for n in range(20)] * 2
    assert all(any(NOTE in m["content"] for m in r.json["messages"]) for r in up.requests)


async def test_langchain(gateway, up):
    model = ChatOpenAI(model="m", base_url=f"{gateway.url}/v1", api_key="any", model_kwargs={"user": "ann"})
    assert model.invoke(EGGS).content == f"echo: {EGGS}"
    assert "".join([chunk.content async for chunk in model.astream(EGGS)]) == f"echo: {EGGS}"
    assert told(up)[0]
    tools = model.bind_tools([TOOL], tool_choice="weather")
    assert (await tools.ainvoke([HumanMessage(EGGS)])).tool_calls[0]["args"] == {"city": EGGS}
    assert model.with_structured_output(Recipe).invoke(EGGS) == Recipe(name=f"echo: {EGGS}", minutes=7)
    own = ChatOpenAI(model="m", base_url=f"{gateway.url}/v1", api_key="any", use_responses_api=True)
    assert own.invoke(EGGS, extra_headers={"X-Persona-User": "ann"}).text == f"echo: {EGGS}"
    assert NOTE in up.requests[-1].json["instructions"]


@pytest.mark.slow
def test_a_real_model(known):
    with local_openai() as model, running(model, known, upstream_key=model.key) as gateway:
        client = gateway.openai(key="not the model's")
        short = {"model": model.model, "user": "ann", "max_tokens": 12, "temperature": 0}
        whole = client.chat.completions.create(messages=SAID, **short)
        streamed = list(client.chat.completions.create(messages=SAID, stream=True, **short))
        assert whole.choices[0].message.content
        assert "".join(c.choices[0].delta.content or "" for c in streamed)
        plain = client.with_options(default_headers={"X-Persona": "off"})
        untold = plain.chat.completions.create(messages=SAID, **short)
        assert untold.usage.prompt_tokens < whole.usage.prompt_tokens
        called = client.chat.completions.create(
            model=model.model, messages=SAID, user="ann", tools=[TOOL], max_tokens=60, **CALLS_A_TOOL
        )
        assert called.choices[0].message.tool_calls[0].function.name == "weather"
        answer = client.responses.create(model=model.model, input=EGGS, user="ann", max_output_tokens=12)
        assert answer.output_text
        assert model.model in [m.id for m in client.models.list()]
        gateway.recorded("answer", least=3)
