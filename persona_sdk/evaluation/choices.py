"""Are a person's next choices predicted better with their persona?

Each source is one tenant. Population and personas are learnt from the rows of fold `fit`; rows of fold `probe` are
predicted by: *none* (a coin), *shared* (the population only), *persona* (the person's own signals), *other* (a random
other person's signals), and *verified* (the persona where verification accepted it, shared where not).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from persona_sdk.errors import InputError
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.interchange import Problem, signal_from_row
from persona_sdk.journal import Remembered
from persona_sdk.language import Journal, Spent
from persona_sdk.signals import Choice, Signal, choices_of
from persona_sdk.verification import verify

__all__ = ["ARMS", "ChoiceReport", "ChoiceRow", "SourceReport", "draw_people", "evaluate_choices", "read_choice_rows"]

ARMS = ("none", "shared", "persona", "other", "verified")
_PROBE_SHARE = 0.3
_BINS = 10


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One choice of a file: whose it is, and whether to learn from it or to predict it."""

    source: str
    signal: Signal
    probe: bool


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The figures of one source. Accuracies are shares of n; log loss is in nats; `gain` is persona − shared."""

    n: int
    users: int
    fit: int
    accuracy: Mapping[str, float]
    standard_error: Mapping[str, float]
    log_loss: Mapping[str, float]
    calibration_error: Mapping[str, float]
    gain: Mapping[str, float]
    verified_users: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ChoiceReport:
    """The figures of all sources, how many rows had nobody to learn from, and what models were asked meanwhile."""

    sources: Mapping[str, SourceReport]
    skipped: Mapping[str, int] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        sources = {
            name: {k: _rounded(getattr(r, k)) for k in r.__dataclass_fields__} for name, r in self.sources.items()
        }
        report: dict[str, Any] = {"sources": sources, "skipped": dict(self.skipped)}
        if self.spent != Spent():
            users, seconds = (sum(getattr(r, what) for r in self.sources.values()) for what in ("users", "seconds"))
            pairs = sum(r.n + r.fit for r in self.sources.values())
            report["spent"] = {
                **asdict(self.spent),
                "calls_per_user": round(self.spent.calls / max(users, 1), 2),
                "pairs_per_minute": round(60 * pairs / max(seconds, 1e-9), 1),
            }
        return report


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def read_choice_rows(path: Path) -> tuple[list[ChoiceRow], list[Problem]]:
    """Read rows of prompt, chosen, rejected, user_id, user_fold and source; bad lines are returned as problems.

    Where no row of a user has a fold, the last 30 % of their rows are the probe. Rows without a user get user "".

    Raises:
        InputError: the file cannot be opened.
    """
    rows: list[tuple[str, Signal, str | None]] = []
    problems: list[Problem] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            if not isinstance(row, dict):
                raise InputError(f"a row must be a JSON object, this is {type(row).__name__}")
            if row.get("user_fold") not in (None, "fit", "probe"):
                raise InputError("user_fold: must be fit or probe", field="user_fold")
            source = str(row.get("source") or "all")
            keep = {k: row[k] for k in ("id", "prompt", "chosen", "rejected") if k in row}
            signal = signal_from_row({**keep, "user_id": row.get("user_id") or "(none)"}, tenant=source)
        except (ValueError, AttributeError, TypeError) as error:  # InputError and both decoding errors are ValueErrors
            problems.append(Problem(number, str(error)))
            continue
        except RecursionError:
            problems.append(Problem(number, "nested too deeply"))
            continue
        rows.append((source, signal, row.get("user_fold") if row.get("user_id") else "nobody"))
    return _with_folds(rows), problems


def _with_folds(rows: Sequence[tuple[str, Signal, str | None]]) -> list[ChoiceRow]:
    folded = {(source, s.user_id) for source, s, fold in rows if fold}
    total: dict[tuple[str, str], int] = {}
    for source, signal, _ in rows:
        total[source, signal.user_id] = total.get((source, signal.user_id), 0) + 1
    seen: dict[tuple[str, str], int] = {}
    out = []
    for source, signal, fold in rows:
        who = (source, signal.user_id)
        seen[who] = seen.get(who, 0) + 1
        late = seen[who] > math.ceil(total[who] * (1 - _PROBE_SHARE))
        out.append(ChoiceRow(source, signal, fold == "probe" if who in folded else late))
    return out


def draw_people(rows: Sequence[ChoiceRow], count: int, seed: int = 0) -> list[ChoiceRow]:
    """Keep the rows of at most `count` people of each source, drawn at random; the order stays."""
    rng = random.Random(seed)  # noqa: S311 - a seeded draw
    people: dict[str, dict[str, None]] = {}
    for row in rows:
        people.setdefault(row.source, {})[row.signal.user_id] = None
    kept = {s: set(rng.sample(list(users), min(count, len(users)))) for s, users in people.items()}
    return [row for row in rows if row.signal.user_id in kept[row.source]]


def evaluate_choices(
    rows: Iterable[ChoiceRow],
    inferrer: Inferrer,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    journal: Journal | None = None,
) -> ChoiceReport:
    """Learn from the fit rows and predict the probe rows, source by source. `progress` is told each source's name.

    Give several inferrers the same `journal`, and the model they share is asked the same only once.
    """
    journal = Remembered() if journal is None else journal
    by_source: dict[str, list[ChoiceRow]] = {}
    skipped: dict[str, int] = {}
    for row in rows:
        if row.signal.user_id == "(none)":
            skipped[row.source] = skipped.get(row.source, 0) + 1
        else:
            by_source.setdefault(row.source, []).append(row)
    reports = {}
    before = inferrer.spent()
    for source, own in by_source.items():
        progress(source)
        report = _evaluate_source(source, own, inferrer, journal, random.Random(seed))  # noqa: S311 - a seeded draw
        if report is None:
            skipped[source] = len(own)
        else:
            reports[source] = report
    return ChoiceReport(reports, skipped, inferrer.spent() - before)


def _evaluate_source(
    source: str, rows: Sequence[ChoiceRow], inferrer: Inferrer, journal: Journal, rng: random.Random
) -> SourceReport | None:
    started = time.perf_counter()
    fit: dict[str, list[Signal]] = {}
    probe: dict[str, list[Signal]] = {}
    for row in rows:
        (probe if row.probe else fit).setdefault(row.signal.user_id, []).append(row.signal)
    if not probe:
        return None
    population = inferrer.fit_population(source, [History(u, s, journal) for u, s in fit.items()])
    people = sorted(fit)
    predicted: dict[str, list[float]] = {arm: [] for arm in ARMS}
    gains: list[float] = []
    verified = 0
    for user, signals in probe.items():
        asked = choices_of(signals)
        others = [p for p in people if p != user]
        other = fit[rng.choice(others)] if others else []
        arms, believed = _predict_user(
            _Case(source, user, population, fit.get(user, []), other, journal), asked, inferrer
        )
        verified += believed
        for arm in ARMS:
            predicted[arm].extend(arms[arm])
        gains.append(sum(_right(p) - _right(s) for p, s in zip(arms["persona"], arms["shared"], strict=True)))
    n = len(predicted["none"])
    accuracy = {arm: _accuracy(ps) for arm, ps in predicted.items()}
    return SourceReport(
        n=n,
        users=len(probe),
        fit=sum(map(len, fit.values())),
        accuracy=accuracy,
        standard_error={arm: math.sqrt(a * (1 - a) / n) for arm, a in accuracy.items()},
        log_loss={arm: -sum(math.log(max(p, 1e-12)) for p in ps) / n for arm, ps in predicted.items()},
        calibration_error={arm: calibration_error(ps) for arm, ps in predicted.items()},
        gain={"accuracy": sum(gains) / n, "standard_error": math.sqrt(sum(g * g for g in gains)) / n},
        verified_users=verified,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One person of a source: what may be learnt from, and the control's signals."""

    source: str
    user: str
    population: Population | None
    own: Sequence[Signal]
    other: Sequence[Signal]
    journal: Journal

    def request(self, signals: Sequence[Signal]) -> InferenceRequest:
        """Ask about this person given some signals."""
        return InferenceRequest(self.source, self.user, signals, self.population, journal=self.journal)


