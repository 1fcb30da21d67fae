"""Order, composition, time and tokens of the request path."""

import contextvars
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk import pipeline
from persona_sdk.errors import PluginError, PluginOrderError
from persona_sdk.models import Message, TailorStep
from persona_sdk.pipeline import Guard, OverrunError, order, within
from persona_sdk.tailoring import TailorResult
from persona_sdk.testing import make_context, make_trait
from tests.support.steps import LONG, Step, a_call, a_pipeline


def run(chain, call=None, seconds=LONG, **context):
    return chain.run(call or a_call(), make_context(make_trait(), **context), time.monotonic() + seconds)


def names(tailors):
    return "".join(tailor.name for tailor in tailors)


# Order


@pytest.mark.parametrize(
    ("tailors", "expected"),
    [
        ([Step("a"), Step("b"), Step("c")], "abc"),
        ([Step("a", after=("c",)), Step("b"), Step("c"), Step("d")], "bcad"),
        ([Step("a", requires=("d",)), Step("b"), Step("c"), Step("d")], "bcda"),
        ([Step("a", after=("absent",)), Step("b")], "ab"),
        ([Step("a", after=("b",)), Step("b", after=("c",)), Step("c")], "cba"),
        ([], ""),
    ],
)
def test_order_moves_only_what_must(tailors, expected):
    assert names(order(tailors)) == expected


@given(st.data())
def test_order_keeps_every_demand_and_is_stable(data):
    count = data.draw(st.integers(1, 7))
    rank = data.draw(st.permutations(range(count)))  # demands point down this ranking, so there is no circle
    pairs = [pair for pair in itertools.permutations(range(count), 2) if rank[pair[0]] > rank[pair[1]]]
    demands = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    tailors = [Step(str(i), after=tuple(str(b) for a, b in demands if a == i)) for i in range(count)]
    placed = [int(tailor.name) for tailor in order(tailors)]
    assert sorted(placed) == list(range(count))
    assert all(placed.index(before) < placed.index(after) for after, before in demands)
    if all(before < after for after, before in demands):
        assert placed == list(range(count))


def test_a_tailor_configured_twice_is_refused():
    with pytest.raises(PluginOrderError, match="'a' is configured twice"):
        order([Step("a"), Step("a")])


# Composition


def test_each_tailor_gets_what_the_one_before_returned():
    chain, skips = a_pipeline(Step("a"), Step("b"))
    call = a_call()
    new, steps = run(chain, call)
    assert [m.content for m in new.messages] == ["Hello", "a", "b"]
    assert new.messages[0] is call.messages[0]
    assert [s.tailor for s in steps] == ["a", "b"]
    assert not skips


def test_without_tailors_the_call_is_the_very_same():
    chain, _ = a_pipeline()
    call = a_call()
    assert run(chain, call) == (call, ())


def test_a_step_is_attributed_to_the_tailor_that_ran():
    chain, _ = a_pipeline(Step("a", does=lambda call, _: TailorResult(call, TailorStep(tailor="someone else"))))
    assert run(chain)[1][0].tailor == "a"


def test_a_tailor_that_skips_itself_changes_nothing_and_is_no_fault():
    def skip(call, _):
        return TailorResult(call.override(model="other"), TailorStep(tailor="a", skipped="nothing to do"))

    chain, skips = a_pipeline(Step("a", does=skip))
    call = a_call()
    new, steps = run(chain, call)
    assert new is call
    assert steps[0].skipped == "nothing to do"
    assert not skips


def spoil(call, _):
    call.params["temperature"] = 9
    call.messages[0].content[0]["text"] = "spoilt"
    raise RuntimeError


@pytest.mark.parametrize("extra", [{}, {"tool_calls": [{"id": "1"}]}])
def test_nothing_inside_the_callers_call_can_be_spoilt(extra):
    content = [{"type": "text", "text": "Hello"}]
    message = Message.model_validate({"role": "user", "content": content, **extra})
    call = a_call(messages=(message,), params={"temperature": 0})
    before = call.model_copy(deep=True)
    chain, skips = a_pipeline(Step("a", does=spoil), Step("b"))
    new, _ = run(chain, call)
    assert call == before
    assert new.messages[0] == before.messages[0]
    assert new.params == before.params
    assert len(skips) == 1


# Tokens


def test_tailors_share_the_tokens():
    first, second, third = Step("a", tokens=70), Step("b", tokens=60), Step("c", tokens=50)
    chain, skips = a_pipeline(first, second, third)
    new, steps = run(chain, max_tokens=120)
    assert (first.budgets, second.budgets, third.budgets) == ([120], [50], [50])
    assert [m.content for m in new.messages] == ["Hello", "a", "c"]
    assert skips == [("tailor", "b", "adds 60 tokens, 50 are left")]
    assert sum(s.tokens_added for s in steps) == 120


# Time


