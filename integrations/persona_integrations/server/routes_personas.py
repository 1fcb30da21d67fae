"""What is known of people, for those who may read and change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from persona_integrations.server.access import Admin, Feedback, KeyFirst
from persona_integrations.server.errors import FAILURES
from persona_integrations.server.gateway import Gateway, gateway_of
from persona_sdk.engine import Personalizer
from persona_sdk.explanation import Explanation
from persona_sdk.explanation import explain as in_words
from persona_sdk.memory import Ruling
from persona_sdk.models import GateDecision, Lift, Persona, Trait

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["personas"], route_class=KeyFirst, responses=FAILURES)
_Gateway = Annotated[Gateway, Depends(gateway_of)]
_JSON_LINES = "application/x-ndjson"


class Reason(BaseModel):
    """A trait with the evidence for it, in words."""

    trait: Trait
    evidence: list[str]


class PersonaOut(BaseModel):
    """What is known of somebody. Version 0 means nothing yet; `note` then says why."""

    user_id: str
    version: int
    pinned: bool
    note: str
    summary: str
    lift: Lift | None
    traits: list[Reason]


class Said(BaseModel):
    """Something a person said about themselves, in their own words."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1)
    id: str | None = Field(default=None, min_length=1, max_length=512)


class Which(BaseModel):
    """A trait, by its key or its id."""

    model_config = ConfigDict(extra="forbid")

    trait: str = Field(min_length=1)


class Version(BaseModel):
    """A version of a persona; None for the current one."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1, le=2**31 - 1, strict=True)


class Earlier(BaseModel):
    """An earlier version of a persona."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1, strict=True)


class Ruled(BaseModel):
    """What somebody decided about a trait, named by its id."""

    trait: str
    ruling: Ruling
    statement: str


class Erased(BaseModel):
    """How much was erased."""

    signals: int
    versions: int


async def _out(personalizer: Personalizer, persona: Persona) -> PersonaOut:
    # Not `aexplain`, which takes an id for a call's first, and a person may be called like one.
    signals = {signal.id: signal for signal in await personalizer.asignals(persona.user_id)}
    why = in_words(persona, GateDecision(open=True, reason=""), (), signals)
    evidence = {reason.trait.id: list(reason.evidence) for reason in why.reasons}
    return PersonaOut(
        user_id=persona.user_id,
        version=persona.version,
        pinned=persona.pinned,
        note=persona.note,
        summary=persona.summary,
        lift=persona.lift,
        traits=[Reason(trait=t, evidence=evidence.get(t.id, [])) for t in persona.traits],
    )


# What has a suffix comes first: a user id may hold a slash.


@router.get("/personas/{user_id:path}/versions")
async def versions(user_id: str, gateway: _Gateway, tenant: Admin) -> list[Persona]:
    """Return all versions of a persona, the oldest first."""
    return await gateway.personalizer.for_tenant(tenant).aversions(user_id)


@router.get(
    "/personas/{user_id:path}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {_JSON_LINES: {"schema": {"type": "string"}}}}},
)
async def export(user_id: str, gateway: _Gateway, tenant: Admin) -> StreamingResponse:
    """Return everything a person did, as JSON Lines that `persona import` reads."""
    signals = await gateway.personalizer.for_tenant(tenant).asignals(user_id)

    async def lines() -> AsyncIterator[str]:
        for signal in signals:
            yield signal.model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type=_JSON_LINES)


@router.get("/personas/{user_id:path}/rulings")
async def rulings(user_id: str, gateway: _Gateway, tenant: Admin) -> list[Ruled]:
    """Return the traits that were rejected or kept; `allow` takes that back, given the `trait`."""
    found = await gateway.personalizer.for_tenant(tenant).arulings(user_id)
    return [Ruled(trait=one.key, ruling=one.ruling, statement=one.statement) for one in found]


@router.post("/personas/{user_id:path}/said", status_code=201)
async def said(user_id: str, given: Said, gateway: _Gateway, tenant: Feedback) -> dict[str, str]:
    """Record what a person said of themselves: it becomes a quoted trait, and beats what was inferred."""
    about: Any = {} if given.id is None else {"id": given.id}
    signal = await gateway.personalizer.for_tenant(tenant).asaid(user_id, given.text, **about)
    gateway.metrics.signals.labels(signal.kind).inc()
    return {"id": signal.id, "kind": signal.kind}


@router.post("/personas/{user_id:path}/reject")
async def reject(user_id: str, which: Which, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Take a trait back; later inference does not bring it back."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.areject(user_id, which.trait))


@router.post("/personas/{user_id:path}/keep")
async def keep(user_id: str, which: Which, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Keep a trait, whatever the person does later."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.akeep(user_id, which.trait))


@router.post("/personas/{user_id:path}/allow")
async def allow(user_id: str, which: Which, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Take an earlier reject or keep back."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.aallow(user_id, which.trait))


@router.post("/personas/{user_id:path}/pin")
async def pin(user_id: str, which: Version, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Keep a version of a persona as it is, until it is unpinned."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.apin(user_id, which.version))


@router.post("/personas/{user_id:path}/unpin")
async def unpin(user_id: str, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Let a persona change again."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.aunpin(user_id))


@router.post("/personas/{user_id:path}/rollback")
async def rollback(user_id: str, which: Earlier, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Make an earlier version the current one."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.arollback(user_id, which.version))


@router.get("/personas/{user_id:path}")
async def read(user_id: str, gateway: _Gateway, tenant: Admin) -> PersonaOut:
    """Return what is known of a person, with the evidence, and how well it predicts what they choose."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    return await _out(personalizer, await personalizer.apersona(user_id))


@router.delete("/personas/{user_id:path}")
async def erase(user_id: str, gateway: _Gateway, tenant: Admin) -> Erased:
    """Erase everything about a person, and what was seen of them before this."""
    await gateway.recorder.catch_up()
    forgotten = await gateway.personalizer.for_tenant(tenant).aforget(user_id)
    return Erased(signals=forgotten.signals, versions=forgotten.versions)


@router.get("/personas")
async def people(
    gateway: _Gateway,
    tenant: Admin,
    start: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[str]:
    """Return whom something is known of."""
    users: list[str] = await gateway.personalizer.for_tenant(tenant).ausers()
    return users[start : start + limit]


@router.get("/explanations/{response_id:path}")
async def explain(response_id: str, gateway: _Gateway, tenant: Admin) -> Explanation:
    """Return why an answer was tailored as it was: which traits spoke, from which evidence, and which were silent."""
    personalizer = gateway.personalizer.for_tenant(tenant)
    # `aexplain` takes what is no answer's id for a person.
    await gateway.recorded(partial(personalizer.acall, response_id))
    return await personalizer.aexplain(response_id)
