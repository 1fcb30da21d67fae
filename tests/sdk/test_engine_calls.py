"""Answers by their ids: feedback about them, and why they look the way they do, here and in other processes."""

import pytest

from persona_sdk import Personalizer
from persona_sdk.errors import InputError, NotFoundError, SettingsError, StorageError
from persona_sdk.memory import Memory
from persona_sdk.recent import RecentCall, RecentCalls
from persona_sdk.testing import FakeMemory
from tests.support.chat_app import assistant, request, user
from tests.support.people import InCode, Stamp, chooses

WHY = [user("Why is the sky blue?")]


def open_(url, calls="memory", **given):
    return Personalizer(url, learning="manual", time_budget=30, calls=calls, **given)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


@pytest.fixture
def p(url):
    with open_(url) as personalizer:
        yield personalizer


@pytest.fixture
def worker(url):
    """Another process, as far as the two can tell: it shares nothing but the database."""
    with open_(url) as personalizer:
        yield personalizer


@pytest.fixture
def ids(p):
    """The response ids of two answers to the same question, noticed before."""
    return [request(p, "ann", WHY, answer)[1] for answer in ("Light scatters.", "It just is.")]


def plain(signal):
    return signal.model_dump(exclude={"id", "at"})


def known(personalizer, response_id):
    try:
        return personalizer.call(response_id).answer
    except NotFoundError as error:
        assert "no answer is known" in str(error)  # noqa: PT017 - most are known
        return None


# Feedback


def by_hand(p, what, id_):
    prompt, answer = WHY, "Light scatters."
    match what:
        case {"thumb": score}:
            return p.rate("ann", score, prompt=prompt, response=answer, response_id=id_)
        case {"edited": text}:
            return p.edited("ann", text, prompt=prompt, original=answer, response_id=id_)
        case {"over": _}:
            return p.prefer("ann", prompt=prompt, chosen=answer, rejected="It just is.", response_id=id_)
        case {"rejected": text}:
            return p.prefer("ann", prompt=prompt, chosen=answer, rejected=text, response_id=id_)


WAYS = [
    {"thumb": True},
    {"thumb": False},
    {"thumb": 0},
    {"thumb": -0.25},
    {"edited": "It scatters."},
    {"rejected": "No."},
]


@pytest.mark.parametrize("what", [*WAYS, {"over": "the other"}], ids=str)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_feedback_is_what_would_be_recorded_by_hand(p, worker, ids, what, where):
    told = p if where == "here" else worker
    what = {"over": ids[1]} if "over" in what else what
    signal = told.feedback(ids[0], **what)
    assert plain(signal) == plain(by_hand(p, what, ids[0]))
    assert signal in p.signals("ann")
    assert plain(told.feedback(told.call(ids[0]).call_id, **what)) == plain(signal)  # either id names the answer


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"thumb": None},
        {"thumb": True, "edited": "x"},
        {"thumb": False, "rejected": "x"},
        {"thumb": 0, "over": "x"},
        {"edited": "", "rejected": ""},
        {"thumb": True, "edited": "x", "over": "x", "rejected": "x"},
    ],
    ids=str,
)
def test_feedback_says_one_thing(p, ids, what):
    before = p.signals("ann")
    with pytest.raises(InputError, match=r"one of thumb, edited, over and rejected, not \d of them"):
        p.feedback(ids[0], **what)
    assert p.signals("ann") == before


@pytest.mark.parametrize(
    "what",
    [
        {"thumb": 2},
        {"thumb": "good"},
        {"thumb": float("nan")},
        {"edited": ""},
        {"edited": "Light scatters."},
        {"edited": "\ud800"},
        {"rejected": " "},
        {"rejected": "Light scatters."},
        {"over": "itself"},
        {"thumb": True, "id": ""},
    ],
    ids=str,
)
def test_what_is_no_feedback_leaves_nothing(p, ids, what):
    before = p.signals("ann")
    with pytest.raises(InputError) as caught:
        p.feedback(ids[0], **({"over": ids[0]} if "over" in what else what))
    assert "Light" not in str(caught.value)
    assert p.signals("ann") == before


def test_feedback_with_an_id_is_recorded_once(p, worker, ids):
    before = len(p.signals("ann"))
    for told in (p, worker, p):
        assert told.feedback(ids[0], thumb=True, id="click-1").id == "click-1"
    p.feedback(ids[0], thumb=True)
    p.feedback(ids[0], thumb=True)
    assert len(p.signals("ann")) == before + 3


def test_nobody_prefers_an_answer_over_somebody_elses(p, ids):
    _, theirs = request(p, "bob", WHY, "Air is blue.")
    for mine, other in ((ids[0], theirs), (theirs, ids[0])):
        with pytest.raises(InputError, match="given to somebody else") as caught:
            p.feedback(mine, over=other)
        assert caught.value.field == "over"
    with pytest.raises(NotFoundError):
        p.feedback(ids[0], over="unheard-of")
    assert [s.kind for s in p.signals("bob")] == ["utterance"]


