"""Talking to the MCP server with the official client, and people worth talking about."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, MCPError, StdioServerParameters

from persona_integrations.mcp import mcp_server
from persona_sdk.engine import Personalizer
from persona_sdk.models import Evidence, Trait, TraitStatus

#: A word of Bob's that occurs nowhere else: where it shows, something of his was told.
SECRET = "zorblaxian"
LONG = (
    "Well, that depends on many things, and there is a long story to it, with details and considerations to weigh. " * 2
)
PERSONA = [sys.executable, "-m", "persona_integrations.cli"]


def teach(personalizer: Personalizer, user: str) -> None:
    """Have somebody choose short answers, and say something."""
    for number in range(12):
        prompt, chosen = f"How do I do thing {number}?", f"Do it like {number}."
        personalizer.prefer(user, prompt=prompt, chosen=chosen, rejected=LONG)
    personalizer.said(user, "I don't eat meat.")


def claim(personalizer: Personalizer, user: str, key: str, words: str, status: TraitStatus = "pinned") -> None:
    """Have something in just these words be known of somebody, as a plugin of a stranger's might say it."""
    signal = personalizer.said(user, words)
    evidence = (Evidence(signal_id=signal.id, quote=words), Evidence(signal_id=words))
    trait = Trait(
        key=key,
        statement=words,
        weight=1,
        interval=(1, 1),
        evidence=evidence,
        status=status,
        stated=True,
        scope=(words,),
    )
    personalizer._memory.remember(personalizer.persona(user).model_copy(update={"traits": (trait,)}), None)


def bob(personalizer: Personalizer) -> None:
    """Have Bob say something that is nobody else's business, and rule on it."""
    personalizer.said("bob", f"I own a {SECRET} bakery. I don't eat fish.")
    personalizer.prefer("bob", prompt="Bread?", chosen=f"Take {SECRET} rye.", rejected="Take wheat.")
    personalizer.keep("bob", personalizer.persona("bob").traits[0].id)


def copied(folder: Path, name: str, to: Path) -> Personalizer:
    """Open a copy of a database."""
    for file in folder.glob(f"{name}*"):
        shutil.copy(file, to)
    return Personalizer(f"sqlite:///{to / name}", time_budget=30)


@asynccontextmanager
async def connected(personalizer: Personalizer, mode: str = "auto", **options: Any) -> AsyncIterator[Client]:
    async with Client(mcp_server(personalizer, **options), mode=mode) as client:
        yield client


async def done(client: Client, name: str, /, **arguments: Any) -> Any:
    """Call a tool that must work, and return what it gave; the client has checked it against the tool's schema."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content[0].text
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refused(client: Client, name: str, /, **arguments: Any) -> str:
    """Call a tool that must not work, and return why."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    assert result.structured_content is None
    return result.content[0].text


async def outcome(client: Client, name: str, arguments: dict[str, Any]) -> tuple[bool, str]:
    """Call a tool, and return whether it worked and all that was told."""
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return False, error.error.message
    return not result.is_error, result.content[0].text


async def text_at(client: Client, uri: str) -> str:
    [contents] = (await client.read_resource(uri)).contents
    assert contents.uri == uri
    return contents.text


def started(folder: Path, *options: str, first: tuple[str, ...] = (), tenant: str = "default") -> StdioServerParameters:
    """Return how a host starts `persona mcp` in a folder, `first` in front of it."""
    top = ["--db", f"sqlite:///{folder / 'persona.db'}", "--tenant", tenant]
    command = [*first, *PERSONA, *top, "mcp", *options]
    return StdioServerParameters(command=command[0], args=command[1:], cwd=folder, env=surroundings())


def surroundings() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
