"""How likely a model finds an answer: its probability of each of the answer's tokens, one after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import Any, TypeAlias

from persona_plugins.local_models.server import Kept, Loaded
from persona_sdk.errors import ModelError
from persona_sdk.language import LogLikelihood

__all__ = ["score"]

#: A conversation, as JSON, and an answer.
Key: TypeAlias = tuple[str, str]


def score(model: Loaded, asked: Sequence[tuple[list[dict[str, Any]], str]], parallel: int) -> list[LogLikelihood]:
    """Return the log-likelihoods of answers to conversations, in the order asked.

    Raises:
        ModelError: a conversation leaves no room for an answer, or llama.cpp failed.
    """
    conversations = {json.dumps(messages): messages for messages, _ in asked}
    prompts = {key: model.tokens(model.prompt(m), special=True) for key, m in conversations.items()}
    keys = [(json.dumps(messages), answer) for messages, answer in asked]
    # What is asked twice is scored once. Equal beginnings come next to each other: they are read once, too.
    different = sorted(set(keys), key=lambda key: (prompts[key[0]], key[1]))
    scored = _side_by_side(different, lambda key: _one(model, prompts[key[0]], key[1]), parallel)
    return [scored[key] for key in keys]


def _side_by_side(order: Sequence[Key], one: Callable[[Key], LogLikelihood], parallel: int) -> dict[Key, LogLikelihood]:
    """Call `one` for each key, `parallel` at a time, in order; after the first failure no more are begun."""
    left, lock = iter(order), Lock()
    found: dict[Key, LogLikelihood] = {}
    kept = Kept()

    def work() -> None:
        with kept:
            while kept.error is None:
                with lock:
                    key = next(left, None)
                if key is None:
                    return
                found[key] = one(key)

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