def _predict_user(case: _Case, asked: Sequence[Choice], inferrer: Inferrer) -> tuple[dict[str, list[float]], bool]:
    shared = inferrer.predict(case.request(()), asked)
    persona = inferrer.predict(case.request(case.own), asked)
    believed = verify(inferrer.infer(case.request(case.own))).accepted
    arms = {
        "none": [0.5] * len(asked),
        "shared": shared,
        "persona": persona,
        "other": inferrer.predict(case.request(case.other), asked),
        "verified": persona if believed else shared,
    }
    return arms, believed


def _right(p: float) -> float:
    return 1.0 if p > 0.5 + 1e-9 else 0.5 if p >= 0.5 - 1e-9 else 0.0


def _accuracy(probabilities: Sequence[float]) -> float:
    return sum(map(_right, probabilities)) / len(probabilities)


def calibration_error(probabilities: Sequence[float]) -> float:
    """Return the expected calibration error: |confidence − accuracy| over ten bins of confidence from ½ to 1."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for p in probabilities:
        confidence = max(p, 1 - p)
        bins.setdefault(min(int((confidence - 0.5) * 2 * _BINS), _BINS - 1), []).append((confidence, _right(p)))
    gaps = (abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins.values())
    return sum(gaps) / len(probabilities)
