"""Asking models: the real client against a server on loopback that fails in every way."""

import logging
import threading
import time

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, ValidationError

from persona_sdk import calling
from persona_sdk.calling import Caller, Limits
from persona_sdk.errors import ModelError
from persona_sdk.testing.memory_strategies import in_threads
from tests.support.asking import Kept
from tests.support.openai_server import openai_server

SECRET = "what Ann said in confidence"
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SECRET}]
GOOD = '{"place": "Rome", "degrees": 7}'


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int = Field(ge=-90, le=60)


ROME = Weather(place="Rome", degrees=7)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(calling, "BACKOFF", 0.001)


@pytest.fixture
def server():
    with openai_server() as running:
        running.reply = lambda request: GOOD
        yield running


def model_of(server, **options):
    return ChatOpenAI(model="m", base_url=server.url, api_key="sk-none", max_retries=0, **{"timeout": 30, **options})


def caller_of(server, **limits):
    return Caller(model_of(server), name="m", limits=Limits(**limits))


def replies(*texts):
    """Give one text after the other, the last one for ever."""
    left = list(texts)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


# Structured answers


def test_a_structured_answer_takes_one_call_with_the_messages_as_they_are(server):
    caller = caller_of(server, input_price=1.0, output_price=10.0)
    assert caller.ask(ASKED, Weather) == ROME
    assert server.wire == [("system", "Be brief."), ("user", SECRET)]
    assert server.requests[0]["response_format"]["type"] == "json_schema"
    spent = caller.spent()
    assert (spent.calls, spent.retried, spent.repaired, spent.failed) == (1, 0, 0, 0)
    assert (spent.input_tokens, spent.output_tokens) == (7, 4)  # as the server counts, not as we would
    assert spent.cost == pytest.approx((7 * 1 + 4 * 10) / 1e6)


@pytest.mark.parametrize(
    "text",
    [
        f"Here you are:\n```json\n{GOOD}\n```\nAnything else?",
        "{'place': 'Rome', 'degrees': 7,}",
        "{“place”: “Rome”, degrees: 7",
        '{"place": "Rome", "degrees": 7,',
        '<think>{"place": "Oslo", "degrees": 1}?</think>{"place": "Rome", "degrees": 7}',
    ],
)
def test_what_the_client_cannot_read_is_read_all_the_same(server, text):
    server.reply = lambda request: text + "\n"
    caller = caller_of(server)
    assert caller.ask(ASKED, Weather) == ROME
    assert (len(server.requests), caller.spent().calls, caller.spent().repaired) == (1, 1, 0)


def test_an_answer_that_cannot_be_read_goes_back_once(server):
    server.reply = replies("Rome, about seven degrees.", GOOD)
    caller = caller_of(server)
    assert caller.ask(ASKED, Weather) == ROME
    assert server.wire[:3] == [("system", "Be brief."), ("user", SECRET), ("assistant", "Rome, about seven degrees.")]
    assert "no complete JSON" in server.wire[3][1]
    assert (caller.spent().calls, caller.spent().repaired, caller.spent().failed) == (2, 1, 0)


def test_what_is_wrong_is_told_by_fields(server):
    """The client raises for this one, and loses the text; the schema alone keeps it."""
    server.reply = replies('{"place": "Rome", "degrees": 700}', '{"place": "Rome", "degrees": 700}', GOOD)
    caller = caller_of(server)
    assert caller.ask(ASKED, Weather) == ROME
    told = server.wire[3][1]
    assert "degrees: less_than_equal" in told
    assert "700" not in told
    assert caller.ask([*ASKED, ASKED[1]], Weather) == ROME
    assert len(server.requests) == 4  # the way that keeps the text is remembered


@pytest.mark.parametrize("text", ["nonsense", "", '{"place": "Rome"}', '{"place": "Rome", "degrees": 7'])
def test_what_stays_unreadable_is_none_and_not_kept(server, text):
    server.reply = lambda request: text
    caller, journal = caller_of(server), Kept()
    assert caller.ask(ASKED, Weather, journal) is None
    assert journal.answers == {}
    assert (caller.spent().repaired, caller.spent().failed) == (1, 1)


def test_a_server_without_schemas_is_asked_plainly_and_that_is_remembered(server):
    server.judge = lambda request: "400" if "response_format" in request else None
    server.reply = lambda request: f"Sure: {GOOD}"
    caller = caller_of(server)
    for n in range(3):
        assert caller.ask([*ASKED[:1], {"role": "user", "content": str(n)}], Weather) == ROME
    assert ["response_format" in r for r in server.requests] == [True, False, False, False]


