"""What `infer` is told about asking models: the options, the settings they make, and the account of what was asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.calling import Limits
    from persona_sdk.language import Spent

__all__ = [
    "Asked", "Attempts", "CallsPerMinute", "Embedder", "Inferrer", "InputPrice", "MaxCalls", "MaxCost", "Model",
    "OutputPrice", "Ray", "RayAddress", "Scorer", "Timeout", "Workers", "account", "as_dict", "brief",
]  # fmt: skip

#: People side by side where a model is asked and nothing else is said: learning waits for it most of the time.
MANY = 8
#: The plugin that asks models while inferring.
_PLUGIN = "abductive"

Inferrer: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The inferrer to learn with.", show_default="the configured one")
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The model it may ask; see `persona chat`.", show_default="the configured one"),
]
Embedder: TypeAlias = Annotated[
    str | None, typer.Option(metavar="SPEC", help="The embedder, if one is needed.", show_default="the configured one")
]
Scorer: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="What tests sentences on choices.", show_default="embedding")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="People side by side.", show_default=f"1, or {MANY} when a model is asked"),
]
CallsPerMinute: TypeAlias = Annotated[
    float | None, typer.Option(metavar="N", min=0.001, help="Begin no more calls a minute than this.")
]
MaxCalls: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Stop after this many calls; started again, it goes on.")
]
MaxCost: TypeAlias = Annotated[
    float | None, typer.Option(metavar="X", min=0, help="Stop once this has been spent; needs the prices.")
]
InputPrice: TypeAlias = Annotated[
    float | None, typer.Option(metavar="X", min=0, help="What a million tokens sent cost.")
]
OutputPrice: TypeAlias = Annotated[
    float | None, typer.Option(metavar="X", min=0, help="What a million tokens answered cost.")
]
Attempts: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="How often a call is made before it is given up.")
]
Timeout: TypeAlias = Annotated[float | None, typer.Option(metavar="S", min=0.001, help="Seconds a call may take.")]
Ray: TypeAlias = Annotated[
    bool, typer.Option("--ray", help="Learn on Ray workers, --workers of them (2); needs the extra `ray`.")
]
RayAddress: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="ADDR", help="The Ray cluster to use.", show_default="RAY_ADDRESS, else one started here"),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say who infers, which model it asks, and how much it may ask; None where nothing was said."""

    inferrer: str | None = None
    model: str | None = None
    embedder: str | None = None
    scorer: str | None = None
    workers: int | None = None
    calls_per_minute: float | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    input_price: float | None = None
    output_price: float | None = None
    attempts: int | None = None
    timeout: float | None = None

    def side_by_side(self, model: str | None) -> int:
        """Return how many people are learnt from at once; `model` is the one the settings name in the end."""
        return self.workers or (MANY if model else 1)

    def settings(self, model: str | None) -> dict[str, Any]:
        """Return the settings these options make; `model` is the one named by them or in the surroundings.

        Raises:
            InputError: limits are set where no model is named, or a cost without prices.
        """
        told: dict[str, Any] = {} if self.scorer is None else {"scorer": self.scorer}
        if model is not None:
            told["limits"] = self._limits(model)
        elif given := [f.name for f in fields(self)[5:] if getattr(self, f.name) is not None]:
            option = "--" + given[0].replace("_", "-")
            raise InputError(f"{option}: no model is asked; name one with --model", field=option)
        options = {_PLUGIN: told} if told else {}
        return {"inferrer": self.inferrer, "model": self.model, "embedder": self.embedder, "options": options}

    def _limits(self, model: str) -> Limits:
        from persona_sdk.calling import Limits  # noqa: PLC0415 - loaded when used

        if self.max_cost is not None and not (self.input_price or self.output_price):
            message = "--max-cost: needs --input-price and --output-price, what a million tokens cost"
            raise InputError(message, field="--max-cost")
        given = {
            "concurrency": self.side_by_side(model),
            "requests_per_minute": self.calls_per_minute,
            "max_calls": self.max_calls,
            "budget": self.max_cost,
            "input_price": self.input_price,
            "output_price": self.output_price,
            "attempts": self.attempts,
            "timeout": self.timeout,
        }
        return Limits.model_validate({name: value for name, value in given.items() if value is not None})


def brief(spent: Spent) -> str:
    """Return what was asked so far in a few words, for a progress bar; nothing if nothing was."""
    if not spent.calls and not spent.known:
        return ""
    cost = f", cost {spent.cost:.4g}" if spent.cost else ""
    return f"{spent.calls:,} calls, {spent.input_tokens + spent.output_tokens:,} tokens{cost}"


def account(spent: Spent) -> str:
    """Return what was asked in all, on one line; nothing if nothing was."""
    if not any(as_dict(spent).values()):
        return ""
    parts = [f"{spent.calls:,} calls" + (f" ({spent.known:,} more known from before)" if spent.known else "")]
    parts += [f"{spent.retried:,} retried", f"{spent.failed:,} failed"]
    parts.append(f"{spent.input_tokens:,} tokens sent, {spent.output_tokens:,} answered")
    if spent.cost:
        parts.append(f"cost {spent.cost:.4g}")
    return ", ".join(parts)


def as_dict(spent: Spent) -> dict[str, Any]:
    """Return what was asked, JSON-ready."""
    return asdict(spent)
