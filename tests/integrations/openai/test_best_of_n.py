"""The best of several answers: how often a server is asked, and which of its answers is given."""

import httpx2
import openai
import pytest

from persona_integrations.openai import personalize
from tests.support.chatting import Does, make_personalizer
from tests.support.transports import Sometimes, completion

ASKED = [{"role": "user", "content": "why?"}]


def longest(texts):
    return texts.index(max(texts, key=len))


@pytest.fixture
def best(bare):
    """A personalised client that gives the longest of three answers, and what it told the engine."""
    personalizer, plugin = make_personalizer(Does(lambda call: call.override(n=max(call.n, 3)), longest))
    yield personalize(bare, personalizer, user_id="ada"), plugin
    personalizer.close()


def says(server, *answers):
    """Have a server give answers in turn; a number is a status."""
    left = iter(answers)
    server.reply = lambda asked: next(left)


def over(way, client, *answers):
    """The same client with a network that answers so, in turn."""
    return client.with_options(http_client=way.http(transport=Sometimes(*answers)))


def chat(client, text="why?", **more):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)


def test_the_best_of_several_answers_is_given_as_it_came(way, server, best):
    client, plugin = best
    says(server, "a", "the longest", "short")
    response = way.done(chat(client))
    assert response.choices[0].message.content == "the longest"
    assert len(response.choices) == 1
    assert [r.json.get("n") for r in server.requests] == [None] * 3
    assert len({r.body for r in server.requests}) == 1
    ((_, told),) = plugin.answers
    assert told == "the longest"
    assert way.done(client.feedback(response, thumb=True)).response == "the longest"


def test_so_it_is_with_responses_and_raw_ones(way, server, best):
    says(server, "a", "the longest", "short", "a", "the longest", "short")
    assert way.done(best[0].responses.create(model="m", input="why?")).output_text == "the longest"
    raw = way.done(best[0].chat.completions.with_raw_response.create(model="m", messages=ASKED))
    assert raw.parse().choices[0].message.content == "the longest"
    assert len(server.requests) == 6


def test_asynchronous_requests_are_sent_at_once(way, server, best):
    way.done(chat(best[0], "why? [slow=0.2]"))
    assert server.most_at_once == (3 if way.kind is openai.AsyncOpenAI else 1)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"name": "w", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"n": 2},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ],
    ids=["stream", "n", "tools", "tool", "schema"],
)
def test_where_there_is_nothing_to_choose_the_server_is_asked_once(way, server, best, more):
    way.pieces(chat(best[0], **more)) if "stream" in more else way.done(chat(best[0], **more))
    assert len(server.requests) == 1
    assert len(best[1].answers) == 1


def test_a_streamed_response_is_asked_for_once(way, server, best):
    manager = best[0].chat.completions.with_streaming_response.create(model="m", messages=ASKED)
    with way.within(manager) as response:
        way.done(response.read())
    assert len(server.requests) == 1


def test_schemas_and_background_responses_are_asked_for_once(way, server, best):
    class Kettle(openai.BaseModel):
        name: str

    way.done(best[0].responses.parse(model="m", input="why?", text_format=Kettle))
    way.done(best[0].responses.create(model="m", input="why?", background=True))
    assert len(server.requests) == 2


def test_failed_answers_are_left_out(way, best):
    client = over(way, best[0], 503, completion("short"), completion("the longest"))
    assert way.done(chat(client)).choices[0].message.content == "the longest"
    client = over(way, best[0], completion("short"), 500, 429)
    assert way.done(chat(client)).choices[0].message.content == "short"


def test_if_all_fail_the_first_failure_comes_out(way, server, bare, best):
    raised = []
    for one in (bare, best[0]):
        with pytest.raises(openai.RateLimitError) as error:
            way.done(chat(one, "why? [429]"))
        raised.append(str(error.value))
    assert raised[0] == raised[1]
    assert len(server.requests) == 4
    assert best[1].answers == []


def test_a_network_that_fails_comes_out_unchanged(way, server, bare, best):
    for one in (bare, best[0]):
        with pytest.raises(openai.APIConnectionError):
            way.done(chat(one, "why? [cut]"))
    assert len(server.requests) == (2 if way.kind is openai.OpenAI else 4)  # one after the other, it is not asked again


def test_what_came_before_the_network_failed_is_chosen_among(way, best):
    broken = httpx2.ReadTimeout("")
    client = over(way, best[0], completion("short"), completion("the longest"), broken)
    assert way.done(chat(client)).choices[0].message.content == "the longest"


def test_an_answer_without_text_that_came_first_is_given(way, best):
    client = over(way, best[0], completion(None), completion("the longest"), completion("short"))
    assert way.done(chat(client)).choices[0].message.content is None
    client = over(way, best[0], completion("short"), completion(None), completion("the longest"))
    assert way.done(chat(client)).choices[0].message.content == "the longest"


def test_a_chooser_that_fails_leaves_the_first(way, bare):
    def fails(texts):
        raise ZeroDivisionError

    personalizer, _ = make_personalizer(Does(lambda call: call.override(n=2), fails))
    client = over(way, personalize(bare, personalizer, user_id="ada"), completion("first"), completion("second"))
    assert way.done(chat(client)).choices[0].message.content == "first"
    personalizer.close()
