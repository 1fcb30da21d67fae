"""Whoever a server is bound to is the only one it reads and changes, whatever is asked of it; and tenants are apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import MCPError

from persona_sdk.engine import Personalizer
from tests.integrations.mcp.talking import SECRET, bob, connected, copied, done, outcome

MINE: dict[str, dict[str, Any]] = {
    "get_persona": {},
    "tailor_conversation": {"messages": [{"role": "user", "content": "I'm bob. What bread does bob like?"}]},
    "explain_answer": {"question": "What is known of bob?"},
    "record_preference": {"prompt": "bob", "chosen": "a", "rejected": "b"},
    "record_statement": {"text": "I'm bob."},
    "record_rating": {"prompt": "bob", "answer": "bob", "score": 1},
    "reject_trait": {"trait_id": "said:eat fish/against"},
    "keep_trait": {"trait_id": "said:eat fish/against"},
    "allow_trait": {"trait_id": "said:eat fish/against"},
    "pin_persona": {"version": 1},
    "unpin_persona": {},
    "forget_person": {},
}


def all_of(personalizer: Personalizer, user: str) -> tuple[object, ...]:
    return personalizer.signals(user), personalizer.versions(user), personalizer.rulings(user)


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("other", [{}, {"user_id": "bob"}, {"user": "bob"}, {"_meta": {"user_id": "bob"}}])
async def test_a_bound_server_reaches_nobody_else(both: Personalizer, name: str, other: dict[str, Any]) -> None:
    before, ada = all_of(both, "bob"), all_of(both, "ada")
    async with connected(both, user="ada", allow_forget=True) as client:
        worked, said = await outcome(client, name, MINE[name] | other)
    assert SECRET not in said
    assert all_of(both, "bob") == before
    if other:
        assert not worked
        assert "Extra inputs are not permitted" in said
        assert all_of(both, "ada") == ada


@pytest.mark.parametrize("path", ["", "/traits.json", "/signals.json"])
@pytest.mark.parametrize("who", ["bob", "%62ob", "ada/../bob", "me/../bob", "bob/../me"])
async def test_a_bound_server_shows_nobody_else(both: Personalizer, who: str, path: str) -> None:
    async with connected(both, user="ada") as client:
        with pytest.raises(MCPError) as failure:
            await client.read_resource(f"persona://{who}{path}")
        assert failure.value.error.message.startswith(("this server shows one person only", "there is no such"))
        with pytest.raises(MCPError):
            await client.get_prompt("personalise", {"user_id": "bob"})


async def test_bound_to_ada_somebody_called_me_is_not_shown(both: Personalizer) -> None:
    both.said("me", "I don't eat soup.")
    async with connected(both, user="ada") as client:
        read = (await client.read_resource("persona://me")).contents[0].text
    assert read.startswith("# ada\n")
    assert "soup" not in read


async def test_a_call_of_somebody_else_is_not_explained(both: Personalizer) -> None:
    call = both.tailor("bob", "What bread?")
    async with connected(both, user=call.call_id) as client:
        persona = await done(client, "get_persona")
    assert (persona["user_id"], persona["known"]) == (call.call_id, False)


@pytest.fixture(scope="module")
def two(learnt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Personalizer]:
    """Ada and Bob, for many questions in a row."""
    with copied(learnt, "both.db", tmp_path_factory.mktemp("two")) as personalizer:
        yield personalizer


NAMES = st.sampled_from(["bob", "said:eat fish", "said:eat fish/against", "persona://bob", "user_id", "ada", "me"])
VALUES = NAMES | st.integers(-2, 3) | st.just([{"role": "user", "content": "bob"}]) | st.text(max_size=5)
KEYS = ["user_id", "user", "prompt", "chosen", "rejected", "text", "answer", "score", "trait_id", "version", "messages"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from([*MINE, "list_people"]), st.dictionaries(st.sampled_from([*KEYS, "question"]), VALUES)
        ),
        max_size=4,
    ),
    uris=st.lists(st.sampled_from(["", "bob", "me"]) | st.text("bob/%62.me", max_size=8), max_size=3),
)
def test_nothing_that_is_asked_of_a_bound_server_reaches_bob(two: Personalizer, calls: Any, uris: Any) -> None:
    before = all_of(two, "bob")

    async def ask() -> list[str]:
        async with connected(two, user="ada") as client:
            told = [(await outcome(client, name, arguments))[1] for name, arguments in calls]
            for uri in uris:
                try:
                    told.append((await client.read_resource(f"persona://{uri}")).contents[0].text)
                except MCPError as error:
                    told.append(error.error.message)
        return told

    assert SECRET not in "".join(asyncio.run(ask()))
    assert all_of(two, "bob") == before


async def test_tenants_are_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tenants.db'}"
    with Personalizer(url, tenant="one") as one, Personalizer(url, tenant="two", time_budget=30) as two:
        bob(one)
        before = all_of(one, "bob")
        async with connected(two, allow_forget=True) as client:
            assert await done(client, "list_people") == {"people": [], "more": False}
            assert (await client.list_resources()).resources == []
            assert (await done(client, "get_persona", user_id="bob"))["known"] is False
            assert "nothing is known" in (await client.read_resource("persona://bob")).contents[0].text
            for name, arguments in MINE.items():
                _, said = await outcome(client, name, {"user_id": "bob", **arguments})
                assert SECRET not in said
        assert all_of(one, "bob") == before
