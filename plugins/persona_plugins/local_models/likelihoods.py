"""How likely a model finds an answer: its probability of each of the answer's tokens, one after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import Any

from persona_plugins.local_models.server import Kept, Loaded
from persona_sdk.errors import ModelError
from persona_sdk.language import LogLikelihood

__all__ = ["score"]


def score(model: Loaded, asked: Sequence[tuple[list[dict[str, Any]], str]], parallel: int) -> list[LogLikelihood]:
    """Return the log-likelihoods of answers to conversations, in the order asked.

    Raises:
        ModelError: a conversation leaves no room for an answer, or llama.cpp failed.
    """
    different = {json.dumps(messages): messages for messages, _ in asked}
    prompts = {key: model.tokens(model.prompt(m), special=True) for key, m in different.items()}
    whole = [(prompts[json.dumps(messages)], answer) for messages, answer in asked]
    # Equal conversations next to each other: a slot reads one once, and goes on from there.
    order = sorted(range(len(whole)), key=lambda index: whole[index][0])
    scored = _side_by_side(order, lambda index: _one(model, *whole[index]), parallel)
    return [scored[index] for index in range(len(whole))]


def _side_by_side(order: Sequence[int], one: Callable[[int], LogLikelihood], parallel: int) -> dict[int, LogLikelihood]:
    """Call `one` for each index, `parallel` at a time, in order; after the first failure no more are begun."""
    left, lock = iter(order), Lock()
    found: dict[int, LogLikelihood] = {}
    kept = Kept()

    def work() -> None:
        with kept:
            while kept.error is None:
                with lock:
                    index = next(left, None)
                if index is None:
                    return
                found[index] = one(index)

    # No executor: at exit Python waits for its threads, and so for answers that nobody will read.
    threads = [Thread(target=work, name="likelihood", daemon=True) for _ in range(min(parallel, len(order)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:
        kept.error = error
        raise
    kept.again()
    return found


def _one(model: Loaded, prompt: list[int], answer: str) -> LogLikelihood:
    room = model.context - len(prompt) - 1
    if room < 1:
        raise ModelError(
            f"{model.name}: the conversation is {len(prompt)} tokens long, and may be {model.context} with its answer; "
            "shorten it, or load the model with a larger n_ctx"
        )
    tokens = model.tokens(answer)
    if model.end is not None:
        tokens.append(model.end)
    found = model.log_probabilities(prompt, tokens[:room])
    return LogLikelihood(math.fsum(found), len(found))
