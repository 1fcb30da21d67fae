"""The tailor: who is given which adapter, when it stays out, and what a server with many adapters is sent."""

import asyncio
import subprocess
import sys
import time

import pytest
from langchain_openai import ChatOpenAI

from persona_plugins.lora.tailor import Lora
from persona_sdk.engine import Personalizer
from persona_sdk.errors import SettingsError
from persona_sdk.hooks import PluginHost
from persona_sdk.models import ChatCall, Message, Persona
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor, TailorContext
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from persona_sdk.tuning.cards import Base, Card
from tests.support.openai_server import openai_server

SYSTEM = "Be kind."


def add(adapters, name, **more):
    """An adapter in name only: the tailor reads no weights."""
    made = adapters.folder.parent / f"made-{name}-{time.monotonic_ns()}"
    made.mkdir(parents=True)
    (made / "adapter_config.json").write_text("{}")
    header = b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    (made / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    adapters.add(made, Card(name=name, base=Base(name="b", sha256="0"), **more), replace=True)


def gave(adapter, rung="own", **more):
    return Assignment(adapter=adapter, rung=rung, choices=40, gain=0.2, standard_error=0.05, **more)


@pytest.fixture
def adapters(tmp_path):
    adapters = Adapters(tmp_path / "adapters")
    add(adapters, "shared-1")
    add(adapters, "ann-1", rung="own", system=SYSTEM)
    adapters.assign("default", "ann", gave("ann-1"))
    adapters.assign("default", "pat", Assignment(choices=12))
    adapters.assign("acme", "ann", gave("shared-1", "shared"))
    return adapters


@pytest.fixture
def tailored(adapters):
    """What the tailor makes of a call, and its step."""

    def tailor(user, *, options=None, messages=({"role": "user", "content": "Why?"},), **call):
        made = Lora(adapters.folder, **(options or {}))
        call = ChatCall(user_id=user, messages=tuple(Message(**m) for m in messages), **call)
        context = TailorContext(persona=Persona(user_id=user), traits=(), score=lambda *_: [])
        return made.tailor(call, context)

    return tailor


def test_a_person_gets_what_was_assigned_to_them(tailored):
    call, step = tailored("ann")
    assert (call.adapter, call.model) == ("ann-1", None)
    assert step.detail.startswith("own adapter ann-1 predicts their 40 held-out choices better")
    assert step.skipped == ""
    assert tailored("ann", tenant="acme")[0].adapter == "shared-1"


@pytest.mark.parametrize(
    ("user", "says"),
    [("zoe", "no adapter is assigned to this person"), ("pat", "prefix only: no adapter was found to predict")],
)
def test_whoever_has_none_is_answered_as_before(tailored, user, says):
    call, step = tailored(user)
    assert call.adapter is None
    assert step.skipped.startswith(says)


def test_the_tenants_default_is_for_those_of_whom_nothing_is_recorded(tailored, adapters):
    adapters.set_default("default", gave("shared-1", "shared", people=30))
    assert tailored("zoe")[0].adapter == "shared-1"
    assert tailored("pat")[0].adapter is None  # they were measured: the base model is as good
    assert tailored("zoe", tenant="acme")[0].adapter is None


def test_one_that_was_withdrawn_gives_way_to_the_rung_below(tailored, adapters):
    adapters.assign("default", "ann", gave("ann-1", below=gave("shared-1", "shared")))
    add(adapters, "ann-1", rung="own")  # trained anew: what was measured of the old one does not hold for it
    assert tailored("ann")[0].adapter == "shared-1"


def test_a_model_the_app_named_itself_stays_unless_told_otherwise(tailored):
    call, step = tailored("ann", model="gpt-x")
    assert (call.model, call.adapter) == ("gpt-x", None)
    assert step.skipped == "the app named a model itself"
    assert tailored("ann", model="gpt-x", options={"replace": True})[0].adapter == "ann-1"


def test_the_names_a_server_knows_them_by(tailored):
    assert tailored("ann", options={"prefix": "persona-"})[0].adapter == "persona-ann-1"
    options = {"prefix": "persona-", "names": {"ann-1": "a1"}}
    assert tailored("ann", options=options)[0].adapter == "a1"
    assert tailored("ann", tenant="acme", options=options)[0].adapter == "persona-shared-1"


def test_a_conversation_gets_the_system_message_of_the_rows(tailored):
    call, step = tailored("ann")
    assert [(m.role, m.text) for m in call.messages] == [("system", SYSTEM), ("user", "Why?")]
    assert step.tokens_added > 0
    for role in ("system", "developer"):
        own = ({"role": role, "content": "Be brief."}, {"role": "user", "content": "Why?"})
        call, step = tailored("ann", messages=own)
        assert [m.text for m in call.messages] == ["Be brief.", "Why?"]
        assert step.tokens_added == 0
    assert len(tailored("ann", tenant="acme")[0].messages) == 1


def test_a_system_message_is_read_anew_when_the_adapter_was_trained_anew(adapters):
    tailor = Lora(adapters.folder)
    context = TailorContext(persona=Persona(user_id="ann"), traits=(), score=lambda *_: [])
    call = ChatCall(user_id="ann", messages=(Message(role="user", content="Why?"),))
    assert tailor.tailor(call, context).call.messages[0].text == SYSTEM
    add(adapters, "ann-1", rung="own", system="Be brave.")
    adapters.assign("default", "ann", gave("ann-1"))
    assert tailor.tailor(call, context).call.messages[0].text == "Be brave."


@pytest.mark.parametrize(
    "options",
    [{"adapters": ""}, {"adapters": 3}, {"prefix": 3}, {"replace": "yes"}, {"names": ["a"]}, {"names": {"a": 1}}],
)
def test_options_that_cannot_be(options):
    with pytest.raises(SettingsError, match=r"^lora: "):
        Lora(**options)


def test_the_registry_has_it(adapters):
    settings = Settings(tailors=("lora",), options={"lora": {"adapters": str(adapters.folder), "prefix": "p-"}})
    tailor = PluginHost(settings).registry.tailor("lora", settings)
    assert isinstance(tailor, Tailor)
    assert (tailor._adapters.folder, tailor._prefix) == (adapters.folder, "p-")


def test_it_takes_a_millisecond_or_two(tailored, adapters):
    tailor = Lora(adapters.folder)
    context = TailorContext(persona=Persona(user_id="ann"), traits=(), score=lambda *_: [])
    call = ChatCall(user_id="ann", messages=(Message(role="user", content="Why?"),))
    took = []
    for _ in range(30):
        start = time.perf_counter()
        tailor.tailor(call, context)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005


def test_it_imports_nothing_heavy(adapters):
    code = (
        "import sys; from persona_sdk.hooks import PluginHost; from persona_sdk.settings import Settings\n"
        "from persona_sdk.models import *; from persona_sdk.tailoring import TailorContext\n"
        f"s = Settings(tailors=('lora',), options={{'lora': {{'adapters': {str(adapters.folder)!r}}}}})\n"
        "t = PluginHost(s).registry.tailor('lora', s)\n"
        "call = ChatCall(user_id='ann', messages=(Message(role='user', content='x'),))\n"
        "c = TailorContext(persona=Persona(user_id='ann'), traits=(), score=lambda *_: [])\n"
        "assert t.tailor(call, c).call.adapter == 'ann-1'\n"
        "print(*{'torch', 'transformers', 'peft', 'langchain_core'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""


# A server of many adapters, over the official client


@pytest.fixture
def personalizer(adapters, tmp_path):
    made = Personalizer(
        database_url=f"sqlite:///{tmp_path}/persona.db",
        learning="manual",
        tailors=("lora", "prompt_prefix"),
        options={"lora": {"adapters": str(adapters.folder), "prefix": "persona-"}},
    )
    yield made
    made.close()


def test_a_server_is_sent_the_adapters_name_as_the_models(personalizer, adapters):
    adapters.assign("default", "bob", gave("shared-1", "shared"))
    with openai_server() as server:
        chat = personalizer.wrap(ChatOpenAI(model="base", base_url=server.url, api_key="none", max_retries=0))
        for user in ("ann", "bob", "zoe", "pat"):
            answer = chat.invoke("Why?", {"configurable": {"user_id": user}})
        asyncio.run(chat.ainvoke("Why?", {"configurable": {"user_id": "ann"}}))
        list(chat.stream("Why?", {"configurable": {"user_id": "bob"}}))
        chat.invoke("Why?", {"configurable": {"user_id": "ann"}}, model="mine")
        chat.invoke("Why?")
    assert answer.content == "echo: Why?"
    sent = [request["model"] for request in server.requests]
    assert sent == [
        "persona-ann-1",
        "persona-shared-1",
        "base",
        "base",
        "persona-ann-1",
        "persona-shared-1",
        "mine",
        "base",
    ]
    assert server.requests[0]["messages"][0] == {"role": "system", "content": SYSTEM}
    assert [m["role"] for m in server.requests[2]["messages"]] == ["user"]


def test_why_this_answer_says_which_adapter_and_why(personalizer):
    done = personalizer.tailor("ann", [{"role": "user", "content": "Why?"}])
    assert done.call.adapter == "persona-ann-1"
    (step,) = [step for step in done.steps if step.tailor == "lora"]
    assert "ann-1 predicts their 40 held-out choices better" in step.detail


def test_two_people_are_answered_by_their_own_adapters_in_one_batch(base, tmp_path):
    pytest.importorskip("torch")
    from persona_plugins.lora.chat import TunedChat
    from tests.plugins.lora import made

    adapters = Adapters(tmp_path / "tuned")
    for seed, user in enumerate(("ann", "bob")):
        made.add(adapters, base, f"{user}-1", seed, like={"rung": "own"})
        adapters.assign("default", user, gave(f"{user}-1"))
    tuned = TunedChat(adapters.folder, base=base, max_tokens=8, device="cpu")
    options = {"lora": {"adapters": str(adapters.folder)}}
    with Personalizer(
        database_url=f"sqlite:///{tmp_path}/p.db", learning="manual", tailors=("lora",), options=options
    ) as personalizer:
        chat = personalizer.wrap(tuned)
        who = [{"configurable": {"user_id": user}} for user in ("ann", "bob", "zoe")]
        answers = chat.batch(["Why?"] * 3, who)
    assert [answer.response_metadata["adapter"] for answer in answers] == ["ann-1", "bob-1", None]
    assert len({answer.content for answer in answers}) == 3
