"""Many conversations answered at once: whoever asks joins the batch under way, and leaves it when answered.

One thread computes. It takes what was asked by then, reads the new conversations, and makes one token for everybody at
a time. Conversations are padded on the left, with positions counted from their own beginning, so that an answer does
not depend on who else is in the batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread, current_thread
from typing import Any

from persona_plugins.lora.sampling import Sampling, chosen, generator
from persona_plugins.lora.side_by_side import SideBySide
from persona_plugins.lora.speech import Reader, Speech
from persona_plugins.lora.weights import Weights
from persona_sdk.errors import ModelError
from persona_sdk.pipeline import contained

__all__ = ["Asked", "Batcher", "Part"]

#: Seconds after which a thread without work ends, so that nothing keeps a model in memory that nobody uses.
_IDLE = 5.0
#: Seconds to wait for the next of those that were announced.
_PATIENCE = 0.1
#: Conversations are read together if the shortest is at least this share of the longest.
_LIKE = 0.75
#: Seconds without work after which what is held side by side for a batch is dropped.
_REST = 0.25


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer. The last one says why it ended ("stop", "length") or failed, and counts the tokens."""

    text: str = ""
    finish: str = ""
    read: int = 0
    made: int = 0
    error: ModelError | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return bool(self.finish or self.error)


@dataclass(eq=False)
class Asked:
    """A conversation to answer: its `tokens`, the adapter it is answered with, and who is told what, as it is said.

    `deliver` is called in the thread that computes, and must not wait. Set `left` when nobody listens any more.
    """

    tokens: Sequence[int]
    weights: Weights | None
    sampling: Sampling
    deliver: Callable[[Part], None]
    left: bool = False
    reader: Any = None
    chance: Any = None
    made: int = 0
    finish: str = ""

    def tell(self, part: Part) -> None:
        """Deliver a part; who cannot be told, as an event loop that is closed, listens no more."""
        _, failure = contained(self.deliver, part)  # others are to be told all the same
        self.left = self.left or bool(failure)


