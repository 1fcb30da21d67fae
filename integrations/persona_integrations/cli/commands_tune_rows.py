"""`tune rows`: what people chose, as rows that TRL's trainers read."""

from __future__ import annotations

import json as jsonlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast, get_args

import typer

from persona_integrations.cli import asking
from persona_integrations.cli.context import JsonOption, check_user, given
from persona_integrations.cli.progress import waiting
from persona_integrations.cli.terminal import complain, emit_json, one_line, output
from persona_integrations.cli.tune_inputs import (
    SHOWN,
    SeedOption,
    TemplateOption,
    TextsOption,
    TrainingOption,
    texts_about,
)
from persona_sdk.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from persona_sdk.hooks import Registry
    from persona_sdk.inference import Inferrer
    from persona_sdk.interchange import Problem
    from persona_sdk.memory import Consent, Memory
    from persona_sdk.settings import Settings
    from persona_sdk.tuning.building import Source
    from persona_sdk.tuning.prefixes import Knowledge
    from persona_sdk.tuning.rows import Example, Row

__all__ = ["rows"]

_RETRIEVED = ("retrieved", "retrieved_similar")

_Out: TypeAlias = Annotated[
    Path, typer.Argument(metavar="OUT.jsonl", help="The file that is written.", show_default=False)
]
_From: TypeAlias = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE.jsonl", help="Signals, or TRL rows, to make rows of.", show_default="memory"),
]
_Form: TypeAlias = Annotated[str, typer.Option(metavar="F", help="preference (DPO), kto or sft.")]
_Prefix: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="What is said of the person: none, tag, name, few_shot, few_shot_both, persona, gold, written, pair, "
        "retrieved, retrieved_similar, system, or shuffled:KIND for somebody else's.",
    ),
]
_Users: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--users", metavar="U", help="Only this person; may be given again.", show_default="everyone"),
]
_Own: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="U", help="Only this person, for their own adapter, whether they lend or not."),
]
_System: TypeAlias = Annotated[
    str, typer.Option(metavar="TEXT", help="The system message of conversations without one.", show_default="none")
]
_Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")]


