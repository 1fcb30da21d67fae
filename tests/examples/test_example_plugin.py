"""The example plugin, built and installed as a stranger's distribution, with its entry point live."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pip")
pytest.importorskip("hatchling")

EXAMPLE = Path(__file__).parents[2] / "examples" / "persona-plugin-redact"

USE = """
import json, time
from persona_sdk.hooks import PluginHost
from persona_sdk.models import ChatCall, Message
from persona_sdk.pipeline import Pipeline
from persona_sdk.settings import Settings
from persona_sdk.testing import make_context, make_trait

settings = Settings(tailors=("redact",))
host = PluginHost(settings)
pipeline = Pipeline([host.registry.tailor(name, settings) for name in settings.tailors], host.on_skip)
call = ChatCall(messages=(Message(role="user", content="I am ann@example.org"),), user_id="ann")
new, steps = pipeline.run(call, make_context(make_trait()), time.monotonic() + 30)
status = next(s for s in host.statuses() if s.name == "redact")
print(json.dumps({
    "status": [status.version, status.distribution, status.kinds, status.state],
    "sent": new.question, "detail": steps[0].detail,
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", target, source], check=True)
    return source, {**os.environ, "PYTHONPATH": str(target), "PERSONA_DISABLE_PLUGINS": ""}


def test_it_is_found_listed_and_used(installed):
    source, environment = installed
    run = subprocess.run(
        [sys.executable, "-c", USE], env=environment, cwd=source.parent, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "status": ["0.1.0", "persona-plugin-redact", ["tailor", "observer"], "loaded"],
        "sent": "I am [e-mail]",
        "detail": "1 of 1 messages redacted",
    }


def test_its_own_tests_pass(installed):
    source, environment = installed
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", source, source / "tests"]
    run = subprocess.run(command, env=environment, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
