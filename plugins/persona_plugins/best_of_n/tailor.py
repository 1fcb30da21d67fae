"""Best of n: tailoring by choosing among answers, for any model and without a word in the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from persona_sdk.errors import SettingsError
from persona_sdk.models import ChatCall, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult

__all__ = ["BestOfN"]


class BestOfN(Tailor):
    """Asks the model for `n` answers and gives the one with the highest utility for this person.

    Costs n answers a call. With a persona whose inferrer has no scorer it changes nothing.
    """

    name = "best_of_n"

    def __init__(self, n: int = 4) -> None:
        if not isinstance(n, int) or not 2 <= n <= 64:
            raise SettingsError(f"best_of_n: n must be a whole number from 2 to 64, not {n!r}")
        self._n = n

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Ask for n answers instead of one."""
        if not context.score(call, ("a", "b")):
            return TailorResult(call, TailorStep(tailor=self.name, skipped="nothing can score answers for this person"))
        step = TailorStep(
            tailor=self.name,
            traits=tuple(t.key for t in context.traits if not t.stated),
            detail=f"the best of {self._n} answers is given",
        )
        return TailorResult(call.override(n=max(call.n, self._n)), step)

    def choose(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> int | None:
        """Return the index of the answer with the highest utility, the earliest of equals; None without a scorer."""
        utilities = list(context.score(call, answers))
        return max(range(len(utilities)), key=utilities.__getitem__) if utilities else None
