"""The tools: what each takes, gives back and does, and what a host is told of its effects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from persona_integrations.mcp import arguments as take
from persona_integrations.mcp import views as give
from persona_integrations.mcp.desk import Desk
from persona_sdk.errors import NotFoundError, StorageError
from persona_sdk.memory import Forgotten
from persona_sdk.models import Message, Tailored
from persona_sdk.signals import Signal
from persona_sdk.text import as_data

__all__ = ["Effect", "Tool", "added", "tools"]

#: "reads": changes nothing. "adds": each call adds something. "sets": adds something, and once is as good as twice.
#: "takes": takes something away, and once is as good as twice.
Effect: TypeAlias = Literal["reads", "adds", "sets", "takes"]
#: Where signals that come through here are from.
_SOURCE = "mcp"
_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `does` is given the desk, the user id ("" where there is none) and the arguments."""

    name: str
    title: str
    description: str
    takes: type[take.Arguments]
    gives: type[give.View]
    does: Callable[[Desk, str, Any], Coroutine[Any, Any, give.View]]
    effect: Effect
    about_user: bool = True


def tools(desk: Desk) -> list[Tool]:
    """Return the tools of a server with these powers."""
    wanted = list(_TOOLS)
    if desk.user is None:
        wanted.append(_LIST)
    if desk.allow_forget:
        wanted.append(_FORGET)
    return wanted


# What is known


async def _get_persona(desk: Desk, user_id: str, _: take.Arguments) -> give.PersonaView:
    return await desk.shown(user_id)


async def _explain_answer(desk: Desk, user_id: str, about: take.Ask) -> give.ExplanationView:
    await desk.caught_up(user_id)
    tailored = await desk.personalizer.atailor(user_id, about.question)
    why = await desk.personalizer.aexplain(tailored)
    steps = [f"{s.tailor}: {f'skipped, {s.skipped}' if s.skipped else s.detail or 'applied'}" for s in tailored.steps]
    return give.ExplanationView(
        user_id=user_id,
        gate=as_data(why.gate, 400),
        lift=str(why.lift or ""),
        used=give.trait_views(r for r in why.reasons if r.used),
        unused=give.trait_views((r for r in why.reasons if not r.used), silent=True),
        steps=[as_data(step, 400) for step in steps],
    )


async def _tailor(desk: Desk, user_id: str, given: take.Conversation) -> give.TailoredView:
    await desk.caught_up(user_id)
    messages = [turn.model_dump() for turn in given.messages]
    tailored = await desk.personalizer.atailor(user_id, messages)
    sent = [give.MessageView(role=m.role, content=m.text) for m in tailored.call.messages]
    used = {key for step in tailored.steps for key in step.traits}
    return give.TailoredView(
        user_id=user_id,
        changed=[m.model_dump() for m in sent] != messages,
        added=added(messages, tailored),
        messages=sent,
        used=[as_data(t.statement, 400) for t in tailored.gate.traits if t.key in used],
    )


def added(messages: Sequence[dict[str, Any]], tailored: Tailored) -> str:
    """Return what tailoring added to the system prompt of a conversation, "" for nothing."""
    before = _system(Message.model_validate(m) for m in messages)
    return _system(tailored.call.messages).removeprefix(before).strip()


def _system(messages: Iterable[Message]) -> str:
    return "\n\n".join(m.text for m in messages if m.role in _SYSTEM_ROLES)


async def _list_people(desk: Desk, _: str, page: take.List) -> give.PeopleView:
    people, more = await desk.people(page.after, page.limit)
    return give.PeopleView(people=people, more=more)


# What people do


def _recorded(signal: Signal) -> give.RecordedView:
    return give.RecordedView(user_id=signal.user_id, signal_id=signal.id, kind=signal.kind)


async def _record_preference(desk: Desk, user_id: str, what: take.Preferred) -> give.RecordedView:
    preference = desk.personalizer.aprefer(
        user_id, prompt=what.prompt, chosen=what.chosen, rejected=what.rejected, source=_SOURCE
    )
    return _recorded(await preference)


async def _record_statement(desk: Desk, user_id: str, what: take.Said) -> give.RecordedView:
    return _recorded(await desk.personalizer.asaid(user_id, what.text, source=_SOURCE))


async def _record_rating(desk: Desk, user_id: str, what: take.Rated) -> give.RecordedView:
    rating = desk.personalizer.arate(user_id, what.score, prompt=what.prompt, response=what.answer, source=_SOURCE)
    return _recorded(await rating)


# What people decide


async def _reject(desk: Desk, user_id: str, which: take.WhichTrait) -> give.PersonaView:
    await desk.personalizer.areject(user_id, await _trait(desk, user_id, which.trait_id))
    return await desk.shown(user_id)


async def _keep(desk: Desk, user_id: str, which: take.WhichTrait) -> give.PersonaView:
    await desk.personalizer.akeep(user_id, await _trait(desk, user_id, which.trait_id))
    return await desk.shown(user_id)


async def _allow(desk: Desk, user_id: str, which: take.WhichTrait) -> give.PersonaView:
    ruled = [one.key for one in await desk.personalizer.arulings(user_id)]
    await desk.personalizer.aallow(user_id, _one_of(ruled, which.trait_id, "no ruling on the trait"))
    return await desk.shown(user_id)


async def _trait(desk: Desk, user_id: str, given: str) -> str:
    persona = await desk.personalizer.apersona(user_id)
    return _one_of([t.id for t in persona.traits], given, "no trait")