def test_feedback_about_what_is_no_answer(p, worker):
    _, unanswered = request(p, "ann", WHY)
    tailored = p.tailor("ann", WHY)
    p.answered(tailored, "", "only a tool was called")
    assert p._memory.kept_call("default", tailored.call_id) is None
    for told in (p, worker, p.for_tenant("other")):
        for id_ in ("unheard-of", "", unanswered, tailored.call_id, "only a tool was called", "ann", "\ud800"):
            with pytest.raises(NotFoundError, match="no answer is known"):
                told.feedback(id_, thumb=True)


# Who knows answers


def test_an_answer_is_the_same_everywhere(url):
    stamp = {"plugins": [InCode(tailors=[Stamp()])], "tailors": ("stamp",)}
    with open_(url, **stamp) as p, open_(url, **stamp) as worker:
        chooses(p, "ann")
        p.learn("ann")
        tailored = p.tailor("ann", WHY)
        p.answered(tailored, "Light scatters.", "r1")
        call = worker.call("r1")
        assert p.call("r1") == p.call(tailored.call_id) == worker.call(tailored.call_id) == call
        assert ([m.text for m in call.asked], call.answer) == (["Why is the sky blue?"], "Light scatters.")
        assert (call.call_id, call.response_id, call.persona_version) == (tailored.call_id, "r1", 1)
        assert [s.tailor for s in call.steps] == ["stamp"]
        explained = str(p.explain(tailored))
        assert "stamp: applied" in explained
        for told in (p, worker):
            for about in ("r1", tailored.call_id):
                assert str(told.explain(about)) == explained
        assert worker.rate("ann", True, response_id="r1").response == "Light scatters."


def test_a_call_is_explained_before_it_is_answered(p):
    chooses(p, "ann")
    p.learn("ann")
    tailored = p.tailor("ann", WHY)
    assert str(p.explain(tailored.call_id)) == str(p.explain(tailored))
    p.answered(tailored, "")  # and where only a tool is called
    assert str(p.explain(tailored.call_id)) == str(p.explain(tailored))


def test_by_default_only_the_process_knows(url):
    with open_(url, calls="process") as p, open_(url, calls="process") as other, open_(url) as worker:
        _, id_ = request(p, "ann", WHY, "Light scatters.")
        assert p.feedback(id_, thumb=True).response == "Light scatters."
        assert (known(other, id_), known(worker, id_)) == (None, None)
        _, id_ = request(worker, "ann", WHY, "Light scatters.")
        assert (known(p, id_), p.explain(id_).user_id) == (None, id_)


@pytest.mark.parametrize("calls", ["process", "memory"])
def test_other_tenants_know_nothing(url, calls):
    with open_(url, calls=calls) as p, open_(url, calls=calls, tenant="other") as worker:
        tailored = p.tailor("ann", WHY)
        p.said("ann", "Hello")
        p.answered(tailored, "Light scatters.", "r1")
        for told in (worker, p.for_tenant("other")):
            assert (known(told, "r1"), known(told, tailored.call_id)) == (None, None)
            assert told.explain("r1").user_id == "r1"  # to them it is somebody's name, at best
            told.notice("ann", WHY)
            again = told.tailor("ann", WHY)
            told.answered(again, "Theirs.", "r1")  # ids are the tenant's own
            assert (known(told, "r1"), known(p, "r1")) == ("Theirs.", "Light scatters.")
            told.forget("ann")
        assert p.feedback("r1", thumb=True).response == "Light scatters."


@pytest.mark.parametrize("calls", ["process", "memory"])
def test_the_latest_answer_of_an_id_counts(url, calls):
    with open_(url, calls=calls) as p:
        for who in ("ann", "bob", "bob"):
            p.notice(who, WHY)
        tailored = [p.tailor(who, WHY) for who in ("ann", "bob", "bob")]
        for n, call in enumerate(tailored):
            p.answered(call, f"Answer {n}.", "r1")
        assert (p.call("r1").answer, p.call("r1").user_id) == ("Answer 2.", "bob")
        assert p.call(tailored[0].call_id).answer == "Answer 0."
        p.answered(tailored[2], "Answer 2, all of it.", "r1")
        assert p.call("r1").answer == "Answer 2, all of it."


def test_somebody_without_signals_is_known_to_the_process(p, worker):
    tailored = p.tailor("ann", WHY)
    p.answered(tailored, "Light scatters.", "r1")
    assert (known(p, "r1"), known(worker, "r1"), p.users()) == ("Light scatters.", None, [])
    assert p.feedback("r1", thumb=True).response == "Light scatters."


def test_what_cannot_be_kept_is_known_to_the_process(p, worker):
    p.said("ann", "Hello")
    for tailored, answer in ((p.tailor("ann", WHY), "\ud800"), (p.tailor("ann", [user("Why \udfff?")]), "Light.")):
        with pytest.raises(InputError, match="not valid Unicode"):
            p.answered(tailored, answer)
        assert (known(p, tailored.call_id), known(worker, tailored.call_id)) == (answer, None)
    tailored = p.tailor("ann", WHY)
    with pytest.raises(InputError, match="response_id"):
        p.answered(tailored, "Light scatters.", "line\nbreak")
    assert known(p, tailored.call_id) is None


