"""Rows as TRL's datasets, checked: what TRL would cut, drop or write otherwise than the model is asked, is said."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from jinja2 import TemplateError
from torch.utils.data import Sampler

from persona_sdk.errors import InputError
from persona_sdk.tuning.recipes import Method
from persona_sdk.tuning.rows import Form, Row, RowFormat, trl_rows

__all__ = ["Alike", "Text", "dataset", "longest", "needs"]

_log = logging.getLogger("persona_sdk")

#: What TRL's trainers read for each method.
_FORMS: dict[Method, Form] = {"sft": "sft", "dpo": "preference", "kto": "kto"}
_NEEDS = {"sft": "chosen answers", "dpo": "pairs of a chosen and a rejected answer", "kto": "answers"}


@dataclass(frozen=True, slots=True)
class Text:
    """How rows become text: the tokenizer, whether it writes conversations, what stands in front, the seed."""

    tokenizer: Any
    template: RowFormat
    system: str
    seed: int


def dataset(rows: Sequence[Row], method: Method, text: Text, limit: int | None = None) -> Dataset | None:
    """Return rows as TRL reads them for a method, each with its `length` in tokens; None if none is of use.

    Rows longer than `limit` tokens are left out, and the log says how many: TRL would cut their answers.

    Raises:
        InputError: the base's template cannot write such a conversation, or writes it differently once it is answered,
            so that something else would be learnt than what the model is asked.
    """
    made = trl_rows(rows, _FORMS[method], template=text.template, system=text.system)
    for row in made:
        row["length"] = _length(row, text)
        del row["id"]
    fitting = [row for row in made if limit is None or row["length"] <= limit]
    if len(fitting) < len(made):
        _log.warning(
            "%d of %d rows are longer than %d tokens, and are left out; a longer --max-length, or a base with a longer "
            "context, would take them",
            len(made) - len(fitting), len(made), limit,
        )  # fmt: skip
        made = fitting
    if not made:
        return None
    if method == "kto":  # a batch's answers are paired with other prompts of it: they must not all be one person's
        random.Random(text.seed).shuffle(made)  # noqa: S311 - a seeded draw
    return Dataset.from_list(made)


def needs(method: Method) -> str:
    """Return what rows must have for a method."""
    return _NEEDS[method]


def longest(*sets: Dataset | None) -> int:
    """Return the tokens of the longest row of some datasets."""
    return max(int(length) for one in sets if one is not None for length in one["length"])


def _length(row: Mapping[str, Any], text: Text) -> int:
    """Return the tokens of a row's longest side, having checked that each goes on from the prompt as it is asked."""
    answers = [row[side] for side in ("chosen", "rejected", "completion") if side in row]
    if text.template == "plain":
        return max(len(text.tokenizer(row["prompt"] + answer)["input_ids"]) + 1 for answer in answers)
    try:
        asked = text.tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        whole = [text.tokenizer.apply_chat_template([*row["prompt"], *one], tokenize=False) for one in answers]
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in row["prompt"])
        raise InputError(
            f"the base's chat template takes no conversation of {roles} ({type(error).__name__}); use another base, or "
            "--system '' and --prefix none if it takes no system message",
            field="base",
        ) from None
    if not all(one.startswith(asked) for one in whole):
        raise InputError(
            "the base's chat template writes a conversation differently once it is answered (some leave the system "
            "message out), so the model would learn from another text than it is asked with; use another base",
            field="base",
        )
    return max(len(text.tokenizer(one, add_special_tokens=False)["input_ids"]) for one in whole)


class Alike(Sampler[int]):  # type: ignore[misc]  # torch is read as untyped
    """Rows in an order that depends on seed and epoch only, in which a step's rows are drawn at random, then sorted.

    So rows of like length share a device's batch, and little is padded, while a step still sees all kinds of rows. Were
    steps, too, made of rows of like length, as `group_by_length` does it, each would teach one way of answering, and
    less of a prefix would be learnt from as many rows. The longest row comes first: what it needs shows at once.
    """

    def __init__(self, size: int, lengths: Sequence[int], seed: int) -> None:
        super().__init__()
        self._size, self._lengths, self._seed, self._epoch = size, list(lengths), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next; the trainer calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        # Its own generator: a run that goes on after a kill must read the rows that it would have read.
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        drawn = torch.randperm(len(self._lengths), generator=generator).tolist()
        longest = drawn.index(max(drawn, key=self._lengths.__getitem__))
        drawn[0], drawn[longest] = drawn[longest], drawn[0]
        for start in range(0, len(drawn), self._size):
            yield from sorted(drawn[start : start + self._size], key=self._lengths.__getitem__, reverse=True)