def test_models_that_cannot_do_more_than_answer():
    class Bare:
        def invoke(self, asked, config=None, **kwargs):
            return f"{GOOD} for {len(asked)}"

    for model in (FakeListChatModel(responses=[f"so: {GOOD}"]), Bare()):
        caller = Caller(model, name="fake")
        assert caller.ask(ASKED, Weather) == ROME
        assert caller.spent().input_tokens > 0  # estimated
        assert caller.spent().output_tokens > 0
    assert Caller(FakeListChatModel(responses=["Hello."]), name="fake").text(ASKED) == "Hello."


def test_tools_are_read_even_where_their_arguments_are_broken(server):
    class Tools(ChatOpenAI):
        def with_structured_output(self, schema, **kwargs):
            return super().with_structured_output(schema, **kwargs | {"method": "function_calling"})

    function = {"name": "Weather", "arguments": GOOD[:-1] + ",}"}
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }
    server.message = message
    model = Tools(model="m", base_url=server.url, api_key="none", max_retries=0)
    assert Caller(model, name="m").ask(ASKED, Weather) == ROME
    assert "tools" in server.requests[0]


# Faults


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "409", "cut"])
def test_what_may_pass_is_tried_again(server, fault):
    server.fail(fault, fault)
    caller = caller_of(server)
    assert caller.ask(ASKED, Weather) == ROME
    assert len(server.requests) == 3
    assert (caller.spent().calls, caller.spent().retried, caller.spent().failed) == (1, 2, 0)


def test_what_does_not_pass_is_none_after_all_attempts(server):
    server.fail(*["500"] * 20)
    caller, journal = caller_of(server, attempts=3), Kept()
    assert caller.ask(ASKED, Weather, journal) is None
    assert caller.text(ASKED, journal) is None
    assert len(server.requests) == 6
    assert (caller.spent().calls, caller.spent().retried, caller.spent().failed) == (0, 4, 2)
    assert journal.answers == {}


def test_a_server_that_asks_for_time_gets_it_from_everyone(server):
    server.fail("429")
    server.headers = {"Retry-After": "0.4"}
    caller = caller_of(server)
    begin = time.monotonic()
    assert caller.ask(ASKED, Weather) == ROME
    assert 0.4 <= time.monotonic() - begin < 5
    caller._pace.pause(0.3)  # what a 429 in another thread does
    begin = time.monotonic()
    assert caller.ask(ASKED, Weather) == ROME
    assert time.monotonic() - begin >= 0.3


def test_a_call_that_hangs_is_given_up_and_tried_again(server):
    server.fail("slow")
    caller = caller_of(server, timeout=0.5)
    begin = time.monotonic()
    assert caller.ask(ASKED, Weather) == ROME
    assert 0.5 <= time.monotonic() - begin < 10
    assert caller.spent().retried == 1


def test_the_clients_own_timeout_is_tried_again(server):
    server.fail("slow")
    caller = Caller(model_of(server, timeout=0.3), name="m")
    assert caller.ask(ASKED, Weather) == ROME
    assert caller.spent().retried == 1


@pytest.mark.parametrize(
    ("status", "final"), [("401", True), ("403", True), ("404", True), ("400", False), ("413", False)]
)
@pytest.mark.parametrize("way", ["ask", "text"])
def test_a_refusal_is_raised_at_once_without_anybodys_words(server, caplog, status, final, way):
    caplog.set_level(logging.DEBUG, "persona_sdk")
    server.judge = lambda request: status
    caller = caller_of(server)
    with pytest.raises(ModelError, match=f"'m'.*HTTP {status}") as caught:
        caller.ask(ASKED, Weather) if way == "ask" else caller.text(ASKED)
    assert caught.value.final is final
    assert len(server.requests) == (2 if (status, way) == ("400", "ask") else 1)  # 400: perhaps without a schema?
    chain, texts = caught.value, []
    while chain is not None:
        texts.append(str(chain))
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert SECRET not in " ".join([*texts, caplog.text])
    assert "sk-none" not in " ".join(texts)


def test_a_models_own_exception_is_raised_as_ours():
    class Broken:
        def invoke(self, asked, config=None, **kwargs):
            raise kind(SECRET)

    for kind in (ValueError, KeyError, SystemExit):
        with pytest.raises(ModelError, match=kind.__name__) as caught:
            Caller(Broken(), name="b").text(ASKED)
        assert SECRET not in str(caught.value)


# Limits


def test_no_more_calls_at_once_than_allowed(server):
    def slowly(request):
        time.sleep(0.05)
        return GOOD

    server.reply = slowly
    caller = caller_of(server, concurrency=3)
    in_threads(9, lambda n: caller.ask([{"role": "user", "content": str(n)}], Weather))
    assert server.most_at_once == 3
    assert caller.spent().calls == 9


