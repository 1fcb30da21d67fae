"""From examples to rows, and the personas that are put in front of them, inferred from what is trained on only.

A persona that has read the held-out choices would carry them into the prompts they are predicted from; so whoever
measures infers personas anew, with `personas_from`, from the signals behind the training examples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, TypeVar

from persona_sdk.deriving import Work, derive
from persona_sdk.errors import InputError, ModelError
from persona_sdk.inference import History, InferenceRequest, Inferrer, PairPersonas, Population
from persona_sdk.journal import MemoryJournal
from persona_sdk.memory import Consent, Memory, Verdict
from persona_sdk.models import Persona
from persona_sdk.pipeline import fault
from persona_sdk.signals import Choice, Utterance
from persona_sdk.tuning.prefixes import Prefixer
from persona_sdk.tuning.rows import Example, Row

__all__ = [
    "Source", "Training", "build_rows", "consents_of", "histories_behind", "pair_personas", "personas_from", "shown",
    "swapped",
]  # fmt: skip

_log = logging.getLogger("persona_sdk")

#: Which answer is taught as the better one, under whose persona (arXiv 2501.11549, section 4).
Training: TypeAlias = Literal["chosen", "rejected", "all", "none"]
#: Where people's signals are read.
Source: TypeAlias = Memory | Sequence[History]
_Result = TypeVar("_Result")


def build_rows(examples: Iterable[Example], prefixer: Prefixer, training: Training = "chosen") -> list[Row]:
    """Return the rows of paper 1's training types, in the order of the examples.

    "chosen" puts the prefix for the chosen answer in front. "rejected" teaches the rejected answer as the better one
    under the persona of somebody who would take it; where no such persona is known there is no row, for without it the
    row would teach the contrary of what was chosen. "all" is both, "none" has no prefix.

    Raises:
        InputError: rejected answers are to be taught under prefixes that say the same whichever answer is taught.
    """
    if training not in ("chosen", "rejected", "all", "none"):
        raise InputError("training: must be chosen, rejected, all or none", field="training")
    if training in ("rejected", "all") and not prefixer.sided:
        raise InputError(
            f"training: {training} needs prefixes that differ between the two answers (pair or retrieved), "
            f"{prefixer.label} prefixes do not",
            field="training",
        )
    rows: list[Row] = []
    for example in examples:
        if training == "none":
            rows.append(Row(example=example))
        if training in ("chosen", "all"):
            rows.append(Row(example=example, prefix=prefixer.prefix(example)))
        if training in ("rejected", "all"):
            prefix = prefixer.prefix(example, side="rejected")
            if prefix.text:
                rows.append(Row(example=swapped(example), prefix=prefix))
    return rows


def swapped(example: Example) -> Example:
    """Return an example with its answers the other way round, under an id of its own."""
    sides = {"id": f"{example.id}-rejected", "chosen": example.rejected, "rejected": example.chosen}
    return example.model_copy(update=sides)


def shown(examples: Iterable[Example]) -> dict[str, tuple[Example, ...]]:
    """Return examples by user id, each person's in their order: what a `Knowledge` may show of people."""
    people: dict[str, list[Example]] = {}
    for example in examples:
        people.setdefault(example.user_id, []).append(example)
    return {user: tuple(theirs) for user, theirs in people.items()}


def consents_of(memory: Memory, tenant: str, users: Iterable[str]) -> dict[str, Consent]:
    """Return what people consent to, by user id."""
    return {user: memory.consent(tenant, user) for user in users}


def histories_behind(source: Source, examples: Iterable[Example]) -> list[History]:
    """Return the signals that examples were made of, and what these people said in words, one history a person.

    Nothing else that they chose is in it: held-out choices stay out. Also what to fit a population on.

    Raises:
        InputError: the examples are of several tenants.
    """
    return [history for history, _ in _behind(source, list(examples))]