def rows(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    out: _Out,
    source: _From = None,
    form: _Form = "preference",
    prefix: _Prefix = "persona",
    training: TrainingOption = "chosen",
    template: TemplateOption = "chat",
    users: _Users = None,
    own: _Own = None,
    texts: TextsOption = None,
    system: _System = "",
    inferrer: asking.Inferrer = None,
    model: asking.Model = None,
    seed: SeedOption = 0,
    force: _Force = False,
    json: JsonOption = False,
) -> None:
    """Write what people chose as rows for TRL's trainers, with what is known of each person in front.

    Whoever does not lend is left out. The file holds people's text, and `forget` does not reach it.
    """
    if own is not None and users:
        raise InputError("--own: is about one person already, so leave --users out", field="--own")
    only = None if own is None and not users else [check_user(user) for user in (users or [own or ""])]
    wanted = _Wanted(source, form, prefix, training, template, only, own, texts, system, seed)
    wanted.check()
    if out.exists() and not force:
        raise InputError(f"{out}: exists already; name another file, or replace it with --force", field="OUT.jsonl")
    settings = given(ctx).settings(inferrer=inferrer, model=model)
    with waiting("making rows"), _Maker(ctx, settings, wanted) as maker:
        made = maker.make()
        _write(out, made.lines)
    _report(out, wanted, made, json)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options, as they were given."""

    source: Path | None
    form: str
    prefix: str
    training: str
    template: str
    users: Sequence[str] | None
    own: str | None
    texts: Path | None
    system: str
    seed: int

    def check(self) -> None:
        """Raise for what cannot be meant, before anything is read."""
        from persona_sdk.tuning.building import Training, build_rows  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.prefixes import Knowledge, prefixer  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.rows import Form, RowFormat  # noqa: PLC0415 - loaded when used

        for option, value, allowed in (
            ("--form", self.form, Form),
            ("--template", self.template, RowFormat),
            ("--training", self.training, Training),
        ):
            if value not in get_args(allowed):
                raise InputError(f"{option}: must be one of {', '.join(get_args(allowed))}", field=option)
        build_rows((), prefixer(self.prefix, Knowledge()), cast("Training", self.training))
        if self.needs_texts and self.texts is None:
            raise InputError(f"--texts: is needed for --prefix {self.prefix}", field="--texts")
        if self.prefix == "retrieved_similar" and self.source is not None:
            raise InputError("--prefix: similar people are known in memory only, so leave --from out", field="--prefix")

    @property
    def needs_texts(self) -> bool:
        return self.prefix.removeprefix("shuffled:") in ("name", "gold", "written", "system")

    @property
    def needs_personas(self) -> bool:
        return self.prefix in ("persona", "shuffled", "shuffled:persona", *_RETRIEVED) and self.training != "none"

    @property
    def needs_pairs(self) -> bool:
        taught_both = self.prefix in _RETRIEVED and self.training in ("rejected", "all")
        return (self.prefix == "pair" and self.training != "none") or taught_both


@dataclass(frozen=True, slots=True)
class _Made:
    """The rows, and what was left out."""

    lines: list[dict[str, Any]]
    rows: list[Row]
    examples: int
    not_lending: int
    unknown: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def as_dict(self, out: Path, wanted: _Wanted) -> dict[str, Any]:
        from persona_sdk.tuning.rows import digest  # noqa: PLC0415 - loaded when used

        wants_prefix = wanted.prefix != "none" and wanted.training != "none"
        return {
            "file": str(out),
            "rows": len(self.lines),
            "people": len({row.example.user_id for row in self.rows}),
            "examples": self.examples,
            **{name: getattr(wanted, name) for name in ("form", "prefix", "training", "template", "seed")},
            "without_prefix": sum(not row.prefix.text for row in self.rows) if wants_prefix else 0,
            "left_out": {
                "people_not_lending": self.not_lending,
                "people_unknown": len(self.unknown),
                "without_persona": self._expected(wanted) - len(self.rows),
                "other_form": 0 if wanted.form == "kto" else len(self.rows) - len(self.lines),
                "lines": len(self.problems),
            },
            "problems": [{"line": p.line, "message": p.message} for p in self.problems],
            "digest": digest(self.rows),
        }

    def _expected(self, wanted: _Wanted) -> int:
        return self.examples * (2 if wanted.training == "all" else 1)


class _Maker:
    """Makes rows from memory or from a file; closes memory when it is done."""

    def __init__(self, ctx: typer.Context, settings: Settings, wanted: _Wanted) -> None:
        from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

        self._ctx, self._settings, self._wanted = ctx, settings, wanted
        self._registry: Registry = PluginHost(settings).registry
        self._memory: Memory | None = None

    def __enter__(self) -> _Maker:
        try:
            given(self._ctx).open().close()  # says so where there is no database, and makes none
        except NotFoundError:
            if self._wanted.source is None:
                raise
        else:
            self._memory = self._registry.memory(self._settings.memory, self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._registry.close()
        if self._memory is not None:
            self._memory.close()

    def make(self) -> _Made:
        """Return the rows.

        Raises:
            InputError: there is none.
        """
        from persona_sdk.tuning.building import Training, build_rows  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.prefixes import PrefixOptions, prefixer  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.rows import Form, RowFormat, trl_rows  # noqa: PLC0415 - loaded when used

        wanted = self._wanted
        read = self._read()
        mine = [e for e in read.examples if wanted.users is None or e.user_id in wanted.users]
        makes = prefixer(wanted.prefix, self._knowledge(read), PrefixOptions(seed=wanted.seed))
        rows = build_rows(mine, makes, cast("Training", wanted.training))
        template = cast("RowFormat", wanted.template)
        lines = trl_rows(rows, cast("Form", wanted.form), template=template, system=wanted.system)
        asked = read.people if wanted.users is None else set(wanted.users) & read.people
        lent = {e.user_id for e in mine}
        refused = sum(not self._lends(user) for user in asked - lent)
        unknown = sorted(set(wanted.users or ()) - read.people)
        if not lines:
            why = (
                "who is asked for does not lend" if refused and not mine else f"none of {len(mine)} examples is of use"
            )
            raise InputError(f"there is no {wanted.form} row to write: {why}", field="OUT.jsonl")
        return _Made(lines, rows, len(mine), refused, unknown, read.problems)

    def _read(self) -> _Read:
        from persona_sdk.tuning.examples import (  # noqa: PLC0415 - loaded when used
            examples_from_memory,
            examples_of,
            histories_from_jsonl,
        )

        tenant, own, source = self._settings.tenant, self._wanted.own, self._wanted.source
        if source is None:
            assert self._memory is not None  # noqa: S101 - entering has raised otherwise
            people = set(self._memory.users(tenant))
            examples = examples_from_memory(self._memory, tenant, own=own)
            return _Read(self._memory, people, examples, [])
        histories, problems = histories_from_jsonl(source, tenant=tenant)
        lent = [history for history in histories if self._lends(history.user_id)]
        examples = [example for one in lent for example in examples_of(tenant, one.user_id, one.signals)]
        return _Read(lent, {history.user_id for history in histories}, examples, problems)

    def _knowledge(self, read: _Read) -> Knowledge:
        from persona_sdk.tuning.building import pair_personas, personas_from, shown  # noqa: PLC0415 - loaded when used
        from persona_sdk.tuning.prefixes import Knowledge  # noqa: PLC0415 - loaded when used

        wanted, tenant, source = self._wanted, self._settings.tenant, read.source
        people = shown(read.examples)
        known: dict[str, Any] = {}
        if wanted.needs_personas and self._memory is not None and source is self._memory:
            found = {user: self._memory.current(tenant, user) for user in people}
            known["personas"] = {user: persona for user, persona in found.items() if persona}
        elif wanted.needs_personas:
            method = self._inferrer()
            population = method.fit_population(tenant, cast("Sequence[Any]", source))
            known["personas"] = personas_from(source, method, population, read.examples)
        if wanted.needs_pairs:
            taught = wanted.prefix == "pair" and wanted.users is not None
            asked = [e for e in read.examples if not taught or e.user_id in (wanted.users or ())]
            known["pairs"] = pair_personas(source, self._inferrer(), asked)
        if wanted.prefix == "retrieved_similar":
            known["similar"] = self._similar(list(people))
        if wanted.needs_texts and wanted.texts is not None:
            known.update(texts_about(wanted.texts, wanted.prefix.removeprefix("shuffled:")))
        consents = {user: consent for user in people if (consent := self._consent(user)) is not None}
        return Knowledge(tenant=tenant, examples=people, consents=consents, **known)

    def _inferrer(self) -> Inferrer:
        return self._registry.inferrer(self._settings.inferrer, self._settings)

    def _similar(self, people: Sequence[str]) -> dict[str, list[str]]:
        with given(self._ctx).open(similar=self._settings.similar or "similar_personas") as personalizer:
            return {user: [found.user_id for found in personalizer.neighbours(user, 50)] for user in people}

    def _consent(self, user: str) -> Consent | None:
        return None if self._memory is None else self._memory.consent(self._settings.tenant, user)

    def _lends(self, user: str) -> bool:
        consent = self._consent(user)
        return user == self._wanted.own or consent is None or consent.lend


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read: where signals are, who has any, and the examples of those who may be taught from."""

    source: Source
    people: set[str]
    examples: list[Example]
    problems: list[Problem]


