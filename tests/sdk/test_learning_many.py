"""Learning from many people at once: side by side, through faults, Ctrl-C and kill, with nothing asked twice."""

import math
import threading
import time

import pytest

from persona_sdk import Personalizer, learning
from persona_sdk.errors import InputError, ModelError
from persona_sdk.inference import HeldOutChoice, Inference, InferenceRequest, Inferrer, Population
from persona_sdk.language import Spent
from persona_sdk.memory import Memory
from persona_sdk.testing import FakeMemory, make_trait
from tests.support.learning import Asks, asked, made, pending, repeating, say
from tests.support.people import InCode

LONG = 60.0
SECRET = "what Ann said in confidence"


@pytest.fixture
def server():
    with repeating() as running:
        yield running


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


# Side by side


def test_people_are_learnt_side_by_side(server, url):
    reply = server.reply
    server.reply = lambda request: time.sleep(0.05) or reply(request)
    shown = []
    with made(Asks(server.url), url) as p:
        say(p)
        assert p.learn_pending(lambda people: (shown.append(u) or u for u in people), workers=3) == 8
        assert server.most_at_once == 3
        assert sorted(shown) == sorted(p.users())
        for user in p.users():
            assert [t.statement for t in p.persona(user).traits] == [
                f"User {user[5:]} likes thing {k}." for k in (0, 1)
            ]
        assert p.learn_pending(workers=3) == 0
        assert (p.spent().calls, p.spent().known) == (16, 0)


def test_one_worker_is_the_calling_thread(server, url):
    threads = set()
    with made(Asks(server.url, lambda request: threads.add(threading.current_thread())), url) as p:
        say(p, 3, 1)
        assert p.learn_pending() == 3
        assert threads == {threading.current_thread()}
        for workers in (0, -1):
            with pytest.raises(InputError, match="workers"):
                p.learn_pending(workers=workers)


async def test_the_twin_takes_workers_too(server, url):
    with made(Asks(server.url), url) as p:
        say(p, 4, 1)
        assert await p.alearn_pending(workers=4) == 4
        assert await p.aspent() == p.spent() != Spent()


class Compares(Inferrer):
    """Says what it is compared with: nobody, as long as nobody else has been learnt from."""

    name = "compares"

    def __init__(self):
        self.asked, self.together = [], threading.Barrier(3)

    def infer(self, request):
        self.asked.append(request.user_id)
        if len(self.asked) <= 3:
            self.together.wait(LONG)  # the first three all find nobody
        other = None if request.other_state is None else math.log(0.5)
        held_out = (HeldOutChoice("s", math.log(0.9), math.log(0.5), other=other),) * 4
        return Inference((make_trait(),), held_out, state={"weights": [1.0]})


def test_those_who_had_nobody_to_be_compared_with_are_learnt_anew(url):
    inferrer = Compares()
    with made(inferrer, url) as p:
        say(p, 6, 1)
        assert p.learn_pending(workers=3) == 6
        assert all(p.persona(user).lift.accuracy_other is not None for user in p.users())
        assert len(inferrer.asked) == 9


# Faults


def fails(*users):
    def before(request):
        if request.user_id in users:
            raise ModelError("this one is too long for the model")

    return before


@pytest.mark.parametrize("workers", [1, 3])
def test_what_fails_for_one_person_leaves_the_others_alone(server, url, workers, caplog, monkeypatch):
    monkeypatch.setattr(learning, "_PAGE", 2)  # those who fail must not hide the others, either
    inferrer = Asks(server.url, fails("user 0", "user 1", "user 2"))
    with made(inferrer, url) as p:
        say(p)
        assert p.learn_pending(workers=workers) == 5
        assert [one.user_id for one in p._memory.pending("default")] == ["user 0", "user 1", "user 2"]
        assert caplog.text.count("too long for the model") == 3
        assert "3 of 8 people" in caplog.text
        assert "likes thing" not in caplog.text
        inferrer.before = lambda request: None
        assert p.learn_pending(workers=workers) == 3
    assert pending(url) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_the_end_of_the_budget_ends_the_run(server, url, workers):
    with made(Asks(server.url, max_calls=7), url) as p:
        say(p)
        with pytest.raises(ModelError, match="budget"):
            p.learn_pending(workers=workers)
        known = {user for user in p.users() if p.versions(user)}
    assert len(server.requests) == 7
    assert len(known) <= 3
    assert set(pending(url)) == {f"user {n}" for n in range(8)} - known
    with made(Asks(server.url), url) as p:
        assert p.learn_pending(workers=workers) == 8 - len(known)
    assert sorted(asked(server)) == sorted(f"User {n} likes thing {k}." for n in range(8) for k in range(2))


