"""`persona infer` with a model over a real wire: kills, Ctrl-C, faults and budgets, with nothing asked twice.

The server on loopback is scripted; client, wire, command line, database and embedder are the real ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_plugins.contrastive.inferrer import Contrastive
from persona_sdk import Personalizer, calling
from persona_sdk.errors import ModelError
from persona_sdk.inference import Inference, InferenceRequest
from persona_sdk.language import Spent
from tests.support.interrupts import heed_ctrl_c
from tests.support.known import differences, known
from tests.support.openai_server import OpenAIServer, openai_server
from tests.support.people import QUESTIONS, hedged

PERSONA = [sys.executable, "-m", "persona_integrations.cli"]
PEOPLE, CHOICES, LONG = 6, 18, 120.0
_LIKES = ("short answers", "long answers", "numbers", "careful wording", "warm words", "lists", "jokes", "quotations")


def reply(request: dict[str, Any]) -> str:
    """Two sentences that depend on what was asked and on nothing else, in whatever form is wanted."""
    place = zlib.crc32(json.dumps(request["messages"]).encode())
    said = [f"The user likes {_LIKES[(place >> shift) % len(_LIKES)]}." for shift in (0, 5)]
    return json.dumps({"preferences": said, "facts": [], "sentences": said, "sentence": said[0]})


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as running:
        running.reply = reply
        yield running


@pytest.fixture
def spec(server: OpenAIServer) -> str:
    return f"{server.url}#scripted"


def write(folder: Path, people: int = PEOPLE, choices: int = CHOICES) -> str:
    """Each person asks in words of their own, so that no two are asked about with the same question."""
    rows = []
    for n in range(people):
        for k in range(choices):
            question, short = QUESTIONS[k % len(QUESTIONS)]
            chosen, rejected = (short, hedged(k % len(QUESTIONS)))[:: 1 if n % 2 else -1]
            prompt = f"{question} ({k}, for user {n})"
            row = {"user_id": f"user {n}", "prompt": prompt, "chosen": chosen, "rejected": rejected, "id": f"{n}-{k}"}
            rows.append(json.dumps(row))
    file = folder / "many.jsonl"
    file.write_text("\n".join(rows), "utf-8")
    return str(file)


def arguments(db: str, file: str, spec: str, *more: str) -> list[str]:
    return ["--db", f"sqlite:///{db}", "infer", file, "--inferrer", "abductive", "--model", spec, *more]


def start(cwd: Path, *given: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*PERSONA, *given],
        cwd=cwd,
        env=environment,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it sets a signal's handler and nothing else
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err


def wait_for(server: OpenAIServer, requests: int, process: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    while len(server.requests) < requests:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begin < LONG
        time.sleep(0.005)


def asked(server: OpenAIServer) -> Counter[str]:
    return Counter(json.dumps(request["messages"]) for request in server.requests)


def learnt(path: Path) -> dict[str, Any]:
    with Personalizer(f"sqlite:///{path}", learning="manual") as personalizer:
        return known(personalizer)


def test_a_killed_run_goes_on_where_it_was(server: OpenAIServer, spec: str, tmp_path: Path) -> None:
    """No question whose answer had arrived is asked again, and everyone ends up as if nothing had happened."""
    file = write(tmp_path)
    code, out, err = finish(start(tmp_path, *arguments("calm.db", file, spec, "--workers", "4", "--json")))
    assert code == 0, err
    calm, report = asked(server), json.loads(out)
    assert set(calm.values()) == {1}
    assert (report["learnt"], report["failed"], report["stopped"]) == (PEOPLE, [], None)
    assert report["spent"]["calls"] == len(calm) >= 5 * PEOPLE

    server.requests.clear()
    server.reply = lambda request: time.sleep(0.05) or reply(request)
    killed = start(tmp_path, *arguments("killed.db", file, spec, "--workers", "4"))
    wait_for(server, len(calm) // 2, killed)
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    time.sleep(0.2)  # the server answers those it was still asked by the dead
    before = len(server.requests)
    assert before < len(calm)
    code, out, err = finish(start(tmp_path, *arguments("killed.db", file, spec, "--workers", "4", "--json")))
    assert code == 0, err
    again = asked(server)
    assert set(again) == set(calm)
    assert sum(again.values()) - len(calm) <= 4  # those under way at the kill, one a worker
    spent = json.loads(out)["spent"]
    assert spent["calls"] == len(server.requests) - before
    assert differences(learnt(tmp_path / "killed.db"), learnt(tmp_path / "calm.db")) == {}


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(server: OpenAIServer, spec: str, tmp_path: Path) -> None:
    file = write(tmp_path, people=4)
    server.fail(*[None] * 8, *["slow"] * 50)
    given = arguments("c.db", file, spec, "--workers", "2")
    process = start(tmp_path, *given)
    wait_for(server, 10, process)  # two hang
    time.sleep(0.2)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert time.monotonic() - begin < 10
    assert code == 130
    assert "Asked: 8 calls" in out
    assert "interrupted" in err
    assert f"to go on: persona --db sqlite:///c.db infer {file} --inferrer abductive" in err
    assert "Traceback" not in err
    assert len(server.requests) == 10  # nobody else was begun
    server.faults.clear()
    code, out, err = finish(start(tmp_path, *given, "--json"))
    assert code == 0, err
    assert sum(asked(server).values()) - len(asked(server)) <= 2
    assert json.loads(out)["spent"]["known"] >= 1
    learnt(tmp_path / "c.db")


# In this process, which has everything imported


@pytest.fixture
def infer(empty: Any, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(calling, "BACKOFF", 0.001)
    file = write(tmp_path, people=3)
    return lambda *more: empty(*arguments("here.db", file, spec, *more))


def test_faults_that_pass_are_outlived(infer: Any, server: OpenAIServer) -> None:
    server.fail(*[429, 500] * 5, None, 429, None, 500)
    result = infer("--json", "--attempts", "9")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["learnt"], report["failed"], report["spent"]["failed"]) == (3, [], 0)
    assert report["spent"]["calls"] == len(asked(server)) == len(server.requests) - 12


def test_the_end_of_a_budget_is_a_clean_stop(infer: Any, server: OpenAIServer) -> None:
    """Stopped again and again, it gets there, and nothing is asked twice."""
    for turn in range(1, 20):
        result = infer("--max-calls", "9", "--workers", "2")
        if result.exit_code == 0:
            break
        assert result.exit_code == 1
        assert len(server.requests) == 9 * turn
        assert "budget of 9 calls" in result.stderr
        assert "to go on: persona" in result.stderr
        assert "Asked: 9 calls" in result.stdout
    else:
        pytest.fail("it never ended")
    assert set(asked(server).values()) == {1}
    assert "more known from before" in result.stdout
    assert infer("--json").exit_code == 0
    assert learnt(Path("here.db"))


def test_a_cost_is_counted_by_the_prices_given(infer: Any, server: OpenAIServer) -> None:
    prices = ("--input-price", "1000000", "--output-price", "0", "--workers", "1")
    first = infer("--max-cost", "1", *prices, "--json")
    assert first.exit_code == 1
    report = json.loads(first.stdout)
    assert len(server.requests) == report["spent"]["calls"] == 1
    assert report["spent"]["cost"] == report["spent"]["input_tokens"] > 1
    assert "budget of 1 is spent" in report["stopped"]
    result = infer(*prices)
    assert result.exit_code == 0
    assert ", cost " in result.stdout


def test_a_wrong_key_is_a_clean_stop_too(infer: Any, server: OpenAIServer) -> None:
    server.judge = lambda request: "401"
    result = infer("--workers", "1")
    assert result.exit_code == 1
    assert "HTTP 401" in result.stderr
    assert len(server.requests) == 1


def test_limits_that_limit_nothing_are_refused(empty: Any, tmp_path: Path) -> None:
    file = write(tmp_path, 1, 1)
    result = empty("infer", file, "--model", "local", "--max-cost", "1")
    assert result.exit_code == 1
    assert "--input-price" in result.stderr
    result = empty("infer", file, "--max-calls", "1")
    assert result.exit_code == 1
    assert "--max-calls: no model is asked" in result.stderr


def test_without_a_model_nothing_is_said_of_calls(empty: Any, tmp_path: Path) -> None:
    result = empty("infer", write(tmp_path, 2, 8))
    assert result.exit_code == 0
    assert "Asked" not in result.stdout
    again = json.loads(empty("infer", write(tmp_path, 2, 8), "--json").stdout)
    assert again["spent"] == dict.fromkeys(Spent.__dataclass_fields__, 0)


def test_who_could_not_be_learnt_is_named_and_tried_again(
    empty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Contrastive.infer

    def picky(self: Contrastive, request: InferenceRequest) -> Inference:
        if request.user_id != "user 0":
            raise ModelError("this one is too long for the model")
        return infer(self, request)

    file = write(tmp_path, 25, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Contrastive, "infer", picky)
        result = empty("infer", file)
        assert result.exit_code == 0
        assert "24 could not be learnt from and stay pending: user 1, user 2," in result.stderr
        assert "user 20 and 4 more" in result.stderr
        assert "1 person learnt" in result.stdout
        result = empty("infer", file, "--strict", "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["failed"] == [f"user {n}" for n in range(1, 25)]
    report = json.loads(empty("infer", file, "--strict", "--json").stdout)
    assert (report["learnt"], report["failed"]) == (24, [])