@contextmanager
def _unwritable(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise InputError(f"{out}: cannot be written ({what})", field="OUT.jsonl") from error


def _write(out: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a file that appears under its name only when it is complete, and that its owner alone can read."""
    with _unwritable(out):
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(jsonlib.dumps(line) + "\n" for line in lines)
            Path(name).replace(out)
        finally:
            Path(name).unlink(missing_ok=True)


def _report(out: Path, wanted: _Wanted, made: _Made, json: bool) -> None:
    account = made.as_dict(out, wanted)
    left_out = account["left_out"]
    for problem in made.problems[:SHOWN]:
        complain(f"line {problem.line}: {problem.message}")
    if len(made.problems) > SHOWN:
        complain(f"and {len(made.problems) - SHOWN:,} more lines that could not be used (--json lists them all)")
    for user in made.unknown[:SHOWN]:
        complain(f"there are no signals of {one_line(user, 80)}; is the id spelt right?")
    complain(
        f"{out} holds people's text: `persona forget` does not reach it, so delete it once it has been used, and "
        "whenever somebody in it is forgotten"
    )
    if json:
        emit_json(account)
        return
    console = output()
    of = "1 person" if account["people"] == 1 else f"{account['people']:,} people"
    console.print(f"{account['rows']:,} {wanted.form} rows of {of} written to {one_line(str(out))}.")
    reasons = {
        "people_not_lending": "people who do not lend",
        "without_persona": "rows of a rejected answer that nobody is known to take",
        "other_form": f"examples without {_NEEDS[wanted.form]}, which {wanted.form} rows need",
    }
    gone = [f"{said} ({left_out[name]:,})" for name, said in reasons.items() if left_out[name]]
    if gone:
        console.print(f"Left out: {'; '.join(gone)}.")
    if account["without_prefix"]:
        console.print(f"Without a prefix, because nothing that applies is known: {account['without_prefix']:,}.")


#: What an example must have.
_NEEDS = {"preference": "both answers", "sft": "a chosen answer", "kto": "an answer"}