def test_a_wrong_key_ends_the_run_once_those_at_work_are_finished(server, url):
    """One call is refused; the two that are under way are answered, and their people learnt."""
    inside = threading.Barrier(3)
    reply = server.reply
    server.judge = lambda request: inside.wait(LONG) * 0 or ("401" if "User 0" in str(request) else None)

    def slowly(request):
        if "User 0" not in str(request):
            time.sleep(0.2)
        return reply(request)

    server.reply = slowly
    with made(Asks(server.url), url) as p:
        say(p, 8, 1)
        with pytest.raises(ModelError, match="HTTP 401"):
            p.learn_pending(workers=3)
        assert len(server.requests) == 3
        assert [user for user in p.users() if p.versions(user)] == ["user 1", "user 2"]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_inferrer_that_crashes_on_one_person_keeps_nobody_else_waiting(server, url, workers, caplog):
    def crash(request):
        if request.user_id == "user 0":
            raise KeyError(SECRET)

    with made(Asks(server.url, crash), url) as p:
        say(p)
        learnt = p.learn_pending(workers=workers)
        assert learnt == len(p.users()) - 1
        assert p.versions("user 0") == []
        assert p.versions("user 7")
    assert "raised KeyError" in caplog.text
    assert SECRET not in caplog.text


# The journal


def test_inferrers_are_given_their_persons_journal():
    seen = []

    class Looks(Inferrer):
        name = "looks"

        def infer(self, request):
            request.journal.put({"of": request.user_id})
            seen.append(request.journal.get(["of"]))
            return Inference((make_trait("said:tea", stated=True),) if request.signals else ())

        def fit_population(self, tenant, histories):
            seen.extend(h.journal.get(["of"]) for h in histories)
            return Population(tenant=tenant, inferrer=self.name, fingerprint="f", users=1, choices=0, data={})

    memory = FakeMemory()
    plugin = InCode(inferrer=Looks(), memory=memory)
    with Personalizer(plugins=[plugin], inferrer="looks", memory="fake", learning="manual") as p:
        say(p, 2, 1)
        assert p.learn_pending() == 2
        p.refit()
        p.reject("user 0", "said:tea")
        p.said("user 0", "I do like tea.")
        p.learn("user 0")  # and whether they said it anew was looked for, too
    ours, theirs = {"of": "user 0"}, {"of": "user 1"}
    assert seen[:4] == [ours, theirs, ours, theirs]
    assert seen[4:] == [ours] * len(seen[4:])
    assert memory.recalled("default", "user 1", ["of"]) == theirs


def test_a_refit_asks_through_the_journals_and_is_counted(server, url):
    class Fits(Asks):
        def fit_population(self, tenant, histories):
            people = [self.infer(InferenceRequest(tenant, h.user_id, h.signals, journal=h.journal)) for h in histories]
            return Population(tenant=tenant, inferrer=self.name, fingerprint="f", users=len(people), choices=0, data={})

    for calls, known in ((6, 0), (0, 6)):
        with made(Fits(server.url), url) as p:
            say(p, 3, 2)
            assert p.refit().users == 3
            assert (p.spent().calls, p.spent().known) == (calls, known)


class Stateful(Inferrer):
    """Is interrupted at the third person."""

    name = "stateful"

    def __init__(self, at=None):
        self.at, self.asked = at, []

    def infer(self, request):
        self.asked.append(request.user_id)
        if len(self.asked) == self.at:
            raise KeyboardInterrupt
        other = None if request.other_state is None else math.log(0.5)
        held_out = (HeldOutChoice("s", math.log(0.9), math.log(0.5), other=other),) * 4
        return Inference((make_trait(),), held_out, state={"weights": [1.0]})


def test_whoever_had_nobody_to_be_compared_with_waits_for_somebody_across_runs(url):
    with made(Stateful(at=3), url) as p:
        say(p, 4, 1)
        with pytest.raises(KeyboardInterrupt):
            p.learn_pending()
    assert pending(url) == ["user 0", "user 2", "user 3"]
    with made(Stateful(), url) as p:
        assert p.learn_pending() == 3
        assert all(p.persona(user).lift.accuracy_other is not None for user in p.users())
    assert pending(url) == []


def test_who_is_alone_is_learnt_once_all_the_same(url):
    inferrer = Stateful()
    with made(inferrer, url) as p:
        say(p, 1, 1)
        assert (p.learn_pending(), p.learn_pending()) == (1, 0)
        assert inferrer.asked == ["user 0"]


def test_nothing_of_somebody_forgotten_meanwhile_comes_back(server, url, tmp_path):
    inside, go_on = threading.Event(), threading.Event()
    reply = server.reply

    def slowly(request):
        inside.set()
        assert go_on.wait(LONG)
        return reply(request)

    server.reply = slowly
    with made(Asks(server.url), url) as p:
        p.said("ann", SECRET)
        thread = threading.Thread(target=p.learn_pending)
        thread.start()
        assert inside.wait(LONG)
        p.forget("ann")
        go_on.set()
        thread.join(LONG)
        assert p.spent().calls == 1
        assert p.users() == []
        p.forget("ann")
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert SECRET.encode() not in left


def test_a_memory_that_keeps_no_answers_works_as_well(server):
    class Forgetful(FakeMemory):
        recalled, keep_answers = Memory.recalled, Memory.keep_answers

    plugin = InCode(inferrer=Asks(server.url), memory=Forgetful())
    with Personalizer(plugins=[plugin], inferrer="asks", memory="fake", learning="manual") as p:
        say(p, 2, 1)
        assert p.learn_pending() == 2
        p.learn("user 0")
        assert (p.spent().calls, p.spent().known) == (3, 0)
