"""Learning on a real Ray of two workers gives what threads give. A minute: starting Ray, and workers loading models."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from persona_integrations.cli.app import app
from persona_integrations.ray import learn_with_ray, learning
from persona_integrations.ray.learning import divided
from persona_sdk import Personalizer, Settings
from persona_sdk.calling import Limits
from persona_sdk.errors import InputError, MissingExtraError, ModelError, SettingsError
from persona_sdk.language import Spent
from tests.support.known import differences, known
from tests.support.openai_server import OpenAIServer, openai_server
from tests.support.people import Believes, InCode, chooses


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    # Workers are processes of their own: they find the tests' modules as this one does.
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )
    yield
    ray.shutdown()


def world(path: Path, people: int = 10, **settings: Any) -> Personalizer:
    p = Personalizer(f"sqlite:///{path}", learning="manual", **settings)
    for n in range(people):
        chooses(p, f"user {n}", crisp=n % 2 == 0)
    return p


def test_contrastive_learns_the_same(cluster: None, tmp_path: Path) -> None:
    shown: list[str] = []
    with world(tmp_path / "threads.db") as here, world(tmp_path / "ray.db") as there:
        assert here.learn_pending() == 10
        assert learn_with_ray(there, workers=2, batch=2, progress=lambda ids: (shown.append(i) or i for i in ids)) == 10
        assert sorted(shown) == sorted(there.users())
        assert differences(known(here), known(there)) == {}
        assert learn_with_ray(there) == 0


def reply(request: dict[str, Any]) -> str:
    place = zlib.crc32(json.dumps(request["messages"]).encode())
    said = [f"The user likes {('short answers', 'long answers', 'careful words')[place % 3]}."]
    return json.dumps({"preferences": said, "facts": [], "sentences": said, "sentence": said[0]})


def test_abductive_stops_goes_on_and_learns_the_same(cluster: None, tmp_path: Path) -> None:
    """Embeddings and calls are real, the answers scripted. No worker asks what another was told before the stop."""
    with openai_server() as server:
        server.reply = reply
        told: dict[str, Any] = {"inferrer": "abductive", "model": f"{server.url}#scripted"}
        with world(tmp_path / "threads.db", 4, **told) as here:
            assert here.learn_pending() == 4
            calls = asked(server)
            expected = known(here)
        server.requests.clear()
        limited = {"abductive": {"limits": Limits(max_calls=8)}}
        with world(tmp_path / "ray.db", 4, **told, options=limited) as there:
            with pytest.raises(ModelError, match="budget") as stopped:
                learn_with_ray(there, workers=2, batch=1)
            assert stopped.value.final
            before = len(server.requests)
            assert 3 < before <= 8
        with world(tmp_path / "ray.db", 4, **told) as there:
            assert learn_with_ray(there, workers=2, batch=1) >= 3
            assert asked(server) == calls
            assert there.spent().calls == len(server.requests) - before
            assert there.spent().known >= 1
            assert differences(known(there), expected) == {}


def asked(server: OpenAIServer) -> Counter[str]:
    return Counter(json.dumps(request["messages"]) for request in server.requests)


def test_the_command_line_learns_with_ray(cluster: None, tmp_path: Path) -> None:
    with world(tmp_path / "from.db", 4) as p, (tmp_path / "signals.jsonl").open("w") as file:
        p.export_jsonl(file)
    db = f"sqlite:///{tmp_path / 'ray.db'}"
    result = CliRunner().invoke(app, ["--db", db, "infer", str(tmp_path / "signals.jsonl"), "--ray", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["learnt"], report["failed"], report["spent"]["calls"]) == (4, [], 0)
    with Personalizer(db, learning="manual") as p:
        assert known(p)


# Without a cluster


def test_limits_are_divided_less_what_was_spent() -> None:
    limits = Limits(concurrency=8, requests_per_minute=60, max_calls=100, budget=10)
    settings = Settings(options={"abductive": {"limits": limits, "scorer": "judge"}, "other": {"limits": None}})
    part = divided(settings, 4, Spent(calls=20, cost=2)).options
    assert part["abductive"]["scorer"] == "judge"
    assert part["abductive"]["limits"] == Limits(concurrency=2, requests_per_minute=15, max_calls=20, budget=2)
    assert part["other"]["limits"] == Limits(concurrency=1)
    assert settings.options["abductive"]["limits"] is limits


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    with Personalizer(f"sqlite:///{tmp_path}/p.db", options={"abductive": {"model": threading.Lock()}}) as p:
        with pytest.raises(SettingsError, match=r"'model' of 'abductive' is a lock.*specification"):
            learn_with_ray(p)
        for wrong in ({"workers": 0}, {"batch": 0}):
            with pytest.raises(InputError, match="at least 1"):
                learn_with_ray(p, **wrong)
    plugin = InCode(inferrer=Believes())
    with (
        Personalizer(f"sqlite:///{tmp_path}/p.db", plugins=[plugin], inferrer="believes") as p,
        pytest.raises(SettingsError, match="given in code"),
    ):
        learn_with_ray(p)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        Personalizer(f"sqlite:///{tmp_path}/p.db", learning="manual") as p,
        pytest.raises(MissingExtraError, match=r"persona-sdk\[ray\]"),
    ):
        learn_with_ray(p)
    assert learning.AT_ONCE > 1
