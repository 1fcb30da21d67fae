"""Feedback and explanations by the response itself, by a piece of its stream, and by its id."""

import httpx2
import openai
import pytest

from persona_integrations.openai import personalize
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError, NotFoundError
from persona_sdk.signals import Preference, Rating
from tests.support.transports import Sometimes

ASKED = [{"role": "user", "content": "Train or plane?"}]
ANSWER = "echo: Train or plane?"


@pytest.fixture
def personalizer(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", learning="manual", calls="memory") as made:
        yield made


@pytest.fixture
def client(bare, personalizer):
    return personalize(bare, personalizer, user_id="ada", learn=True)


def chat(client, **more):
    return client.chat.completions.create(model="m", messages=ASKED, **more)


def test_a_thumb(way, client, personalizer):
    response = way.done(chat(client))
    rating = way.done(client.feedback(response, thumb=False))
    assert isinstance(rating, Rating)
    assert (rating.user_id, rating.score, rating.response, rating.response_id) == ("ada", -1, ANSWER, response.id)
    assert [m.text for m in rating.prompt] == ["Train or plane?"]
    assert rating in personalizer.signals("ada")


def test_an_edit_and_a_choice(way, server, client):
    response = way.done(chat(client))
    server.reply = lambda asked: "The plane."
    other = way.done(client.responses.create(model="m", input="Train or plane?"))
    assert way.done(client.feedback(response, edited="The train.")).edited == "The train."
    over = way.done(client.feedback(response, over=other))
    assert isinstance(over, Preference)
    assert (over.chosen, over.rejected) == (ANSWER, "The plane.")
    assert way.done(client.feedback(response, over=other.id)).rejected == "The plane."
    assert way.done(client.feedback(response, rejected="By boat.")).rejected == "By boat."


def chunk(way, client):
    return way.pieces(chat(client, stream=True))[0]


def helper_event(way, client):
    with way.within(client.chat.completions.stream(model="m", messages=ASKED)) as stream:
        return next(e for e in way.pieces(stream) if e.type == "chunk")


def raw(way, client):
    return way.done(client.chat.completions.with_raw_response.create(model="m", messages=ASKED))


def parsed(way, client):
    return way.done(client.chat.completions.parse(model="m", messages=ASKED))


def response_event(way, client):
    return way.pieces(client.responses.create(model="m", input="Train or plane?", stream=True))[-1]


@pytest.mark.parametrize("response", [chunk, helper_event, raw, parsed, response_event])
def test_whatever_carries_the_id_will_do(way, client, response):
    assert way.done(client.feedback(response(way, client), thumb=True)).response == ANSWER


def test_a_response_that_is_streamed_will_do_while_it_is_open(way, client):
    manager = client.chat.completions.with_streaming_response.create(model="m", messages=ASKED)
    with way.within(manager) as response:
        way.done(response.parse())
        assert way.done(client.feedback(response, thumb=True)).response == ANSWER


@pytest.mark.parametrize("response", [None, 7, "", object(), ASKED[0]])
def test_what_has_no_id_is_said_to_have_none(way, client, response):
    with pytest.raises((InputError, NotFoundError)):
        way.done(client.feedback(response, thumb=True))
    with pytest.raises((InputError, NotFoundError)):
        way.done(client.explain(response))


def test_an_unknown_id_and_too_much_feedback_are_errors(way, client):
    response = way.done(chat(client))
    with pytest.raises(NotFoundError):
        way.done(client.feedback("ada", thumb=True))
    with pytest.raises(InputError):
        way.done(client.feedback(response))
    with pytest.raises(InputError):
        way.done(client.feedback(response, thumb=True, edited="The train."))


def test_an_explanation(way, client, personalizer):
    response = way.done(chat(client))
    assert way.done(client.explain(response)).user_id == "ada"
    with pytest.raises(NotFoundError):  # and not what is known of a person of that name
        way.done(client.explain("ada"))


# Learning from calls


def kinds(personalizer):
    return [s.kind for s in personalizer.signals("ada")]


def test_nothing_is_learnt_unless_asked_for(way, bare, personalizer):
    client = personalize(bare, personalizer, user_id="ada")
    for _ in range(2):
        way.done(chat(client))
    assert kinds(personalizer) == []


def test_what_is_said_and_asked_again_is_learnt(way, client, personalizer):
    first = way.done(chat(client))
    assert kinds(personalizer) == ["utterance"]
    way.pieces(chat(client, stream=True))
    assert kinds(personalizer) == ["utterance", "regeneration"]
    again = personalizer.signals("ada")[1]
    assert (again.response, again.response_id, again.source) == (ANSWER, first.id, "openai")


def test_a_client_that_tries_again_has_asked_once(way, client, personalizer):
    busy = [httpx2.Response(503, headers={"Retry-After-Ms": "1"}) for _ in range(2)]
    http = way.http(transport=Sometimes(*busy))
    way.done(chat(client.with_options(max_retries=2, http_client=http)))
    assert kinds(personalizer) == ["utterance"]


@pytest.mark.parametrize("fault", ["[cut]", "[error]", "[500]"])
def test_a_person_whose_answer_broke_does_not_want_another_one_for_that(way, client, personalizer, fault):
    broken = [{"role": "user", "content": f"Train or plane? {fault}"}]
    for _ in range(2):
        with pytest.raises(openai.APIError):
            way.pieces(client.chat.completions.create(model="m", messages=broken, stream=True))
    assert "regeneration" not in kinds(personalizer)


def test_nothing_of_somebody_else_is_known(way, client, personalizer):
    """Two people who say the same in the same words want no other answers than each other's."""
    way.done(chat(client))
    way.done(chat(client.for_user("bob")))
    assert [s.kind for s in personalizer.signals("bob")] == ["utterance"]