def personas_from(
    source: Source, inferrer: Inferrer, population: Population | None, examples: Iterable[Example]
) -> dict[str, Persona]:
    """Return, by user id, personas inferred and verified anew from the signals behind these examples only.

    Verified and settled as learning does it, rulings respected; who has no trait in the end is left out, and so is
    who could not be learnt from (a model failed), with a line in the log. Memory does not keep these personas: they
    are version 1 of nothing, `lineage.through` is 0. A population that was fitted on everything has seen the held-out
    choices, too; fit one on `histories_behind` for a strict measurement.

    Raises:
        InputError: the examples are of several tenants.
        ModelError: nobody can be learnt from any more: the budget is spent, or the key refused.
    """
    listed = list(examples)
    personas: dict[str, Persona] = {}
    for history, verdicts in _behind(source, listed):
        request = InferenceRequest(
            tenant=_tenant(listed),
            user_id=history.user_id,
            signals=history.signals,
            population=population,
            rejected=frozenset(key for key, v in verdicts.items() if v.ruling == "rejected"),
            pinned=frozenset(key for key, v in verdicts.items() if v.ruling == "pinned"),
        )
        outcome = _unless_failed(derive, Work(request, None, verdicts, 0), inferrer, history.journal)
        if outcome is not None and outcome.proposal.traits:
            personas[history.user_id] = outcome.proposal.model_copy(update={"version": 1})
    return personas


def pair_personas(source: Source, inferrer: Inferrer, examples: Iterable[Example]) -> dict[str, PairPersonas]:
    """Return, by example id, who would choose either answer, inferred from each pair alone (arXiv 2501.11549, §3).

    Examples with one answer are left out. What a model failed on has no persona, with a line in the log.

    Raises:
        InputError: the inferrer does not infer from a single choice, or the examples are of several tenants.
        ModelError: nothing can be asked any more: the budget is spent, or the key refused.
    """
    listed = list(examples)
    journals = {history.user_id: history.journal for history, _ in _behind(source, listed)}
    personas: dict[str, PairPersonas] = {}
    for example in listed:
        if example.chosen is None or example.rejected is None:
            continue
        asked = example.origin.signals[-1] if example.origin.signals else example.id
        choice = Choice(asked, example.question, example.chosen, example.rejected, example.certainty)
        try:
            found = _unless_failed(inferrer.abduce, choice, journals.get(example.user_id))
        except NotImplementedError:
            raise InputError(
                f"inferrer: {inferrer.name} does not infer a persona from a single choice; abductive does",
                field="inferrer",
            ) from None
        personas[example.id] = found or PairPersonas(None, None)
    return personas


def _behind(source: Source, examples: Sequence[Example]) -> Iterator[tuple[History, Mapping[str, Verdict]]]:
    """Yield each person's history behind the examples, and their rulings where memory knows them."""
    tenant = _tenant(examples)
    given = {} if isinstance(source, Memory) else {history.user_id: history for history in source}
    for user, theirs in shown(examples).items():
        ids = {signal for example in theirs for signal in example.origin.signals}
        verdicts: Mapping[str, Verdict] = {}
        if isinstance(source, Memory):
            signals = [stored.signal for stored in source.signals(tenant, user)]
            history = History(user, signals, MemoryJournal(source, tenant, user))
            verdicts = source.verdicts(tenant, user)
        else:
            history = given.get(user) or History(user, ())
        kept = [s for s in history.signals if s.id in ids or isinstance(s, Utterance)]
        yield replace(history, signals=kept), verdicts


def _tenant(examples: Sequence[Example]) -> str:
    tenants = {example.origin.tenant for example in examples}
    if len(tenants) > 1:
        raise InputError(
            f"tenant: these examples are of {len(tenants)} tenants, which are never mixed; build each one's rows apart",
            field="tenant",
        )
    return next(iter(tenants), "default")


def _unless_failed(ask: Callable[..., _Result], *given: object) -> _Result | None:
    """Return what `ask` does; None, and a line in the log, where a model failed for this one only."""
    try:
        return ask(*given)
    except ModelError as error:
        if error.final:
            raise
        _log.warning("a persona could not be inferred for a row: %s", fault(error))
        return None
