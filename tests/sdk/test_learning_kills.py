"""Learning from many people in processes that are killed, or stopped by Ctrl-C: nothing is asked twice."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.interrupts import heed_ctrl_c
from tests.support.learning import Asks, asked, made, pending, repeating, say

LONG = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server():
    with repeating() as running:
        yield running


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


RUN = """
import sys
from persona_sdk import Personalizer
sys.path.insert(0, sys.argv[3])
from tests.support.learning import Asks, made

class Tells(Asks):
    def infer(self, request):
        inner = request.journal.put
        request.journal.put = lambda answers: (inner(answers), print(*answers, flush=True))
        return super().infer(request)

with made(Tells(sys.argv[2]), sys.argv[1]) as p:
    try:
        p.learn_pending(workers=4)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(3)
"""


def run(url, server):
    command = [sys.executable, "-c", RUN, url, server.url, str(ROOT)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_ctrl_c)  # noqa: PLW1509


def test_what_was_answered_before_a_kill_is_not_asked_again(server, url):
    """Killed twice in mid-run: no answer that was kept is asked for again, and everyone is learnt."""
    reply = server.reply
    server.reply = lambda request: time.sleep(0.02) or reply(request)
    with made(Asks(server.url), url) as p:
        say(p, 15, 4)
    kept = set()
    for turn in range(2):
        with run(url, server) as process:
            kept |= {process.stdout.readline().strip() for _ in range(12)}
            process.send_signal(signal.SIGKILL)
            kept |= set(process.stdout.read().rpartition("\n")[0].split())
        time.sleep(0.1)  # the server answers those it was still asked by the dead
        assert len(server.requests) - len(kept) <= 4 * (turn + 1)  # those under way, one a worker
    lost = len(server.requests) - len(kept)
    assert 24 <= len(kept) < 60
    with made(Asks(server.url), url) as p:
        p.learn_pending(workers=4)
        assert all(len(p.persona(f"user {n}").traits) == 4 for n in range(15))
        assert p.spent().calls <= 60 - len(kept)
    assert len(server.requests) <= 60 + lost
    assert set(asked(server)) == {f"User {n} likes thing {k}." for n in range(15) for k in range(4)}
    assert pending(url) == []


def test_ctrl_c_stops_promptly_and_leaves_nothing_half_done(server, url):
    with made(Asks(server.url), url) as p:
        say(p, 12, 1)
    server.fail(*[None] * 6, *["slow"] * 50)
    with run(url, server) as process:
        for _ in range(6):
            process.stdout.readline()
        while len(server.requests) < 10:  # four hang
            time.sleep(0.01)
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
        assert time.monotonic() - begin < 5
    assert (process.returncode, out) == (3, "interrupted\n"), err
    assert len(server.requests) == 10  # nobody else was begun
    server.faults.clear()
    assert len(pending(url)) == 6
    with made(Asks(server.url), url) as p:
        assert all(len(p.versions(f"user {n}")) <= 1 for n in range(12))
        assert p.learn_pending(workers=4) == 6
        assert p.spent().calls == 6
        assert all(len(p.persona(f"user {n}").traits) == 1 for n in range(12))
