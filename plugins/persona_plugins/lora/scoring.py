"""How likely a model, tuned or not, finds answers that somebody else wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from persona_plugins.lora.side_by_side import SideBySide
from persona_plugins.lora.speech import Speech
from persona_plugins.lora.weights import Weights
from persona_sdk.errors import ModelError
from persona_sdk.language import LogLikelihood, Messages

__all__ = ["score"]

#: Rows of a batch at most; bytes of the logits of a batch; tokens of a batch, padding included.
_ROWS, _LOGITS, _TOKENS = 32, 1 << 28, 1 << 14


def score(
    model: SideBySide, speech: Speech, context: int, asked: Sequence[tuple[Messages, str]], weights: Weights | None
) -> list[LogLikelihood]:
    """Return the log-likelihoods of answers to conversations, the end of the turn included, in the order asked.

    Conversations of like length are computed together. Of an answer that does not fit into `context` tokens the part
    that fits is scored, without an end.

    Raises:
        ModelError: a conversation leaves no room for an answer, or the model failed.
    """
    rows = [_tokens(speech, context, messages, answer) for messages, answer in asked]
    found: list[LogLikelihood] = [LogLikelihood(0.0, 0)] * len(rows)
    words = int(model.model.get_output_embeddings().weight.shape[0])
    for places in _batches(rows, words):
        try:
            totals = _totals(model, [rows[place] for place in places], weights)
        except RuntimeError as error:
            raise ModelError(f"the model failed ({type(error).__name__})") from None
        for place, total in zip(places, totals, strict=True):
            if math.isnan(total):
                who = f"adapter {weights.name}" if weights else "the model"
                raise ModelError(f"the numbers of {who} ran away to infinity; it finds nothing likely or unlikely")
            found[place] = LogLikelihood(total, len(rows[place][1]))
    return found


def _tokens(speech: Speech, context: int, messages: Messages, answer: str) -> tuple[list[int], list[int]]:
    prompt = speech.prompt(messages)
    room = context - len(prompt)
    if room < 1:
        raise ModelError(
            f"a conversation is {len(prompt)} tokens long, and may be {context} with its answer; shorten it"
        )
    return prompt, speech.answer(answer)[:room]


def _batches(rows: Sequence[tuple[list[int], list[int]]], words: int) -> Iterator[list[int]]:
    """Yield the places of rows to compute together, the longest first: what does not fit shows at once."""
    batch: list[int] = []
    longest = answers = 0
    for place in sorted(range(len(rows)), key=lambda place: -sum(map(len, rows[place]))):
        prompt, answer = rows[place]
        longest, answers = max(longest, len(prompt) + len(answer)), max(answers, len(answer))
        count = len(batch) + 1
        if batch and (count > _ROWS or count * longest > _TOKENS or count * answers * words * 4 > _LOGITS):
            yield batch
            batch, longest, answers = [], len(prompt) + len(answer), len(answer)
        batch.append(place)
    if batch:
        yield batch


def _totals(model: SideBySide, rows: Sequence[tuple[list[int], list[int]]], weights: Weights | None) -> list[float]:
    """Return the sums of the log probabilities of answers, in nats."""
    import torch  # noqa: PLC0415 - takes a second

    device = model.model.device
    # Answers end at the right, so that one slice of the logits holds all of them. The last token is not read.
    read = [(prompt + answer)[:-1] for prompt, answer in rows]
    width, kept = max(map(len, read)), max(len(answer) for _, answer in rows)
    ids = torch.tensor([[0] * (width - len(tokens)) + tokens for tokens in read], device=device)
    mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in read], device=device)
    made: Any = model(
        [weights] * len(rows),
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp_(min=0),
        use_cache=False,
        logits_to_keep=kept,
    )
    totals = []
    for logits, (_, answer) in zip(made.logits, rows, strict=True):
        said = logits[len(logits) - len(answer) :].float().log_softmax(dim=-1)
        of = torch.tensor(answer, device=device)[:, None]
        totals.append(float(said.gather(1, of).double().sum()))
    return totals