class Broken(FakeMemory):
    name = "broken"

    def keep_call(self, call):
        raise StorageError("the disk is full")


class Simple(FakeMemory):
    """A memory from before there were calls."""

    name = "simple"
    keep_call, kept_call, related_calls = Memory.keep_call, Memory.kept_call, Memory.related_calls


@pytest.mark.parametrize("memory", [Broken(), Simple()], ids=["failing", "without calls"])
def test_a_memory_that_keeps_no_calls(url, memory):
    with open_(url, plugins=[InCode(memory=memory)], memory=memory.name) as p:
        chooses(p, "ann")
        p.learn("ann")
        for _ in range(2):
            noticed = p.notice("ann", WHY)
            tailored = p.tailor("ann", WHY)
            try:
                p.answered(tailored, "Light scatters.", "r1")
            except StorageError:
                assert memory.name == "broken"
            assert p.feedback("r1", thumb=True).response == "Light scatters."
            assert [s.kind for s in noticed] == ["utterance"]


def test_the_setting(url, monkeypatch):
    monkeypatch.setenv("PERSONA_CALLS", "memory")
    with Personalizer(url) as p:
        assert p.settings.calls == "memory"
    with pytest.raises(SettingsError, match="calls"):
        open_(url, calls="nowhere")


def test_a_process_remembers_so_many(p):
    tailored = [p.tailor("ann", WHY) for _ in range(3)]
    recent = RecentCalls(most=3)
    for n, call in enumerate(tailored):
        p.answered(call, f"Answer {n}.", f"r{n}")
        recent.add(RecentCall(call, call.call.messages))
        recent.answered(p.call(f"r{n}"))
    found = [[recent.get("default", key) is not None for key in (c.call_id, f"r{n}")] for n, c in enumerate(tailored)]
    assert found == [[False, False], [False, True], [True, True]]
    recent.answered(p.call("r0"))  # too late
    assert recent.get("default", "r0") is None


# Being forgotten


@pytest.mark.parametrize("marker", ["Zq7unmistakable", "Ž́luťoučký\U0001f984"], ids=["ascii", "unicode"])
def test_no_call_stays_of_who_is_forgotten(p, worker, tmp_path, marker):
    def files():
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    history = [user(f"I like {marker}."), assistant(f"{marker}!"), user(f"Why {marker}?")]
    _, theirs = request(p, "bob", WHY, "bystander")
    response_ids = [request(p, marker, history, f"{marker} {n}" * 1000)[1] for n in range(3)]
    late = p.tailor(marker, history)
    assert [known(worker, id_)[:-1] == known(p, id_)[:-1] for id_ in response_ids] == [True] * 3
    assert marker.encode() in files()
    worker.forget(marker)
    assert [known(p, id_) for id_ in response_ids] == [None] * 3
    assert p.explain(response_ids[0]).user_id == response_ids[0]  # no answer's id any more
    p.answered(late, f"{marker} is late", "late")
    assert marker.encode() not in files()
    for told in (p, worker):
        assert [known(told, id_) for id_ in (*response_ids, "late")] == [None] * 4
        assert known(told, theirs) == "bystander"
    with pytest.raises(NotFoundError):
        p.feedback(response_ids[0], edited="x")
    assert p.users() == ["bob"]
    assert [s.kind for s in p.notice(marker, history)] == ["utterance"]


@pytest.mark.parametrize("learnt", [True, False], ids=["with a persona", "without one"])
def test_who_is_forgotten_elsewhere_while_being_answered(p, worker, learnt):
    for user_id in ("ann", "bob"):
        p.said(user_id, "Hello")
        if learnt:
            chooses(p, user_id)
            p.learn(user_id)
    tailored, theirs = p.tailor("ann", WHY), p.tailor("bob", WHY)
    worker.forget("ann")
    for call in (tailored, theirs):
        p.answered(call, "Light scatters.", f"for {call.call.user_id}")
    assert (known(p, "for ann"), known(p, tailored.call_id)) == (None, None)
    assert known(worker, "for bob") == "Light scatters."


@pytest.mark.parametrize("calls", ["process", "memory"])
def test_a_call_that_is_answered_after_forgetting(url, calls):
    with open_(url, calls=calls) as p, open_(url) as worker:
        p.notice("ann", WHY)
        tailored = p.tailor("ann", WHY)
        p.forget("ann")
        p.answered(tailored, "Light scatters.", "r1")
        for told in (p, worker):
            for id_ in ("r1", tailored.call_id):
                with pytest.raises(NotFoundError):
                    told.feedback(id_, thumb=True)
        p.notice("ann", WHY)  # they are back, and that answer is not
        assert (known(p, "r1"), known(worker, "r1"), len(p.signals("ann"))) == (None, None, 1)
