"""What `evaluate tailoring` measures: which models, with which adapters, and on whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_integrations.cli.progress import steps
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.evaluation.tailoring import Arm, Setup, TailoringReport
    from persona_sdk.evaluation.tailoring_cases import Cases
    from persona_sdk.evaluation.tailoring_tax import Neutral, TaxReport
    from persona_sdk.evaluation.tailoring_text import TextFigures
    from persona_sdk.hooks import Registry
    from persona_sdk.tuning.cards import Card

__all__ = ["Measured", "Work", "measured"]

#: The name of the model without an adapter.
_BASE = "base"


@dataclass(frozen=True, slots=True)
class Measured:
    """The models by name, the base first, and the cards of the adapters among them."""

    models: dict[str, Any]
    cards: list[Card]

    @property
    def system(self) -> str:
        """The system message that adapters were trained with."""
        return next((card.system for card in self.cards if card.system), "")


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured, on whom: `kinds` of prefixes, by their full names; `system` is said where nothing is."""

    cases: Cases
    kinds: Sequence[str]
    measured: Measured
    system: str
    seed: int

    def report(self) -> TailoringReport:
        """Measure how often what was chosen is preferred."""
        from persona_sdk.evaluation.tailoring import evaluate_tailoring  # noqa: PLC0415 - loaded when used

        known = self.cases.knowledge
        with _shown("measuring") as progress:
            return evaluate_tailoring(self.cases.asked, known, self._arms(self.kinds), self._setup(), progress=progress)

    def written(self, count: int, max_tokens: int) -> dict[str, TextFigures]:
        """Let every model answer some questions, with a prefix and without."""
        from persona_sdk.evaluation.tailoring_text import draw_prompts, evaluate_text  # noqa: PLC0415 - loaded when used

        prompts = draw_prompts(self.cases.asked, count, self.seed)
        arms, setup, sampling = self._arms(self._own()), self._setup(), {"max_tokens": max_tokens}
        with _shown("writing") as progress:
            return evaluate_text(prompts, self.cases.knowledge, arms, setup, sampling=sampling, progress=progress)

    def tax(self, prompts: Sequence[Neutral], people: int) -> TaxReport:
        """Measure what tailoring costs on neutral prompts, with the prefixes of some people."""
        from persona_sdk.evaluation.tailoring_tax import evaluate_tax  # noqa: PLC0415 - loaded when used
        from persona_sdk.evaluation.tailoring_text import draw_prompts  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.prefixes import prefixer  # noqa: PLC0415 - loaded when used

        drawn = draw_prompts(self.cases.asked, len(self.cases.asked), self.seed)  # everybody in turn
        own = self._own()
        known = prefixer(own[0], self.cases.knowledge).known() if own else {}
        # First those of whom something is known: who has nothing in front costs nothing.
        users = sorted(dict.fromkeys(example.user_id for example in drawn), key=lambda user: user not in known)[:people]
        arms, setup = self._arms(own), self._setup()
        with _shown("measuring the cost") as progress:
            return evaluate_tax(prompts, users, self.cases.knowledge, arms, setup, progress=progress)

    def _arms(self, kinds: Sequence[str]) -> list[Arm]:
        from persona_sdk.evaluation.tailoring import arms_of  # noqa: PLC0415 - loaded when used

        return arms_of(self.measured.models, kinds)

    def _setup(self) -> Setup:
        from persona_sdk.evaluation.tailoring import Setup, contrary_people  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.prefixes import PrefixOptions  # noqa: PLC0415 - loaded when used

        known = self.cases.knowledge
        lenders = {user for user in known.personas if known.consent(user).lend}
        contrary = contrary_people(known.personas, lenders) if "persona" in self.kinds else {}
        return Setup(self.cases.trained, contrary, PrefixOptions(seed=self.seed), self.system)

    def _own(self) -> list[str]:
        """Return one kind of prefix to write and to be charged with: the persona, or the first that is one's own."""
        own = [kind for kind in self.kinds if kind != "none" and not kind.startswith("shuffled")]
        return ["persona"] if "persona" in own else own[:1]


def measured(registry: Registry, folder: Path | None, names: list[str] | None, base: str | None) -> Measured:
    """Find the models to measure.

    Raises:
        InputError: a model cannot say how likely it finds an answer, or an adapter cannot be used.
        MissingExtraError: the packages for it are not installed.
    """
    cards: list[Card] = []
    if folder is None and not names:
        models = {_BASE: registry.chat_model(base or "local")}
    else:
        folder = folder or Path("adapters")
        cards = _cards(folder, names)
        # A chat answers with the base where an adapter cannot be used; measured, that would be a wrong figure.
        update = {"strict": True, **({"base": base} if base else {})}
        tuned: Any = registry.chat_model(f"tuned:{folder}")
        if not hasattr(tuned, "with_adapter") or not hasattr(tuned, "model_copy"):
            raise InputError("--adapters: the model that is registered as `tuned` has none; use the plugin lora")
        tuned = tuned.model_copy(update=update)
        models = {_BASE: tuned.with_adapter(None), **{card.name: tuned.with_adapter(card.name) for card in cards}}
    if not all(hasattr(model, "log_likelihoods") for model in models.values()):
        raise InputError(
            "--base: this model cannot say how likely it finds an answer; local models and tuned ones can",
            field="--base",
        )
    return Measured(models, cards)


def _cards(folder: Path, names: list[str] | None) -> list[Card]:
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used

    adapters = Adapters(folder)
    usable = [name for name in adapters.names() if adapters.usable(name)]
    if not names:
        if len(usable) != 1:
            known = f"there are {', '.join(usable[:10])}" if usable else f"there is none in {folder} that may be used"
            raise InputError(f"--adapter: name the one to measure; {known}", field="--adapter")
        names = usable
    cards = [adapters.card(name) for name in dict.fromkeys(names)]
    withdrawn = [card.name for card in cards if card.name not in usable]
    if withdrawn:
        raise InputError(
            f"--adapter: {withdrawn[0]} must not be used since somebody was forgotten; train it anew", field="--adapter"
        )
    return cards


@contextmanager
def _shown(label: str) -> Iterator[Callable[[float], None]]:
    """Show a share of work done."""
    with steps(label, 1000) as done:
        yield lambda share: done(round(1000 * share))