def test_nobody_is_tried_when_no_time_is_left():
    tailor = Step("a")
    chain, skips = a_pipeline(tailor)
    call = a_call()
    for _ in range(5):  # others spent the time: it is not rested for that
        new, _ = run(chain, call, seconds=-1)
        assert new is call
    assert not tailor.budgets
    assert {reason for _, _, reason in skips} == {"took longer than the 0.000 s that were left"}
    run(chain, call)
    assert len(tailor.budgets) == 1


def test_a_required_tailor_gets_time_that_others_wasted():
    chain, _ = a_pipeline(Step("optional"), Step("privacy", required=True))
    new, steps = run(chain, seconds=-1)
    assert [m.content for m in new.messages] == ["Hello", "privacy"]
    assert steps[0].skipped


def test_a_tailor_that_hangs_is_rested_and_tried_again_when_it_has_ended():
    release, started = threading.Event(), threading.Semaphore(0)
    now = [0.0]

    def hang(call, _):
        started.release()
        release.wait()
        return TailorResult(call, TailorStep(tailor="a"))

    guard = Guard("a", clock=lambda: now[0])
    for _ in range(pipeline.STRIKES):
        with pytest.raises(OverrunError):
            guard.run(0.001, hang, a_call(), None)
    now[0] = 1000.0  # the rest is over, but the runs still hang
    with pytest.raises(PluginError, match="3 earlier runs still hang"):
        guard.run(LONG, hang, a_call(), None)
    for _ in range(pipeline.STRIKES):
        assert started.acquire(timeout=LONG)
    assert not started.acquire(blocking=False)
    late = list(guard._late)
    release.set()
    for job in late:
        assert job.done.acquire(timeout=LONG)
        job.done.release()
    assert guard.run(LONG, hang, a_call(), None).step.tailor == "a"


def test_a_tailor_that_fails_three_times_rests_for_a_minute():
    now, tries = [0.0], []

    def fail(*_):
        tries.append(now[0])
        raise ValueError

    chain, skips = a_pipeline(Step("a", does=fail), clock=lambda: now[0])
    for now[0] in (0, 1, 2, 3, 61.9, 62, 63):
        chain.run(a_call(), make_context(), now[0] + LONG)
    assert tries == [0, 1, 2, 62]  # still failing after its rest: it rests again at once
    assert [reason.split(" ")[0] for _, _, reason in skips] == ["raised"] * 3 + ["rests"] * 2 + ["raised", "rests"]


def test_one_success_clears_the_record():
    outcomes = iter([True, True, False, True, True, False])

    def sometimes(call, _):
        if next(outcomes):
            raise ValueError
        return TailorResult(call, TailorStep(tailor="a"))

    chain, skips = a_pipeline(Step("a", does=sometimes))
    for _ in range(6):
        run(chain)
    assert len(skips) == 4
    assert all(reason.startswith("raised ValueError") for _, _, reason in skips)


def test_within_runs_in_a_daemon_thread_with_the_callers_context():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set by the caller")
    value, thread = within(LONG, lambda: (variable.get(), threading.current_thread()))
    assert value == "set by the caller"
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_within_uses_its_threads_over_and_over():
    idents = {within(LONG, threading.get_ident) for _ in range(50)}
    assert len(idents) <= 3  # one, and workers that other tests left behind and that come back just now


def test_within_raises_what_was_raised():
    with pytest.raises(ZeroDivisionError):
        within(LONG, lambda: 1 / 0)
    with pytest.raises(PluginError, match="raised SystemExit"):
        within(LONG, sys.exit)


def test_an_idle_worker_keeps_nobodys_messages():
    message = Step("any object")
    gone = weakref.ref(message)
    within(LONG, lambda _: None, message)
    del message
    for _ in range(1000):  # the worker wakes its caller up before it lets go
        gc.collect()
        if gone() is None:
            return
        time.sleep(0.001)
    pytest.fail("the worker still holds its last job")


def test_many_threads_at_once():
    chain, skips = a_pipeline(Step("a"), Step("b"))
    barrier, results = threading.Barrier(16), []

    def work(i):
        barrier.wait()
        for _ in range(20):
            new, _ = run(chain, a_call(user_id=f"user{i}"))
            results.append((new.user_id, len(new.messages)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted((f"user{i}", 3) for i in range(16) for _ in range(20))
    assert not skips
    assert len(pipeline._idle) <= pipeline.SPARE_WORKERS


def test_a_stuck_worker_does_not_keep_the_interpreter_from_exiting():
    code = """
import threading
from persona_sdk.pipeline import within
try:
    within(0.01, threading.Event().wait)
except TimeoutError:
    print("late", within(60, lambda: "next"))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True)
    assert run.stdout == "late next\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_workers_of_its_own():
    code = """
import os
from persona_sdk.pipeline import within
within(60, int)
if os.fork() == 0:
    os._exit(within(5, lambda: 7))
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True)
    assert run.stdout == "7\n"
