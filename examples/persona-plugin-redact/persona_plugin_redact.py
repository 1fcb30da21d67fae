"""Takes e-mail addresses, card and phone numbers out of what is sent to the model.

The tailor is `required`: if it ever failed, the call would fail rather than go out unredacted.
"""

import logging
import re
from typing import Any

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.models import ChatCall, Message, Tailored, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult

_log = logging.getLogger(__name__)
_PRIVATE = {
    "[e-mail]": re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b"),
    "[card]": re.compile(r"\b(?:\d{4}[ -]?){3}\d{4}\b"),
    "[phone]": re.compile(r"(?<!\w)\+\d{1,3}(?:[ -]?\d{2,4}){2,4}\b"),
}


def redact(content: Any) -> Any:
    """Return text, or a list of content parts, with what is private replaced by what it was."""
    if isinstance(content, list):
        return [{**p, "text": redact(p["text"])} if isinstance(p, dict) and "text" in p else p for p in content]
    if isinstance(content, str):
        for placeholder, pattern in _PRIVATE.items():
            content = pattern.sub(placeholder, content)
    return content


def _redacted(message: Message) -> Message:
    content = redact(message.content)
    return message if content == message.content else message.model_copy(update={"content": content})


class Redact(Tailor):
    name = "redact"
    required = True

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        messages = tuple(_redacted(message) for message in call.messages)
        changed = sum(new is not old for new, old in zip(messages, call.messages, strict=True))
        if not changed:
            return TailorResult(call, TailorStep(tailor=self.name, skipped="nothing private was found"))
        detail = f"{changed} of {len(messages)} messages redacted"
        return TailorResult(call.override(messages=messages), TailorStep(tailor=self.name, detail=detail))


@hookimpl
def persona_register(registry: Registry) -> None:
    registry.add_tailor("redact", lambda _settings: Redact())


@hookimpl
def persona_on_tailored(tailored: Tailored) -> None:
    for step in tailored.steps:
        if step.tailor == "redact" and not step.skipped:
            _log.info("call %s: %s", tailored.call_id, step.detail)
