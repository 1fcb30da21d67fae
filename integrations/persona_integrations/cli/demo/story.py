"""The demo's five parts, in order: learn, predict, tailor, correct, forget."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_integrations.cli import models, progress
from persona_integrations.cli.context import Globals
from persona_integrations.cli.demo import screen, traces
from persona_integrations.cli.demo.cast import ANSWERS, CORRECTED, CORRECTION, PAIR, QUESTION, TENANT, WHO, choices
from persona_integrations.cli.terminal import output
from persona_sdk.signals import choices_of

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer

__all__ = ["play"]


def play(options: Globals, model: Any = None, *, local: bool = False, missing: str = "") -> None:
    """Play the demo on stdout, in a database of its own unless `options` name one.

    `local` says that the model is the small one on this machine, `missing` what to install if it is not there.
    """
    console = output()
    with ExitStack() as stack:
        if options.db is None:
            # On Windows a file that is still open cannot be removed; what is left is the system's to clear away.
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="persona-demo-", ignore_cleanup_errors=True)
            )
            options = Globals(db=f"sqlite:///{Path(folder, 'demo.db').as_posix()}")
        settings = Globals(db=options.db, tenant=TENANT).settings(tailors=("prompt_prefix", "best_of_n"))
        personalizer = stack.enter_context(_opened(settings))
        screen.opening(console, _who_answers(model, local), missing)
        _learn(personalizer, console)
        _predict(personalizer, console)
        _tailor(personalizer, console, model, local)
        _correct(personalizer, console)
        _forget(personalizer, console, settings.database_url)
        screen.closing(console)


def _who_answers(model: Any, local: bool) -> str:
    if model is None:
        return "No model answers here, and nothing leaves this machine."
    return "Nothing leaves this machine." if local else ""


def _opened(settings: Any) -> Personalizer:
    from persona_sdk.engine import Personalizer  # noqa: PLC0415 - loaded when used

    return Personalizer(settings=settings)


def _learn(personalizer: Personalizer, console: Any) -> None:
    for user in WHO:
        personalizer.forget(user)  # an earlier demo in the same database must not change this one
    started = time.perf_counter()
    with as_file(choices()) as file:
        read = personalizer.import_jsonl(file).new
    # No refit: six people are too few to tell what people have in common from what one of them likes. The first is
    # learnt again at the end, because there was nobody yet to compare with.
    order = [*WHO, next(iter(WHO))]
    with progress.people("personas", len(order)) as track:
        for user in track(order):
            personalizer.learn(user)
    chosen = sum(len(choices_of(personalizer.signals(user))) for user in WHO)
    screen.learnt(console, len(WHO), chosen, read - chosen, time.perf_counter() - started)


def _predict(personalizer: Personalizer, console: Any) -> None:
    screen.heading(console, 2, "What was learnt, and how well it predicts choices it has not seen")
    console.print("In front: how much it moves a choice, for (+) or against (-), give or take (log-odds, 80 %).")
    for user in WHO:
        persona = personalizer.persona(user)
        screen.person(console, persona, personalizer.signals(user))


def _tailor(personalizer: Personalizer, console: Any, model: Any, local: bool) -> None:
    screen.heading(console, 3, "One question, different people")
    left, right = (personalizer.tailor(user, QUESTION) for user in PAIR)
    screen.side_by_side(console, QUESTION, [(t.call.user_id, screen.block(t)) for t in (left, right)])
    if model is not None:
        answers = []
        for tailored in (left, right):
            with progress.waiting(f"the model answers {WHO[tailored.call.user_id][0]}"):
                answers.append((tailored.call.user_id, _ask(model, tailored.messages)))
        screen.real_answers(console, answers, local)
    screen.picks(console, ANSWERS, {user: _pick(personalizer, user) for user in WHO})


def _ask(model: Any, messages: list[dict[str, Any]]) -> str:
    """Return what a model answers, as far as it will be shown: a small model has no end."""
    answer = ""
    try:
        for chunk in model.stream(messages):
            answer += models.text_of(chunk)
            if len(answer) > screen.SHOWN:
                break
    except Exception as error:
        raise models.answer_error(error) from error
    return answer


def _pick(personalizer: Personalizer, user: str) -> int | None:
    """Return which of the written answers best-of-n gives this person, None if nothing can tell."""
    if not personalizer.score(user, QUESTION, ANSWERS):
        return None
    return personalizer.choose(personalizer.tailor(user, QUESTION), ANSWERS)


def _correct(personalizer: Personalizer, console: Any) -> None:
    before, picked = personalizer.persona(CORRECTED), _pick(personalizer, CORRECTED)
    personalizer.said(CORRECTED, CORRECTION)
    after = personalizer.learn(CORRECTED)
    changed = personalizer.diff(CORRECTED, before.version, after.version)
    screen.corrected(console, CORRECTED, CORRECTION, changed, (picked, _pick(personalizer, CORRECTED)))


def _forget(personalizer: Personalizer, console: Any, url: str) -> None:
    gone_user = PAIR[1]
    texts = traces.texts_of(personalizer.signals(gone_user))
    before = traces.found(url, texts)
    gone = personalizer.forget(gone_user)
    screen.forgotten(console, gone_user, gone, len(texts), (before, traces.found(url, texts)))
