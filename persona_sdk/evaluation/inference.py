"""Does a persona inferred from one pair of answers say why the one was chosen? (arXiv 2501.11549, section 3)

For each pair an inferrer says who would choose the chosen answer and who the rejected one. *Accuracy*: is the answer
that a persona was made for the one that suits it better? *Preference*: which of two personas does a judge find better?
*Saliency*: which words tell the personas of chosen answers from those of rejected ones?

Accuracy has two controls. *Shuffled* gives each pair the persona of another pair: what is right nevertheless is due to
what suits everybody. *Longer* is what always picking the longer answer would get right: judges like length.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypeVar

from persona_sdk.errors import InputError, PluginTypeError
from persona_sdk.evaluation.preference import Prefers, Wins, compare
from persona_sdk.evaluation.saliency import LABELS, Label, SalientWord, salient, word_counts
from persona_sdk.inference import Inferrer, PairPersonas
from persona_sdk.language import Spent
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.signals import Choice

__all__ = [
    "CHANCE",
    "JUDGE",
    "Accuracy",
    "InferenceReport",
    "Setup",
    "derangement",
    "evaluate_inference",
    "require_abduction",
]

CHANCE = 0.5
#: The scorer whose values are shares of calls, one in each order; of all others only the order of values counts.
JUDGE = "judge"
_WHO = (*LABELS, "both")

_Picks: TypeAlias = tuple[float, float]
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Setup:
    """How personas are judged.

    `scorer` decides about accuracy. `prefers`, if any, compares personas, with those of the inferrer `against`, too.
    `seed` is that of the shuffled control; words in fewer than `rare` personas are no salient ones; `workers` pairs are
    worked on at once.
    """

    scorer: StatementScorer
    prefers: Prefers | None = None
    against: Inferrer | None = None
    seed: int = 0
    rare: int = 3
    workers: int = 8


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the right answer was picked, over `n` pairs; `failed` pairs had no persona.

    `accuracy` is the mean over the n pairs of the share, in [0, 1], that picked the right answer; `standard_error` its
    standard error (sample standard deviation / √n; None below two pairs). `counting_failed` is the accuracy if a pair
    without a persona counts as wrong. Figures over no pair are None.
    """

    accuracy: float | None
    standard_error: float | None
    n: int
    failed: int
    counting_failed: float | None


@dataclass(frozen=True, slots=True)
class InferenceReport:
    """The figures of one inferrer. Mappings are by whose persona: that of the chosen answer, the rejected one, or both.

    `gain` is own − shuffled over the same pairs. `longer` is the accuracy that always picking the longer answer would
    have (in characters; ½ where both are as long), `picks_longer` the share of picks that went to the longer of two
    answers. `preference` compares chosen (first) with rejected personas, `rivals` the chosen personas of the inferrer
    (first) with those of `against`. `seconds` is what inferring took, without judging.
    """

    inferrer: str
    scorer: str
    pairs: int
    accuracy: Mapping[str, Accuracy]
    shuffled: Mapping[str, Accuracy]
    gain: Mapping[str, Accuracy]
    longer: Mapping[str, float | None]
    picks_longer: Mapping[str, float | None]
    words: Mapping[Label, Sequence[SalientWord]]
    spent: Spent
    scorer_spent: Spent
    seconds: float
    preference: Wins | None = None
    rivals: Wins | None = None
    against: str | None = None

    @property
    def pairs_per_minute(self) -> float:
        """Pairs inferred in a minute."""
        return 60 * self.pairs / max(self.seconds, 1e-9)

    @property
    def calls_per_pair(self) -> float:
        """Calls of chat models that inferring one pair took."""
        return self.spent.calls / self.pairs

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        words = {
            label: [{"word": w.word, "probability": w.probability(label), "count": w.count} for w in self.words[label]]
            for label in LABELS
        }
        figures = {
            "inferrer": self.inferrer,
            "scorer": self.scorer,
            "pairs": self.pairs,
            "chance": CHANCE,
            "accuracy": {who: asdict(a) for who, a in self.accuracy.items()},
            "shuffled": {who: asdict(a) for who, a in self.shuffled.items()},
            "gain": {w: {"accuracy": a.accuracy, "standard_error": a.standard_error} for w, a in self.gain.items()},
            "longer": self.longer,
            "picks_longer": self.picks_longer,
            "preference": self.preference and _named(self.preference, *LABELS),
            "against": self.rivals and {"inferrer": self.against, **_named(self.rivals, "wins", "losses")},
            "words": words,
            "spent": asdict(self.spent),
            "scorer_spent": asdict(self.scorer_spent),
            "seconds": self.seconds,
            "pairs_per_minute": self.pairs_per_minute,
            "calls_per_pair": self.calls_per_pair,
        }
        rounded: dict[str, Any] = _rounded(figures)
        return rounded


