"""Every method that may block has an async twin, and the two cannot be told apart by what they return."""

import asyncio
import inspect
import io
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from persona_sdk import Personalizer
from persona_sdk.errors import InputError, NotFoundError
from persona_sdk.signals import Utterance
from tests.support.people import QUESTIONS, chooses, hedged

#: Methods that touch neither memory nor a model: there is nothing to wait for.
INSTANT = {"for_tenant", "plugins", "wrap"}
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def public_methods():
    return {n for n, m in inspect.getmembers(Personalizer, inspect.isfunction) if not n.startswith("_")}


SYNC = sorted(n for n in public_methods() if not inspect.iscoroutinefunction(getattr(Personalizer, n)))
WAITING = [n for n in SYNC if n not in INSTANT]


@pytest.mark.parametrize("name", WAITING)
def test_every_method_has_a_twin_with_the_same_parameters(name):
    twin = getattr(Personalizer, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert inspect.signature(twin) == inspect.signature(getattr(Personalizer, name))
    assert twin.__doc__ == getattr(Personalizer, name).__doc__


def test_there_is_no_other_async_method():
    assert public_methods() - set(SYNC) == {f"a{name}" for name in WAITING}


def plain(value):
    """A result as plain data, without what differs from run to run: times and made-up call ids."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("at", "call_id")}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


async def chat(call, results):
    """The part of the story around one answer."""
    await call("notice", "ada", [{"role": "user", "content": "Good morning."}])
    await call("notice", "ada", [{"content": "nobody says this"}])
    tailored = await call("tailor", "ada", "What should I cook for dinner?", model="m")
    await call("choose", tailored, [hedged(1), "Pasta."])
    await call("answered", tailored, "Pasta.", "r1")
    await call("call", "r1")
    await call("call", "unheard-of")
    await call("explain", tailored)
    await call("explain", "r1")
    await call("feedback", "r1", edited="Pasta, please.", id="f")
    await call("feedback", "r1")
    about = {"response_id": tailored.call_id, "at": NOON}
    for name, args in (("rate", (True,)), ("edited", ("Pasta!",)), ("regenerated", ())):
        signal = await call(name, "ada", *args, id=name, **about)
        results[-1] = (name, plain(signal.model_copy(update={"response_id": "the call"})))
    await call("rate", "ada", True, response_id="unheard-of")


async def story(do, path):
    """Do one thing after the other, every method at least once; return what each returned."""
    results = []

    async def call(name, *args, **kwargs):
        try:
            result = await do(name, *args, **kwargs)
        except (InputError, NotFoundError) as error:
            result = error
        results.append((name, repr(result) if isinstance(result, Exception) else plain(result)))
        return result

    for user, crisp in (("ada", True), ("bob", False)):
        for n, (prompt, short) in enumerate(QUESTIONS):
            pair = (short, hedged(n)) if crisp else (hedged(n), short)
            await call("prefer", user, prompt=prompt, chosen=pair[0], rejected=pair[1], id=f"{user}-{n}", at=NOON)
    await call("observe", [Utterance(id="o", user_id="ada", text="I am a vegetarian.", at=NOON)])
    await call("said", "ada", "Hello.", id="u", at=NOON)
    await call("said", "", "nobody says this")
    await call("tenants")
    await call("pending")
    await call("learn_pending")
    await call("learn", "ada")
    await call("persona", "ada")
    await call("persona", "nobody")
    await chat(call, results)
    await call("score", "ada", "Why?", ["Because.", hedged(2)])
    await call("untailored", "ada", "Why?", "no time")
    await call("users")
    await call("versions", "ada")
    await call("diff", "ada", 1, 2)
    await call("rollback", "ada", 1)
    await call("pin", "ada")
    await call("unpin", "ada")
    await call("keep", "ada", "said:vegetarian")
    await call("reject", "ada", "said:vegetarian")
    await call("reject", "ada", "unheard-of")
    await call("rulings", "ada")
    await call("allow", "ada", "said:vegetarian/for")
    await call("share", "bob", lend=False)
    for name, args in (("consent", ["bob"]), ("refit", []), ("neighbours", ["ada"]), ("rebuild_index", [])):
        await call(name, *args)
    await call("index_status")
    await call("spent")
    await call("flush", 1)
    with path.open("w") as file:
        await call("export_jsonl", file, user_id="bob")
    await call("forget", "bob")
    await call("signals", "bob")
    await call("import_jsonl", path)
    await call("signals", "bob")
    await call("close")
    return results


def test_the_same_story_sync_and_async(tmp_path):
    def make(name):
        return Personalizer(
            f"sqlite:///{tmp_path / name}.db",
            learning="manual",
            calls="memory",
            time_budget=30,
            similar="similar_personas",
            index="exact",
        )

    one, other = make("one"), make("other")

    async def sync(name, *args, **kwargs):
        return getattr(one, name)(*args, **kwargs)

    async def twin(name, *args, **kwargs):
        return await getattr(other, f"a{name}")(*args, **kwargs)

    told = asyncio.run(story(sync, tmp_path / "one.jsonl"))
    assert {name for name, _ in told} == set(WAITING)
    for here, there in zip(told, asyncio.run(story(twin, tmp_path / "other.jsonl")), strict=True):
        assert here == there


async def test_many_calls_at_once(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path / 'p.db'}", learning="manual", time_budget=30) as p:
        chooses(p, "ada")
        await p.alearn("ada")
        asks = [p.atailor("ada", q) for q, _ in QUESTIONS] + [p.asaid("ann", f"I said {n}.") for n in range(20)]
        done = await asyncio.gather(*asks)
        assert all(t.gate.open for t in done[: len(QUESTIONS)])
        assert {s.text for s in p.signals("ann")} == {f"I said {n}." for n in range(20)}
        file = io.StringIO()
        assert await p.aexport_jsonl(file) == 28