def test_calls_begin_at_even_distances(server):
    caller = caller_of(server, requests_per_minute=60 / 0.15)
    begin = time.monotonic()
    in_threads(4, lambda n: caller.text([{"role": "user", "content": str(n)}]))
    assert 0.45 <= time.monotonic() - begin < 5
    assert caller.spent().calls == 4


def test_the_budget_ends_a_run_that_can_be_gone_on_with(server):
    journal = Kept()

    def questions():
        return [[{"role": "user", "content": f"question {n}"}] for n in range(5)]

    for limits in ({"max_calls": 3}, {"budget": 2.5 * 14e-6, "output_price": 1.0, "input_price": 5.0}):
        journal.answers.clear()
        server.requests.clear()
        caller = caller_of(server, **limits)
        with pytest.raises(ModelError, match="budget") as caught:
            [caller.ask(q, Weather, journal) for q in questions()]
        assert caught.value.final
        assert (len(server.requests), len(journal.answers)) == (3, 3)
        again = caller_of(server)
        assert [again.ask(q, Weather, journal) for q in questions()] == [ROME] * 5
        assert (again.spent().known, again.spent().calls, len(server.requests)) == (3, 2, 5)


def test_threads_cannot_outrun_max_calls(server):
    caller = caller_of(server, max_calls=4, concurrency=8)

    def work(number):
        try:
            return caller.text([{"role": "user", "content": str(number)}])
        except ModelError:
            return None

    assert sum(answer is not None for answer in in_threads(8, work)) == 4
    assert len(server.requests) == 4


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"attempts": 0}, {"timeout": 0}, {"budget": -1}, {"retries": 1}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(ValidationError):
        Limits(**wrong)


# The journal


def test_what_is_known_costs_nothing(server):
    journal = Kept()
    first, second = caller_of(server), caller_of(server)
    assert first.ask(ASKED, Weather, journal) == second.ask(ASKED, Weather, journal) == ROME
    assert first.text(ASKED, journal) == second.text(ASKED, journal) == GOOD
    assert len(server.requests) == 2
    assert (second.spent().calls, second.spent().known, second.spent().input_tokens) == (0, 2, 0)
    assert all(len(key) == 64 for key in journal.answers)


def test_another_question_is_another_entry(server):
    class Other(BaseModel):
        place: str

    journal = Kept()
    caller = caller_of(server)
    caller.ask(ASKED, Weather, journal)
    caller.ask(ASKED, Other, journal)
    caller.ask(ASKED[1:], Weather, journal)
    Caller(model_of(server), name="another").ask(ASKED, Weather, journal)
    caller.text(ASKED, journal)
    caller.text(ASKED, journal, temperature=1.0)
    assert len(journal.answers) == len(server.requests) == 6
    assert server.requests[-1]["temperature"] == 1.0


def test_an_answer_is_in_the_journal_before_it_is_returned(server):
    class Full(Kept):
        def put(self, answers):
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        caller_of(server).ask(ASKED, Weather, Full())


def test_an_entry_that_no_longer_fits_is_asked_for_anew(server):
    journal, caller = Kept(), caller_of(server)
    caller.ask(ASKED, Weather, journal)
    journal.answers = dict.fromkeys(journal.answers, "damaged")
    assert caller.ask(ASKED, Weather, journal) == ROME
    assert caller.spent().calls == 2


def test_accounts_are_exact_from_many_threads(server):
    server.judge = lambda request: "500" if request["messages"][0]["content"].startswith("bad") else None
    caller, journal = caller_of(server, concurrency=8, attempts=2), Kept()

    def work(number):
        for n in range(5):
            caller.ask([{"role": "user", "content": f"{'bad' if n == 0 else 'good'} {number} {n}"}], Weather, journal)
            caller.ask([{"role": "user", "content": f"good {number} 1"}], Weather, journal)

    in_threads(8, work)
    spent = caller.spent()
    assert (spent.calls, spent.known, spent.retried, spent.failed) == (8 * 4, 8 * 5, 8, 8)


# Many threads


def test_a_name_in_the_journal_does_not_block_threads_on_each_other(server):
    """Two threads that ask the same at once both get an answer, and the journal keeps one."""
    journal, caller = Kept(), caller_of(server)
    barrier = threading.Barrier(2)
    server.reply = lambda request: (barrier.wait(10) and GOOD) or GOOD
    assert in_threads(2, lambda _: caller.ask(ASKED, Weather, journal)) == [ROME, ROME]
    assert len(journal.answers) == 1


def test_a_question_that_is_refused_is_counted_as_failed(server):
    server.judge = lambda request: "400"
    caller = caller_of(server)
    with pytest.raises(ModelError, match="HTTP 400"):
        caller.ask(ASKED, Weather)
    assert caller.spent().failed == 1