def _named(wins: Wins, first: str, second: str) -> dict[str, int]:
    return {first: wins.first, second: wins.second, "ties": wins.ties, "failed": wins.failed}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def require_abduction(inferrer: Inferrer) -> None:
    """Refuse an inferrer that cannot infer a persona from a single choice.

    Raises:
        InputError: it cannot.
    """
    if type(inferrer).abduce is Inferrer.abduce:
        raise InputError(
            f"the inferrer {inferrer.name!r} does not infer a persona from a single choice: choose another one"
        )


class _Work:
    """Runs a function over items in threads, in order, and says how many items are done over all such runs."""

    def __init__(self, workers: int, progress: Callable[[int], None]) -> None:
        self._workers, self._progress, self._done = workers, progress, 0

    def each(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        results = []
        with ThreadPoolExecutor(self._workers) as pool:
            for result in pool.map(function, items):  # if one raises, those that have not begun are not asked
                results.append(result)
                self._done += 1
                self._progress(self._done)
        return results


def evaluate_inference(
    choices: Sequence[Choice],
    inferrer: Inferrer,
    setup: Setup,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> InferenceReport:
    """Infer a persona for either answer of each pair, and judge them (arXiv 2501.11549, section 3).

    `progress` is told how many steps are done: one per pair for inferring, scoring, and comparing, and two for
    inferring and comparing with `against`.

    Raises:
        InputError: there is no pair, or an inferrer cannot infer a persona from a single choice.
        PluginTypeError: an inferrer or the scorer returned something its interface does not allow.
    """
    if not choices:
        raise InputError("there is no pair to infer a persona from")
    for method in filter(None, (inferrer, setup.against)):
        require_abduction(method)
    work = _Work(setup.workers, progress)
    before, scorer_before = inferrer.spent(), setup.scorer.spent()
    started = time.perf_counter()
    personas = work.each(lambda choice: _personas(inferrer, choice), choices)
    seconds = time.perf_counter() - started
    spent = inferrer.spent() - before
    own, shuffled = _picked(choices, personas, setup, work)
    by_label = {label: [getattr(p, label) for p in personas] for label in LABELS}
    preference = rivals = None
    if setup.prefers:
        preference = compare(zip(*(by_label[label] for label in LABELS), strict=True), setup.prefers, work.each)
    if setup.prefers and setup.against:
        method = setup.against
        others = [p.chosen for p in work.each(lambda choice: _personas(method, choice), choices)]
        rivals = compare(zip(by_label["chosen"], others, strict=True), setup.prefers, work.each)
    right, right_shuffled = _right(own), _right(shuffled)
    return InferenceReport(
        inferrer=inferrer.name,
        scorer=setup.scorer.name,
        pairs=len(choices),
        accuracy={who: _measured(right[who]) for who in _WHO},
        shuffled={who: _measured(right_shuffled[who]) for who in _WHO},
        gain={who: _measured(_minus(right[who], right_shuffled[who])) for who in _WHO},
        longer=_longer(choices, own),
        picks_longer=_picks_longer(choices, own),
        words=_words(by_label, setup.rare),
        spent=spent,
        scorer_spent=setup.scorer.spent() - scorer_before,
        seconds=seconds,
        preference=preference,
        rivals=rivals,
        against=setup.against.name if rivals and setup.against else None,
    )


def _personas(inferrer: Inferrer, choice: Choice) -> PairPersonas:
    got = inferrer.abduce(choice, journal=None)
    if not isinstance(got, PairPersonas):
        said = f"the inferrer {inferrer.name!r}: abduce returned {type(got).__name__}, not PairPersonas"
        raise PluginTypeError(said, plugin=inferrer.name)
    return PairPersonas(*(text if text and text.strip() else None for text in (got.chosen, got.rejected)))


def _words(personas: Mapping[Label, Sequence[str | None]], rare: int) -> dict[Label, list[SalientWord]]:
    had = {label: [text for text in personas[label] if text] for label in LABELS}
    counted = word_counts(had["chosen"], had["rejected"], rare=rare)
    both = max(1, sum(map(len, had.values())))
    return {label: salient(counted, label, share=len(had[label]) / both) for label in LABELS}


# Accuracy


def derangement(n: int, rng: random.Random) -> list[int]:
    """Return a random order of n things, two or more, in which none is in its own place (one cycle: Sattolo 1986)."""
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = rng.randrange(i)
        order[i], order[j] = order[j], order[i]
    return order


def _picked(
    choices: Sequence[Choice], personas: Sequence[PairPersonas], setup: Setup, work: _Work
) -> tuple[dict[Label, list[_Picks | None]], dict[Label, list[_Picks | None]]]:
    """Return by label, for each pair, the shares that picked its two answers: under its own persona, and another's."""
    rng = random.Random(setup.seed)  # noqa: S311 - a seeded draw
    asked: list[tuple[Choice, list[str | None]]] = [
        (c, [p.chosen, p.rejected]) for c, p in zip(choices, personas, strict=True)
    ]
    for label in LABELS:
        had = [i for i, p in enumerate(personas) if getattr(p, label)]
        moved: dict[int, int] = {}
        if len(had) > 1:
            moved = {i: had[j] for i, j in zip(had, derangement(len(had), rng), strict=True)}
        for i, (_, statements) in enumerate(asked):
            statements.append(getattr(personas[moved[i]], label) if i in moved else None)
    scored = work.each(lambda one: _score(setup.scorer, *one), asked)
    own, shuffled = ({label: [row[k + i] for row in scored] for i, label in enumerate(LABELS)} for k in (0, 2))
    return own, shuffled


def _score(scorer: StatementScorer, choice: Choice, statements: Sequence[str | None]) -> list[_Picks | None]:
    """Return for each statement the shares that picked the chosen and the rejected answer; None where there is none."""
    had = [s for s in statements if s is not None]
    if not had:
        return [None] * len(statements)
    scores = scorer.score([Offer(choice.prompt, (choice.chosen, choice.rejected))], had)
    if len(scores) != 1 or len(scores[0]) != len(had) or any(len(pair) != 2 for pair in scores[0]):
        raise PluginTypeError(f"the scorer {scorer.name!r} did not return one value per answer", plugin=scorer.name)
    picks = iter([_picks(scorer.name, *pair) for pair in scores[0]])
    return [None if s is None else next(picks) for s in statements]


def _picks(name: str, chosen: float, rejected: float) -> _Picks:
    if name != JUDGE:
        return (1.0, 0.0) if chosen > rejected else (0.0, 1.0) if chosen < rejected else (0.5, 0.5)
    if not (chosen >= 0 and rejected >= 0 and chosen + rejected <= 1 + 1e-9):
        raise PluginTypeError(f"the scorer {name!r} must return shares of calls, at most 1 together", plugin=name)
    return chosen, rejected


def _right(picks: Mapping[Label, Sequence[_Picks | None]]) -> dict[str, list[float | None]]:
    """Return the share that picked the right answer, pair by pair; of both, the mean where both personas are there."""
    right: dict[str, list[float | None]] = {label: [p and p[i] for p in picks[label]] for i, label in enumerate(LABELS)}
    # The two personas of a pair are no independent draws: over both, a pair is one observation.
    pairs = zip(right["chosen"], right["rejected"], strict=True)
    return {**right, "both": [None if c is None or r is None else (c + r) / 2 for c, r in pairs]}


def _minus(values: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(values, others, strict=True)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _measured(values: Sequence[float | None]) -> Accuracy:
    had = [v for v in values if v is not None]
    n, mean = len(had), _mean(had)
    error = None
    if mean is not None and n > 1:
        error = math.sqrt(sum((v - mean) ** 2 for v in had) / (n - 1) / n)
    return Accuracy(mean, error, n, len(values) - n, sum(had) / len(values) if values else None)


def _lengths(choice: Choice) -> _Picks:
    return _picks("length", len(choice.chosen), len(choice.rejected))


def _longer(choices: Sequence[Choice], own: Mapping[Label, Sequence[_Picks | None]]) -> dict[str, float | None]:
    """Return how often the longer answer is the right one, over the pairs that accuracy is measured on."""
    lengths = [_lengths(choice) for choice in choices]
    longer = _right({label: [p and size for p, size in zip(own[label], lengths, strict=True)] for label in LABELS})
    return {who: _mean([v for v in longer[who] if v is not None]) for who in _WHO}


def _picks_longer(choices: Sequence[Choice], own: Mapping[Label, Sequence[_Picks | None]]) -> dict[str, float | None]:
    """Return the share of picks that went to the longer answer, over the pairs in which one is longer."""
    shares: dict[str, list[float]] = {label: [] for label in LABELS}
    for label in LABELS:
        for choice, picks in zip(choices, own[label], strict=True):
            sizes = _lengths(choice)
            if picks and sizes != (0.5, 0.5):
                shares[label].append(picks[sizes.index(1.0)])
    shares["both"] = [*shares["chosen"], *shares["rejected"]]
    return {who: _mean(shares[who]) for who in _WHO}