@dataclass
class Batcher:
    """Answers what is `ask`ed, at most `most` conversations at a time.

    The first after a pause waits `gather` seconds for others, since a batch takes hardly longer than one does.
    `context` is how many tokens a conversation may have, with its answer.
    """

    model: SideBySide
    speech: Speech
    context: int
    most: int = 16
    gather: float = 0.004
    steps: int = field(default=0, init=False)
    _waiting: deque[Asked] = field(default_factory=deque, init=False)
    _coming: int = field(default=0, init=False)
    _change: Condition = field(default_factory=Condition, init=False)
    _thread: Thread | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def announce(self, count: int) -> None:
        """Say that so many are about to be asked, so that they are waited for, a little, and answered together."""
        with self._change:
            self._coming += count

    def ask(self, asked: Asked) -> None:
        """Put a conversation in line; its answer is delivered as it is made.

        Raises:
            ModelError: it leaves no room for an answer, or the process is ending.
        """
        if len(asked.tokens) >= self.context:
            raise ModelError(
                f"the conversation is {len(asked.tokens)} tokens long, and may be {self.context} with its answer; "
                "shorten it"
            )
        asked.reader = Reader(self.speech, asked.sampling.stop)
        asked.chance = generator(asked.sampling.seed) if asked.sampling.temperature > 0 else None
        with self._change:
            if self._closed:
                raise ModelError("the process is ending")
            self._waiting.append(asked)
            self._coming = max(0, self._coming - 1)
            if self._thread is None:
                # A daemon: it must not keep the process from ending.
                self._begin(asked)
            self._change.notify_all()

    def _begin(self, asked: Asked) -> None:
        self._thread = Thread(target=self._run, name="tuned-model", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None
            self._waiting.remove(asked)
            raise ModelError("no thread can be started to compute in; the system allows no more of them") from None

    def close(self) -> None:
        """End after the token that is being made; what is not answered by then fails. Closing twice is harmless."""
        with self._change:
            self._closed, thread = True, self._thread
            self._change.notify_all()
        if thread is not None:
            thread.join(timeout=10)

    def _run(self) -> None:
        batch = _Batch(self.model)
        try:
            while self._go_on(batch):
                self._turn(batch)
        finally:
            left = []
            with self._change:
                if self._thread is current_thread():  # not one that had nothing to do, and may have a successor
                    left = [*batch.rows, *self._waiting]
                    self._waiting.clear()
                    self._thread = None
            _fail(left, "the process is ending" if self._closed else "the thread that computes has ended")

    def _go_on(self, batch: _Batch) -> bool:
        """Wait until there is something to do; False when there is nothing for long."""
        with self._change:
            if not batch.rows and not self._waiting and not self._closed:
                if not self._change.wait_for(lambda: self._waiting or self._closed, _REST):
                    self.model.rest()
                    self._change.wait_for(lambda: self._waiting or self._closed, _IDLE - _REST)
                if not self._waiting:
                    # Under the lock: who asks from now on starts another thread.
                    self._thread = None
                    return False
            if self._closed:
                return False
            until = time.monotonic() + 4 * self.gather
            while not batch.rows and len(self._waiting) < self.most and not self._closed:
                before, patience = len(self._waiting), _PATIENCE if self._coming else self.gather
                self._change.wait_for(lambda: len(self._waiting) > before or self._closed, patience)  # noqa: B023
                if len(self._waiting) == before:
                    self._coming = 0  # they failed before they came
                    break
                if not self._coming and time.monotonic() > until:
                    break
            return not self._closed

    def _turn(self, batch: _Batch) -> None:
        """Take in who waits, and make one token for everybody."""
        before, new = batch.rows, list[Asked]()
        why = "was interrupted"
        try:
            _, why = contained(self._step, batch, new)
        finally:  # whatever it is, an exit of the program included: who waits must not wait forever
            if why:
                _fail([asked for asked in (*before, *new) if not asked.finish], f"the model failed: {why}")
                batch.clear()

    def _step(self, batch: _Batch, new: list[Asked]) -> None:
        """Take those who wait into `new`, which tells who they were if this fails, and make a token for each."""
        with self._change:
            while self._waiting and len(batch.rows) + len(new) < self.most:
                new.append(self._waiting.popleft())
        here = [asked for asked in new if not asked.left]
        if not batch.rows and not here:
            return
        self.steps += 1
        for asked, token in batch.step(here):
            self._said(asked, token)
        batch.keep([place for place, asked in enumerate(batch.rows) if not asked.finish and not asked.left])

    def _said(self, asked: Asked, token: int | None) -> None:
        if token is None:
            _fail([asked], _ran_away(asked))
            return
        asked.made += 1
        text = ""
        if token in self.speech.ends:
            asked.finish = "stop"
        else:
            text = asked.reader.add(token)
            if asked.reader.stopped:
                asked.finish = "stop"
            elif asked.made >= min(asked.sampling.max_tokens, self.context - len(asked.tokens)):
                asked.finish = "length"
        if asked.finish:
            text += asked.reader.end()
            if asked.reader.stopped:
                asked.finish = "stop"
        if text or asked.finish:
            asked.tell(Part(text, asked.finish, len(asked.tokens), asked.made))


def _fail(left: Sequence[Asked], why: str) -> None:
    for asked in left:
        asked.finish = "error"
        asked.tell(Part(error=ModelError(why)))


def _ran_away(asked: Asked) -> str:
    if asked.weights is None:
        return "the model's numbers ran away to infinity; compute it in float32"
    return f"the numbers of adapter {asked.weights.name} ran away to infinity; train it anew, with a lower rate"


class _Batch:
    """The rows under way: what the model keeps of each, and the token it reads next."""

    def __init__(self, model: SideBySide) -> None:
        self._model = model
        self.clear()

    def clear(self) -> None:
        """Drop all rows."""
        self.rows: list[Asked] = []
        self._cache: Any = None
        self._mask: Any = None
        self._next: list[int] = []

    def step(self, new: Sequence[Asked]) -> list[tuple[Asked, int | None]]:
        """Read what is new, and return the next token of every row, old and new; None if there is none to tell."""
        tokens: list[int | None] = []
        if self.rows:
            tokens += chosen(self._decode(), [(asked.sampling, asked.chance) for asked in self.rows])
        for like in _of_like_length(new):
            tokens += chosen(self._join(like), [(asked.sampling, asked.chance) for asked in like])
        self._next = [token or 0 for token in tokens]  # who is told none is kept no longer
        return list(zip(self.rows, tokens, strict=True))

    def keep(self, places: Sequence[int]) -> None:
        """Drop the rows that are not in these places, and padding that no row needs any more."""
        if len(places) == len(self.rows):
            return
        if not places:
            self.clear()
            return
        import torch  # noqa: PLC0415 - takes a second

        self.rows = [self.rows[place] for place in places]
        self._next = [self._next[place] for place in places]
        which = torch.tensor(places, device=self._mask.device)
        mask = self._mask[which]
        start = int(mask.any(dim=0).int().argmax())
        self._mask = mask[:, start:]
        with torch.inference_mode():
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[which, :, start:], layer.values[which, :, start:]

    def _decode(self) -> Any:
        """Return the logits [rows, words] behind the tokens that were chosen last."""
        self._mask = _one_more(self._mask)
        device = self._mask.device
        return self._computed(self.rows, [[token] for token in self._next], self._mask, self._cache, device)

    def _join(self, new: Sequence[Asked]) -> Any:
        """Read new conversations, put them beside the others, and return their logits [rows, words]."""
        import torch  # noqa: PLC0415 - takes a second
        from transformers import DynamicCache  # noqa: PLC0415 - as above

        device = self._model.model.device
        width = max(len(asked.tokens) for asked in new)
        # Padding is of any token: nobody looks at it.
        padded = [[0] * (width - len(asked.tokens)) + list(asked.tokens) for asked in new]
        mask = torch.tensor([[0] * (width - len(asked.tokens)) + [1] * len(asked.tokens) for asked in new])
        mask, cache = mask.to(device), DynamicCache()
        logits = self._computed(new, padded, mask, cache, device)
        self.rows = [*self.rows, *new]
        if self._cache is None:
            self._cache, self._mask = cache, mask
            return logits
        with torch.inference_mode():
            for mine, theirs in zip(self._cache.layers, cache.layers, strict=True):
                mine.keys = _below(mine.keys, theirs.keys, dim=2)
                mine.values = _below(mine.values, theirs.values, dim=2)
            self._mask = _below(self._mask, mask, dim=1)
        return logits

    def _computed(self, rows: Sequence[Asked], tokens: Sequence[Sequence[int]], mask: Any, cache: Any, on: Any) -> Any:
        import torch  # noqa: PLC0415 - takes a second

        ids = torch.tensor(tokens, device=on)
        positions = (mask.cumsum(dim=1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        made = self._model(
            [asked.weights for asked in rows],
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return made.logits[:, -1].float()


def _of_like_length(new: Sequence[Asked]) -> list[list[Asked]]:
    """Put together what is read together: padding takes as long as text, and large products gain little by more."""
    groups: list[list[Asked]] = []
    for asked in sorted(new, key=lambda asked: -len(asked.tokens)):
        if groups and len(asked.tokens) >= _LIKE * len(groups[-1][0].tokens):
            groups[-1].append(asked)
        else:
            groups.append([asked])
    return groups


def _one_more(mask: Any) -> Any:
    from torch.nn.functional import pad  # noqa: PLC0415 - takes a second

    return pad(mask, (0, 1), value=1)


def _below(one: Any, other: Any, *, dim: int) -> Any:
    """Put rows below others, the shorter ones padded with zeros at the beginning of `dim`."""
    import torch  # noqa: PLC0415 - takes a second

    longest = max(one.shape[dim], other.shape[dim])
    behind = one.dim() - 1 - dim
    made = [torch.nn.functional.pad(part, (0, 0) * behind + (longest - part.shape[dim], 0)) for part in (one, other)]
    return torch.cat(made)
