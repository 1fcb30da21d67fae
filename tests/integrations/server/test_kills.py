"""What was acknowledged is there after kill -9, and an end that is asked for finishes what is under way."""

import threading

import httpx2
import pytest

from persona_sdk import Personalizer
from tests.support.gateways import Process, chat, counted, eventually
from tests.support.upstream import upstream

SHORT, LONG = "Yes.", "That depends on many things, of which I shall tell you one after the other, at length."


def test_feedback_that_was_acknowledged_survives_a_kill(tmp_path):
    database = f"sqlite:///{tmp_path}/persona.db"
    with upstream() as behind:
        with Process(behind.url, database, "--learning", "off") as process:
            answers = [chat(process.url, f"Question {n}?", "ann").json()["id"] for n in range(5)]
            eventually(lambda: counted(process.url, "persona_gateway_records_total", what="answer") == 5)
            body = [{"response_id": id_, "rejected": LONG, "id": f"signal {n}"} for n, id_ in enumerate(answers)]
            assert [httpx2.post(f"{process.url}/v1/feedback", json=b).status_code for b in body] == [201] * 5
            process.kill()
        with Process(behind.url, database, "--learning", "thread") as process:
            # The next process knows the answers of the last one, and learns what that left.
            again = httpx2.post(f"{process.url}/v1/feedback", json=body[0])
            assert (again.status_code, again.json()["id"]) == (201, "signal 0")
            late = {"response_id": answers[1], "thumb": "up"}
            assert httpx2.post(f"{process.url}/v1/feedback", json=late).status_code == 201
            eventually(lambda: counted(process.url, "persona_gateway_learnt_total") >= 1)
    with Personalizer(database) as personalizer:
        kinds = [s.kind for s in personalizer.signals("ann")]
        assert (kinds.count("preference"), kinds.count("utterance"), kinds.count("rating")) == (5, 5, 1)
        assert personalizer.pending() == []


@pytest.mark.parametrize("ends", ["kill_first", "end"])
def test_the_learning_process_ends_with_the_gateway(tmp_path, ends):
    database = f"sqlite:///{tmp_path}/persona.db"
    with upstream() as behind, Process(behind.url, database, "--learning", "process") as process:
        said = {"text": "I don't eat meat."}
        assert httpx2.post(f"{process.url}/v1/personas/ann/said", json=said).status_code == 201
        eventually(lambda: counted(process.url, "persona_gateway_learnt_total") >= 1)
        children = process.children
        assert children
        getattr(process, ends)()
        eventually(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_an_end_that_is_asked_for_waits_for_answers_and_records(tmp_path):
    database = f"sqlite:///{tmp_path}/persona.db"
    with upstream() as behind, Process(behind.url, database, "--learning", "off") as process:
        answers = {}

        def ask(number):
            answers[number] = chat(process.url, f"Question {number}? [pace=0.1]", f"user {number}", stream=True).text

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        eventually(lambda: behind.at_once == 10)
        assert process.end() in (0, -15)
        for thread in threads:
            thread.join()
    assert all(answers[n].endswith("data: [DONE]\n\n") for n in range(10))
    with Personalizer(database, calls="memory", learning="manual") as personalizer:
        assert sorted(personalizer.users()) == [f"user {n}" for n in range(10)]
        for number in range(10):
            (said,) = personalizer.signals(f"user {number}")
            again = personalizer.notice(f"user {number}", [{"role": "user", "content": said.text}])
            assert [s.kind for s in again] == ["utterance", "regeneration"]  # so its answer is known
