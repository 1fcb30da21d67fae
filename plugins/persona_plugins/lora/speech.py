"""Conversations as a model's tokens, as they were when it was tuned, and its tokens as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from persona_sdk.errors import ModelError
from persona_sdk.tuning.rows import RowFormat, plain_answer, plain_prompt

__all__ = ["Reader", "Speech"]

#: Stands for an answer; no template writes it by itself.
_SAID = "Zq7"
#: What a tokenizer writes for bytes that are no character, or not one yet.
_BROKEN = "\ufffd"


class Speech:
    """What a model reads and says. Threads may share it.

    `ends` are the tokens that end a turn, `end` is the one it was taught to end with. Without a chat template
    conversations are written as plain text, as rows of that format are.
    """

    def __init__(self, tokenizer: Any, config: Any = None) -> None:
        self._tokenizer, self._lock = tokenizer, Lock()
        self.format: RowFormat = "chat" if getattr(tokenizer, "chat_template", None) else "plain"
        known = getattr(config, "eos_token_id", None)
        given = list(known) if isinstance(known, (list, tuple)) else [known]
        self.end = self._end_of_turn()
        self.ends = frozenset({*given, tokenizer.eos_token_id, self.end} - {None})

    def prompt(self, conversation: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the tokens after which the model answers a conversation of roles and texts.

        Raises:
            ModelError: the model's chat template does not allow such a conversation.
        """
        if self.format == "plain":
            with self._lock:
                return list(self._tokenizer(plain_prompt(conversation))["input_ids"])
        return self._tokens(self._written(list(conversation), answering=True))

    def answer(self, text: str) -> list[int]:
        """Return the tokens of an answer, the end of the turn included."""
        said = plain_answer(text) if self.format == "plain" else text
        return [*self._tokens(said), *([] if self.end is None else [self.end])]

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens say, control tokens left out."""
        with self._lock:
            return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _tokens(self, text: str) -> list[int]:
        with self._lock:
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _written(self, conversation: list[Mapping[str, Any]], *, answering: bool) -> str:
        from jinja2 import TemplateError  # noqa: PLC0415 - comes with transformers

        try:
            with self._lock:
                return str(
                    self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=answering)
                )
        except TemplateError as error:
            roles = ", ".join(str(message["role"]) for message in conversation)
            raise ModelError(
                f"the model's chat template takes no conversation of {roles} ({type(error).__name__})"
            ) from None

    def _end_of_turn(self) -> int | None:
        """Return the first token the template writes behind an answer: not every model's end of text is that."""
        end: int | None = self._tokenizer.eos_token_id
        if self.format == "plain":
            return end
        asked = {"role": "user", "content": _SAID}
        said = self._written([asked, {"role": "assistant", "content": _SAID}], answering=False)
        behind = self._tokens(said[said.rindex(_SAID) + len(_SAID) :])
        return behind[0] if behind and behind[0] in self._tokenizer.all_special_ids else end


class Reader:
    """Turns one answer's tokens into text as they come, and notices where it is to stop.

    Text is held back while it may be the beginning of a stop string, or of a character.
    """

    def __init__(self, speech: Speech, stop: Sequence[str] = ()) -> None:
        self._speech, self._stop = speech, tuple(filter(None, stop))
        self._tokens: list[int] = []
        self._start = self._read = 0  # tokens from `_start` are decoded again, up to `_read` they were given out
        self._held = ""
        self._begun = speech.format == "chat"  # plain answers have a space before them
        self.stopped = False

    def add(self, token: int) -> str:
        """Take the next token; return what can be given out by now."""
        self._tokens.append(token)
        return self._out(self._new(final=False), final=False)

    def end(self) -> str:
        """Return what was held back, now that no token follows."""
        return "" if self.stopped else self._out(self._new(final=True), final=True)

    def _new(self, *, final: bool) -> str:
        """Return the text of the tokens that came last, "" while it ends within a character.

        Some tokens' text depends on what stands before (a space at the start of a word): the tokens before are
        decoded with them.
        """
        before = self._speech.text(self._tokens[self._start : self._read])
        whole = self._speech.text(self._tokens[self._start :])
        if not final and (whole.endswith(_BROKEN) or len(whole) <= len(before)):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        new = whole[len(before) :] if self._begun else whole[len(before) :].removeprefix(" ")
        self._begun = True
        return new

    def _out(self, new: str, *, final: bool) -> str:
        text = self._held + new
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else max((_beginning(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _beginning(text: str, stop: str) -> int:
    """Return how many of the last characters of a text are the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
