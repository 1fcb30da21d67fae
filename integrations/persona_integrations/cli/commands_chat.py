"""`chat`: talk to a model as one person, and see what tailoring does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_integrations.cli import models, render
from persona_integrations.cli.context import UserArgument, check_user, given
from persona_integrations.cli.progress import waiting
from persona_integrations.cli.terminal import clean, complain, one_line, output
from persona_sdk.errors import InputError, ModelError, NotFoundError, PersonaError

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.chat import PersonalizedChat
    from persona_sdk.engine import Personalizer
    from persona_sdk.settings import Settings

__all__ = ["chat"]

_HELP = """\
/good  /bad      thumbs up or down for the last answer
/edit TEXT       what the last answer should have been; without TEXT, type it and end with a line of one dot
/why             why the last answer was tailored as it was
/persona         what is known of this person now
/new             begin a new conversation
/quit            leave (or Ctrl-D)"""


def chat(
    ctx: typer.Context,
    user: UserArgument,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help=models.HELP, show_default=False)] = None,
) -> None:
    """Chat as a person, with answers tailored to them.

    What is typed, thumbs and edits are signals, and are learnt at once. Without --model no model answers: then the
    tailored messages are shown that a model would be sent. `tuned:DIR` answers with the adapter they are given.
    """
    check_user(user)
    settings = given(ctx).settings()
    tuned = _tuned(model, settings)
    answering: Any = None if model is None else models.chat_model(model)
    if tuned is not None:
        with waiting("loading the model"):
            answering.log_likelihoods([])  # what is wrong with its base shows here, not at the first question
    with given(ctx).open(create=True, **_with_lora(tuned, settings)) as personalizer:
        if tuned is not None:
            output().print(one_line(_who_answers(tuned, settings.tenant, user), 1000))
        wrapped = None if answering is None else personalizer.wrap(answering, user_id=user)
        _Conversation(personalizer, user, wrapped, output()).run()


def _tuned(model: str | None, settings: Settings) -> Path | None:
    """Return the folder of adapters that a tuned model answers with, None for any other model.

    Raises:
        NotFoundError: there are no adapters in that folder.
    """
    from persona_sdk.tuning.registry import REGISTRY  # noqa: PLC0415 - loaded when used

    provider, _, where = (model or "").partition(":")
    if provider != "tuned":
        return None
    folder = Path(where or "adapters").expanduser()
    if not (folder / REGISTRY).exists():
        raise NotFoundError(
            f"there are no adapters in {folder}: name another folder, --model tuned:DIR, or train one with `persona"
            " tune train`"
        )
    return folder


def _with_lora(tuned: Path | None, settings: Settings) -> dict[str, Any]:
    """Return the settings with which each call names the person's adapter, unless they do so already."""
    if tuned is None:
        return {}
    told = {"adapters": str(tuned), **settings.options.get("lora", {})}
    tailors = settings.tailors if "lora" in settings.tailors else ("lora", *settings.tailors)
    return {"tailors": tailors, "options": {**settings.options, "lora": told}}


def _who_answers(tuned: Path, tenant: str, user: str) -> str:
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used

    given = Adapters(tuned).given(tenant, user)
    if given is None:
        return "The base model answers: nobody was given an adapter yet; `persona tune choose` finds out who is."
    return f"The {'base model' if given.adapter is None else f'adapter {given.adapter}'} answers: {given.verified}"


