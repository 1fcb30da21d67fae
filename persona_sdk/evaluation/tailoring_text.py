"""What models write with a prefix and without: how long, and how often they repeat themselves.

Part of what personalisation gains in judgements is length, and tuned models loop: of the answers to HHH prompts that
were published with arXiv 2501.11549, 19 to 27 % repeat themselves. So both are reported beside every arm.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation.tailoring import Arm, Setup
from persona_sdk.language import ChatModel
from persona_sdk.memory import person_key
from persona_sdk.models import Message
from persona_sdk.pipeline import contained, fault
from persona_sdk.text import words
from persona_sdk.tuning.prefixes import Knowledge, prefixer
from persona_sdk.tuning.rows import Example, Row

__all__ = ["TextFigures", "draw_prompts", "evaluate_text", "text_figures"]

#: Conversations that are answered together.
_BATCH = 16
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
#: Characters, without punctuation, from which on saying something twice is a loop and no refrain ("Yes.").
_SAID = 12
_GRAM = 4


@dataclass(frozen=True, slots=True)
class TextFigures:
    """Figures of `answers`, not counting the `failed` ones, for which the model gave none.

    `words` is their mean number. `repetition` is the share of an answer's runs of four words that occurred in it
    before, the mean over answers with such a run; `looped` is the share of answers that say a sentence twice, `empty`
    that of answers without a word. `distinct` is the share of different pairs of neighbouring words among all of them
    (distinct-2 of arXiv 1510.03055): it falls with length, so compare it at like `words`. None where there is nothing
    to take a share of.
    """

    answers: int
    failed: int
    words: float | None
    repetition: float | None
    looped: float | None
    empty: float | None
    distinct: float | None


def draw_prompts(asked: Iterable[Example], count: int, seed: int = 0) -> list[Example]:
    """Return at most `count` examples whose questions are to be answered, drawn at random, from all people in turn."""
    people: dict[str, list[Example]] = {}
    for example in asked:
        people.setdefault(person_key(example.origin.tenant, example.user_id), []).append(example)
    rng = random.Random(seed)  # noqa: S311 - a seeded draw
    order = sorted(people)
    rng.shuffle(order)
    left = {key: rng.sample(people[key], len(people[key])) for key in order}
    drawn: list[Example] = []
    while len(drawn) < count and any(left.values()):
        drawn += [left[key].pop() for key in order if left[key]][: count - len(drawn)]
    return drawn


def evaluate_text(
    prompts: Sequence[Example],
    knowledge: Knowledge,
    arms: Sequence[Arm],
    setup: Setup | None = None,
    *,
    sampling: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, TextFigures]:
    """Let every arm answer the questions of some examples, and return figures of what it wrote, by the arm's name.

    `sampling` is passed with each call (`max_tokens`, say). An answer that fails is counted; `progress` is told the
    share of the work done.

    Raises:
        InputError: a model cannot answer.
        ModelError: a model gave no answer at all.
    """
    setup = setup or Setup()
    mute = [arm.model_name for arm in arms if not isinstance(arm.model, ChatModel)]
    if mute:
        raise InputError(f"arms: {mute[0]} is no chat model, so it writes nothing to measure", field="arms")
    found: dict[str, TextFigures] = {}
    done, total = 0, len(arms) * len(prompts)
    for arm in arms:
        makes = prefixer(arm.prefix, knowledge, setup.options)
        asked = [Row(example=one, prefix=makes.prefix(one)).conversation(setup.system) for one in prompts]
        answers: list[str | None] = []
        why = ""
        for start in range(0, len(asked), _BATCH):
            said, failure = _answers(cast("ChatModel", arm.model), asked[start : start + _BATCH], sampling or {})
            answers += said
            why = failure or why
            done += len(said)
            progress(done / total)
        if prompts and all(answer is None for answer in answers):
            raise ModelError(f"{arm.model_name}: answered none of {len(answers)} questions ({why})")
        found[arm.name] = text_figures(answers)
    return found


def text_figures(answers: Sequence[str | None]) -> TextFigures:
    """Return the figures of some answers; None for one that failed."""
    given = [answer for answer in answers if answer is not None]
    said = [words(answer) for answer in given]
    runs = [_runs(one, _GRAM) for one in said]
    pairs = [pair for one in said for pair in _runs(one, 2)]
    return TextFigures(
        answers=len(given),
        failed=len(answers) - len(given),
        words=_mean([float(len(one)) for one in said]),
        repetition=_mean([1 - len(set(of)) / len(of) for of in runs if of]),
        looped=_mean([float(_loops(answer)) for answer in given]),
        empty=_mean([float(not one) for one in said]),
        distinct=len(set(pairs)) / len(pairs) if pairs else None,
    )


def _answers(
    model: ChatModel, conversations: Sequence[Any], sampling: Mapping[str, Any]
) -> tuple[list[str | None], str]:
    """Return an answer to each conversation, None where the model failed, and why it did."""
    together = getattr(model, "batch", None)
    if callable(together):
        made, failure = contained(lambda: together(list(conversations), return_exceptions=True, **sampling))
        if made is None:
            return [None] * len(conversations), failure
        failures = [fault(answer) for answer in made if isinstance(answer, Exception)]
        texts = [None if isinstance(answer, Exception) else _text(answer) for answer in made]
        return texts, failures[0] if failures else ""
    texts, why = [], ""
    for conversation in conversations:
        answer, failure = contained(lambda asked=conversation: model.invoke(asked, **sampling))
        why = failure or why
        texts.append(None if failure else _text(answer))
    return texts, why


def _text(answer: Any) -> str:
    return Message(role="assistant", content=getattr(answer, "content", answer)).text


def _runs(said: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(said[start : start + length]) for start in range(len(said) - length + 1)]


def _loops(answer: str) -> bool:
    sentences = Counter(" ".join(words(sentence)) for sentence in _SENTENCE.split(answer))
    return any(count > 1 and len(sentence) >= _SAID for sentence, count in sentences.items())


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
