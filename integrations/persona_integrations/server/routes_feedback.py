"""What people did with an answer."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from persona_integrations.server.access import Feedback, KeyFirst
from persona_integrations.server.errors import FAILURES
from persona_integrations.server.gateway import Gateway, gateway_of
from persona_sdk.signals import Signal

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["feedback"], route_class=KeyFirst, responses=FAILURES)


class FeedbackIn(BaseModel):
    """What somebody did with an answer: exactly one of `thumb`, `score`, `edited`, `over` and `rejected`."""

    model_config = ConfigDict(extra="forbid")

    response_id: str = Field(
        min_length=1, max_length=512, description="The `id` of the answer, or its `x-persona-call-id`."
    )
    thumb: Literal["up", "down"] | None = None
    score: float | None = Field(default=None, ge=-1, le=1, strict=True, description="From −1 (worst) to 1 (best).")
    edited: str | None = Field(default=None, description="What they made of the answer.")
    over: str | None = Field(default=None, description="They took it over the answer with this id.")
    rejected: str | None = Field(default=None, description="They took it over this text.")
    id: str | None = Field(default=None, min_length=1, max_length=512, description="Makes the request idempotent.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [v for v in (self.thumb, self.score, self.edited, self.over, self.rejected) if v is not None]
        if len(given) != 1:
            raise ValueError(f"feedback is one of thumb, score, edited, over and rejected, not {len(given)} of them")
        return self


class Recorded(BaseModel):
    """What was recorded, durably."""

    id: str
    kind: str


@router.post("/feedback", status_code=201)
async def feedback(given: FeedbackIn, gateway: Annotated[Gateway, Depends(gateway_of)], tenant: Feedback) -> Recorded:
    """Record what somebody did with an answer. When this returns, it is durable."""
    thumb = given.thumb and given.thumb == "up"
    personalizer = gateway.personalizer.for_tenant(tenant)
    said = partial(
        personalizer.afeedback,
        given.response_id,
        thumb=given.score if thumb is None else thumb,
        edited=given.edited,
        over=given.over,
        rejected=given.rejected,
        id=given.id,
    )
    signal: Signal = await gateway.recorded(said)
    gateway.metrics.signals.labels(signal.kind).inc()
    return Recorded(id=signal.id, kind=signal.kind)