class _Conversation:
    """One conversation at the terminal."""

    def __init__(self, personalizer: Personalizer, user: str, model: PersonalizedChat | None, console: Console) -> None:
        self._personalizer, self._user, self._model, self._console = personalizer, user, model, console
        self._messages: list[dict[str, Any]] = []
        self._call_id = ""
        self._commands: dict[str, Callable[[str], None]] = {
            "/good": lambda _: self._rate(True),
            "/bad": lambda _: self._rate(False),
            "/edit": self._edit,
            "/why": lambda _: self._why(),
            "/persona": lambda _: self._persona(),
            "/new": lambda _: self._new(),
            "/help": lambda _: self._console.print(_HELP),
        }

    def run(self) -> None:
        """Read lines and answer them until there are no more."""
        if self._model is None:
            self._console.print("No model answers here (no --model was given): you see what one would be sent.")
        self._console.print(f"You are {one_line(self._user)}. /help lists the commands, /quit leaves.")
        while (line := _read("you> ")) is not None and line.strip() not in ("/quit", "/exit"):
            try:
                self._take(line.strip())
            except (InputError, ModelError) as error:  # one bad line does not end a conversation
                complain(str(error))

    def _take(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if not line:
            return
        if name in self._commands:
            self._commands[name](rest.strip())
        elif line.startswith("/"):
            raise InputError(f"there is no command {one_line(name, 40)}: /help lists them")
        else:
            self._say(line)

    def _say(self, line: str) -> None:
        self._personalizer.said(self._user, line)
        self._learn()
        messages = [*self._messages, {"role": "user", "content": line}]
        if self._model is None:
            tailored = self._personalizer.tailor(self._user, messages)
            self._call_id = tailored.call_id
            render.messages(self._console, tailored.messages)
            self._console.print(f"\n(no model answers; {one_line(tailored.gate.reason)})")
            return
        answer = self._answer(self._model, messages)
        self._messages = [*messages, {"role": "assistant", "content": answer}]

    def _answer(self, model: PersonalizedChat, messages: list[dict[str, Any]]) -> str:
        """Print the answer as it comes, and return it."""
        parts: list[str] = []
        held = ""  # what may be the beginning of an escape sequence that goes on in the next chunk
        try:
            for chunk in model.stream(messages):
                parts.append(models.text_of(chunk))
                self._call_id = getattr(chunk, "response_metadata", {}).get("persona_call_id", self._call_id)
                words, space, rest = _cut(held + parts[-1])
                self._write(words + space)
                held = rest
        except (PersonaError, BrokenPipeError):
            raise
        except Exception as error:
            raise models.answer_error(error) from error
        finally:
            self._write(held + "\n")
        return "".join(parts)

    def _write(self, text: str) -> None:
        self._console.file.write(clean(text))
        self._console.file.flush()

    def _learn(self) -> None:
        with waiting("learning"):
            self._personalizer.persona(self._user)

    def _answered(self) -> str:
        if self._model is None:
            raise InputError("there is no answer to judge: no model answers without --model")
        if not self._call_id or not self._messages:
            raise InputError("there is no answer to judge yet")
        return self._call_id

    def _rate(self, good: bool) -> None:
        self._personalizer.rate(self._user, good, response_id=self._answered())
        self._noted()

    def _edit(self, text: str) -> None:
        call_id = self._answered()
        edited = text or _read_block()
        self._personalizer.edited(self._user, edited, response_id=call_id)
        self._messages[-1] = {"role": "assistant", "content": edited}
        self._noted()

    def _noted(self) -> None:
        self._learn()
        persona = self._personalizer.persona(self._user)
        known = f"{len(persona.traits)} traits, version {persona.version}" if persona else one_line(persona.note)
        self._console.print(f"Noted. What is known now: {known}")

    def _why(self) -> None:
        if not self._call_id:
            raise InputError("there is nothing to explain yet")
        render.explanation(self._console, self._personalizer.explain(self._call_id))

    def _persona(self) -> None:
        render.persona(self._console, self._personalizer.persona(self._user))

    def _new(self) -> None:
        self._messages, self._call_id = [], ""
        self._console.print("A new conversation.")


def _cut(text: str) -> tuple[str, str, str]:
    """Split text at its last space or line end."""
    at = max(text.rfind(" "), text.rfind("\n"))
    return text[: max(at, 0)], text[at : at + 1] if at >= 0 else "", text[at + 1 :]


def _read(prompt: str) -> str | None:
    """Read a line, None at the end; the prompt is for terminals only, so that piped input leaves clean output."""
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _read_block() -> str:
    lines: list[str] = []
    while (line := _read("...> ")) is not None and line != ".":
        lines.append(line)
    return "\n".join(lines)