def _one_of(ids: Sequence[str], given: str, nothing: str) -> str:
    """Return the id that was meant: as it is, or as it was shown.

    Raises:
        NotFoundError: there is none, or two that are shown alike.
    """
    found = [one for one in ids if one == given] or [one for one in ids if give.named(one) == given]
    if len(found) != 1:
        listed = ", ".join(give.named(one) for one in ids) or "none"
        raise NotFoundError(f"there is {nothing} '{as_data(given, 80)}' of this person; there are: {listed}")
    return found[0]


async def _pin(desk: Desk, user_id: str, which: take.Version) -> give.PersonaView:
    await _has_versions(desk, user_id)
    await desk.personalizer.apin(user_id, which.version or None)
    return await desk.shown(user_id)


async def _unpin(desk: Desk, user_id: str, _: take.Arguments) -> give.PersonaView:
    await _has_versions(desk, user_id)
    await desk.personalizer.aunpin(user_id)
    return await desk.shown(user_id)


async def _has_versions(desk: Desk, user_id: str) -> None:
    persona = await desk.personalizer.apersona(user_id)
    if not persona.version:
        raise NotFoundError(f"there is no version of this persona yet: {persona.note}")


async def _forget(desk: Desk, user_id: str, _: take.Arguments) -> give.ErasedView:
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used

    gone, affected, failed = Forgotten(0, 0), [], []  # what fails does not keep the rest from being done
    try:
        gone = await desk.personalizer.aforget(user_id)
    except StorageError as error:
        failed.append(str(error))
    try:
        # After memory: a training that begins in between would read them again, and nobody would know.
        affected = await asyncio.to_thread(Adapters(desk.adapters).forget, desk.personalizer.tenant, user_id)
    except StorageError as error:
        erased = "" if failed else "they were erased from memory, but "
        failed.append(f"{erased}not from all tuned models in {desk.adapters}: {error}; forget them again")
    if failed:
        raise StorageError("; ".join(failed))
    return give.ErasedView(
        user_id=user_id,
        signals=gone.signals,
        versions=gone.versions,
        adapters=[f"{one.name}: {one.became}" for one in affected],
    )


_TOOLS = (
    Tool(
        "get_persona",
        "What is known of a person",
        "What is known of the person: each trait with its weight, evidence and status, how well the traits predict the "
        "person's choices, and what the person took back. Someone of whom nothing is known has no traits.",
        take.Arguments,
        give.PersonaView,
        _get_persona,
        "reads",
    ),
    Tool(
        "tailor_conversation",
        "What to send to a model for this person",
        "The conversation as a model should be sent it to answer this person in their way: `messages` in place of the "
        "given ones, or `added` to put behind a system prompt. Unchanged where nothing relevant is known.",
        take.Conversation,
        give.TailoredView,
        _tailor,
        "reads",
    ),
    Tool(
        "explain_answer",
        "Why an answer is tailored as it is",
        "Which traits of the person speak to a question and are told to a model, which stay silent and why, and the "
        "evidence for each.",
        take.Ask,
        give.ExplanationView,
        _explain_answer,
        "reads",
    ),
    Tool(
        "record_preference",
        "Record a choice between two answers",
        "Record that the person took one answer over another to the same question. Only choices they really made. "
        "Durable when this returns; each call records one more choice.",
        take.Preferred,
        give.RecordedView,
        _record_preference,
        "adds",
    ),
    Tool(
        "record_statement",
        "Record what the person said",
        "Record what the person said about themselves or about how they want to be answered, in their own words. "
        "Durable when this returns; each call records it once more.",
        take.Said,
        give.RecordedView,
        _record_statement,
        "adds",
    ),
    Tool(
        "record_rating",
        "Record a rating of an answer",
        "Record how the person rated an answer. Only ratings they really gave. Durable when this returns; each call "
        "records one more rating.",
        take.Rated,
        give.RecordedView,
        _record_rating,
        "adds",
    ),
    Tool(
        "reject_trait",
        "Take a trait back",
        "The person says that a trait is not true of them: it goes, and later learning does not bring it back. Only "
        "when they ask for it. allow_trait undoes it.",
        take.WhichTrait,
        give.PersonaView,
        _reject,
        "takes",
    ),
    Tool(
        "keep_trait",
        "Keep a trait",
        "The person confirms a trait: it stays, whatever later signals say. Only when they ask for it. allow_trait "
        "undoes it.",
        take.WhichTrait,
        give.PersonaView,
        _keep,
        "sets",
    ),
    Tool(
        "allow_trait",
        "Undo a ruling on a trait",
        "Undo an earlier reject_trait or keep_trait: what was learnt decides again. `rulings` in get_persona lists "
        "them.",
        take.WhichTrait,
        give.PersonaView,
        _allow,
        "takes",
    ),
    Tool(
        "pin_persona",
        "Keep a version of the persona",
        "Keep a version of the persona as it is, whatever later signals say, until unpin_persona.",
        take.Version,
        give.PersonaView,
        _pin,
        "sets",
    ),
    Tool(
        "unpin_persona",
        "Let the persona follow new signals",
        "Let new signals change the persona again after pin_persona.",
        take.Arguments,
        give.PersonaView,
        _unpin,
        "sets",
    ),
)
_LIST = Tool(
    "list_people",
    "Who is known",
    "The ids of the people that there are signals of, a page at a time.",
    take.List,
    give.PeopleView,
    _list_people,
    "reads",
    about_user=False,
)
_FORGET = Tool(
    "forget_person",
    "Erase everything about a person",
    "Erase everything about the person: signals, personas, rulings. It cannot be undone. Only when the person asks to "
    "be forgotten.",
    take.Arguments,
    give.ErasedView,
    _forget,
    "takes",
)
