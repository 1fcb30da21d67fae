"""The `abductive` inferrer: sentences that would explain a person's choices, kept if they predict the next ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from persona_plugins.abductive.hygiene import same
from persona_plugins.abductive.hypotheses import Hypothesis, distinct, made_from, means_the_same, says_the_same
from persona_plugins.abductive.leaning import named, weighed
from persona_plugins.abductive.population import (
    MAX_CHOICES,
    MINIMUM_PAIRS,
    MINIMUM_PEOPLE,
    Common,
    Differences,
    Drawn,
    clipped,
    fingerprint,
    fit_beside,
    fit_common,
)
from persona_plugins.abductive.sources import Sources
from persona_plugins.abductive.state import base_population, shared, utilities, weighted_of
from persona_plugins.abductive.weighing import Trial, Weights
from persona_sdk.errors import PluginTypeError
from persona_sdk.inference import (
    HeldOutChoice,
    History,
    Inference,
    InferenceRequest,
    Inferrer,
    PairPersonas,
    Population,
)
from persona_sdk.language import Journal, Spent
from persona_sdk.laplace import Array, sigmoid
from persona_sdk.models import Evidence, Trait
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.signals import Choice, choices_of

if TYPE_CHECKING:
    from persona_plugins.abductive.dialogue import Held

__all__ = ["Abductive"]

#: A sentence becomes a trait when its weight is above 0 with this probability: as many standard deviations.
SURE = 1.28
#: Most choices a trait names as its evidence.
_SHOWN = 5


class Abductive(Inferrer):
    """Tests sentences about a person on their choices; a chat model may propose some, a scorer says what they fit.

    `base` is another inferrer whose predictions these sentences have to improve on; its traits are given, too.
    `budget` is how many answers may be scored for one person's choices, `population_budget` for a whole population.
    """

    name = "abductive"

    def __init__(
        self,
        scorer: StatementScorer,
        sources: Sources,
        *,
        base: Inferrer | None = None,
        budget: int = 4000,
        population_budget: int = 40_000,
        name: str = "abductive",
    ) -> None:
        setattr(self, "name", name)  # noqa: B010 - one class serves several names
        self._scorer = scorer
        self._sources = sources
        self._base = base
        self._budget = budget
        self._population_budget = population_budget

    # One person

    def infer(self, request: InferenceRequest) -> Inference:
        """Test the common sentences and a model's proposals on a person's choices; keep those that predict."""
        below = self._below(request)
        held = self._sources.held(request)
        stated = self._stated(request, below, held)
        choices = choices_of(request.signals)
        if not choices:
            return Inference(traits=stated, note="" if stated else "too little evidence: no choices yet")
        case = self._case(request, choices, below, held)
        found = tuple(t for t in self._traits(case, case.trial.keep()) if t.key not in {s.key for s in stated})
        return Inference(
            traits=(*stated, *found),
            held_out=self._held_out(request, case, below),
            method="leave-one-out",
            state=self._state(case, below),
            note="" if stated or found else "no sentence tried predicts these choices surely enough to be kept",
        )

    def _stated(self, request: InferenceRequest, below: Inference | None, held: Sequence[Held]) -> tuple[Trait, ...]:
        """Return the traits of the inferrer below, and what a model read in the person's words beside them."""
        given = below.traits if below else ()
        said = [
            t
            for t in self._sources.said(held, self.name)
            if t.id not in request.rejected and not any(same(t.statement, g.statement) for g in given)
        ]
        return (*given, *(t for t in said if not any(says_the_same(t, taken_back) for taken_back in request.rejected)))

    def predict(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return the probability that each `chosen` is taken over its `rejected`."""
        below = self._below(request)
        case = self._case(request, choices_of(request.signals), below, self._sources.held(request))
        values = self._values(asked, case.hypotheses, request.journal)
        scales = case.scales if len(case.values) else case.common.scales(values, [h.statement for h in case.hypotheses])
        z = clipped(values, scales)
        offset = z @ case.trial.prior
        if self._base is not None:
            given = self._base.predict(self._for_base(request), asked)
            offset = offset + _logit(np.array(given))
        return [float(p) for p in case.trial.predict(z, offset)]

    def leaning(self, request: InferenceRequest) -> Mapping[str, float]:
        """Return how a person's weights of the common sentences differ from everybody's, or the inferrer's below."""
        if self._base is not None:
            return self._base.leaning(self._for_base(request))
        choices = choices_of(request.signals)
        rows = self.contrast(request.population, choices)
        if not any(rows):
            return {}
        common = Common.of(request.population, self._scorer.name)
        return weighed(rows, choices, self._sources.common, common, request.rejected)

    def contrast(self, population: Population | None, asked: Sequence[Choice]) -> list[Mapping[str, float]]:
        """Return how much better each common sentence suits what was chosen, in units of what is typical of it."""
        if self._base is not None:
            return self._base.contrast(base_population(population, self._base.name), asked)
        common = Common.of(population, self._scorer.name)
        if not asked or not common.scale or not self._scorer.quick:
            return [{} for _ in asked]
        statements = [h.statement for h in self._sources.common]
        values = self._values(asked, self._sources.common, None)
        return named(clipped(values, common.scales(values, statements)), self._sources.common)

    def _below(self, request: InferenceRequest) -> Inference | None:
        return None if self._base is None else self._base.infer(self._for_base(request))

    def _for_base(self, request: InferenceRequest) -> InferenceRequest:
        population = base_population(request.population, self._base.name if self._base else "")
        other = None if request.other_state is None else request.other_state.get("base")
        return replace(request, population=population, other_state=other)

    def _case(
        self,
        request: InferenceRequest,
        choices: Sequence[Choice],
        below: Inference | None,
        held: Sequence[Held] = (),
    ) -> _Case:
        """Gather what is tried for this person, and how well each sentence fits each of their choices."""
        common = Common.of(request.population, self._scorer.name)
        # Where the tenant's choices gave sentences no weight, none could count: nothing is asked of a model.
        proposed = self._sources.proposed(request, choices, held) if common.variance else []
        tried = distinct([*self._sources.common, *proposed])
        hypotheses = [h for h in tried if not any(means_the_same(h, taken_back) for taken_back in request.rejected)]
        statements = [h.statement for h in hypotheses]
        untested = max(0, len(choices) - max(1, self._budget // _cost(hypotheses)))
        values = self._values(choices[untested:], hypotheses, request.journal)
        values = np.concatenate([np.zeros((untested, len(hypotheses))), values])  # too old to be worth a model's time
        for column, h in enumerate(hypotheses):
            values[made_from(h, choices), column] = 0.0
        prior = common.means(statements)
        scales = common.scales(values, statements)
        z = clipped(values, scales)
        offset = z @ prior
        if below is not None:
            offset = offset + _logit(np.exp([h.with_persona for h in below.held_out]))
        trial = Trial(
            z=z,
            offset=offset,
            certainty=np.array([c.certainty for c in choices]),
            groups=_groups(choices),
            prior=prior,
            paired=np.array([h.contrary is not None for h in hypotheses], bool),
            variance=common.variance,
        )
        return _Case(choices, hypotheses, values, scales, common, trial, untested)

    def _state(self, case: _Case, below: Inference | None) -> dict[str, Any]:
        sentences = case.sentences()
        said = {s["statement"] for s in sentences}
        # What the person took back is kept with no weight, so that everybody's does not take its place.
        nothing = {"weight": 0.0, "scale": 1.0}
        taken_back = [
            {"statement": h.statement, "contrary": h.contrary, "key": h.key, **nothing}
            for h in self._sources.common
            if h.statement not in said
        ]
        base = below.state if below else None
        return {"scorer": self._scorer.name, "sentences": [*sentences, *taken_back], "base": base}

    def _values(self, choices: Sequence[Choice], tried: Sequence[Hypothesis], journal: Journal | None) -> Array:
        """Return how much better each sentence suits what was chosen than what was rejected (n × H)."""
        if not choices or not tried:
            return np.zeros((len(choices), len(tried)))
        sentences = list(dict.fromkeys(s for h in tried for s in (h.statement, h.contrary) if s))
        scored = self._scorer.score([Offer(c.prompt, (c.chosen, c.rejected)) for c in choices], sentences, journal)
        fits = np.array(scored, dtype=np.float64) if _is_regular(scored, len(sentences)) else np.zeros(0)
        if fits.shape != (len(choices), len(sentences), 2) or not np.all(np.isfinite(fits)):
            raise PluginTypeError(
                f"the statement scorer {self._scorer.name!r} must return a finite number for each offer, statement and "
                f"answer: {len(choices)} × {len(sentences)} × 2",
                plugin=self._scorer.name,
            )
        better = fits[:, :, 0] - fits[:, :, 1]
        column = {sentence: better[:, i] for i, sentence in enumerate(sentences)}
        nothing = np.zeros(len(choices))
        return np.array([column[h.statement] - (column[h.contrary] if h.contrary else nothing) for h in tried]).T

    def _held_out(self, request: InferenceRequest, case: _Case, below: Inference | None) -> tuple[HeldOutChoice, ...]:
        mine = np.log(np.clip(case.trial.held_out(), 1e-12, 1.0))
        if below is not None:
            without = np.array([h.without for h in below.held_out])
        else:
            without = np.log(np.clip(case.trial.without(), 1e-12, 1.0))
        previous = self._previous(request, case, below)
        other = self._other(request, case, below)
        return tuple(
            HeldOutChoice(
                signal_id=choice.signal_id,
                with_persona=float(mine[i]),
                without=float(without[i]),
                previous=previous[i],
                other=other[i],
            )
            for i, choice in enumerate(case.choices)
        )

    def _previous(self, request: InferenceRequest, case: _Case, below: Inference | None) -> list[float | None]:
        """Predict with what the version before had read: held out among those choices, ahead for the newer ones."""
        n, read = len(case.choices), len(choices_of(request.signals[: request.read_before]))
        if not 0 < read < n:
            return [None] * n
        trial = case.trial if below is None else replace(case.trial, offset=_previous_offset(case.trial, below))
        earlier, later = trial.rows(np.arange(read)), np.arange(read, n)
        ahead = earlier.predict(trial.z[later], trial.offset[later])
        return [float(x) for x in np.log(np.clip(np.concatenate([earlier.held_out(), ahead]), 1e-12, 1.0))]

    def _other(self, request: InferenceRequest, case: _Case, below: Inference | None) -> list[float | None]:
        """Predict with another person's sentences."""
        if request.other_state is None or request.other_state.get("scorer") != self._scorer.name:
            return [None] * len(case.choices)
        ours = {h.statement for h in self._sources.common}  # their own sentences stay out of this person's prompts
        theirs = [w for w in weighted_of(request.other_state) if w.statement in ours]
        theirs += shared(request.population, self._scorer.name, {w.statement for w in theirs})
        offers = [Offer(c.prompt, (c.chosen, c.rejected)) for c in case.choices[case.untested :]]
        scored = utilities(self._scorer, theirs, offers, request.journal)
        logit = np.array([0.0] * case.untested + [chosen - rejected for chosen, rejected in scored])
        if below is not None:
            logit = logit + _logit(np.exp([h.other if h.other is not None else h.without for h in below.held_out]))
        return [float(x) for x in np.log(np.clip(sigmoid(logit), 1e-12, 1.0))]

    def _traits(self, case: _Case, weights: Weights) -> list[Trait]:
        """Put the sentences that are surely so into traits, the weightiest first."""
        found = []
        for h, mean, spread in zip(weights.columns, weights.mean, weights.spread, strict=True):
            total = float(case.trial.prior[h] + mean)
            if abs(total) <= SURE * spread or mean * total <= 0:  # what everybody is like says nothing of this person
                continue
            hypothesis = case.hypotheses[h]
            influence = case.trial.z[:, h] * total
            shown = [int(i) for i in np.argsort(-influence)[:_SHOWN] if influence[i] > 0]
            sign = hypothesis.sign(total)
            found.append(
                Trait(
                    key=hypothesis.key,
                    statement=hypothesis.wording(total),
                    kind=hypothesis.kind,
                    polarity="for" if sign > 0 else "against",
                    weight=sign * abs(total),
                    interval=(sign * abs(total) - SURE * spread, sign * abs(total) + SURE * spread),
                    evidence=tuple(
                        Evidence(signal_id=case.choices[i].signal_id, influence=float(influence[i])) for i in shown
                    ),
                    inferrer=self.name,
                )
            )
        one_a_key = {t.key: t for t in sorted(found, key=lambda t: abs(t.weight))}
        return sorted((t for t in one_a_key.values() if t.evidence), key=lambda t: -abs(t.weight))

    # Many people

    def fit_population(self, tenant: str, histories: Iterable[History]) -> Population | None:
        """Fit what the common sentences say of everyone, on as many people as the budget allows."""
        drawn = Drawn(histories)
        below = None
        if self._base is not None:
            below = self._base.fit_population(tenant, drawn)  # reads everyone, while a few are drawn for us
        else:
            drawn.read()
        if drawn.people < MINIMUM_PEOPLE or drawn.choices < MINIMUM_PAIRS:
            return None
        tried = self._sources.common
        room = max(MINIMUM_PAIRS, min(MAX_CHOICES, self._population_budget // _cost(tried)))
        compared = [self._compared(h, choices, below) for h, choices in drawn.some(room)]
        common = (fit_common if self._base is None else fit_beside)(compared, tried)
        data = common.to_data(self._scorer.name) | {"contrary": {h.statement: h.contrary for h in tried}}
        if below is not None:
            data["base"] = {"data": dict(below.data), "fingerprint": below.fingerprint}
        return Population(
            tenant=tenant,
            inferrer=self.name,
            fingerprint=fingerprint(data),
            users=drawn.people,
            choices=drawn.choices,
            data=data,
        )

    def _compared(self, history: History, choices: Sequence[Choice], below: Population | None) -> Differences:
        offset = np.zeros(len(choices))
        if self._base is not None:
            request = InferenceRequest("", history.user_id, history.signals, below, journal=history.journal)
            offset = _logit(np.exp([h.with_persona for h in self._base.infer(request).held_out[: len(choices)]]))
        values = self._values(choices, self._sources.common, history.journal)
        return Differences(history.user_id, values, _groups(choices), offset)

    def abduce(self, choice: Choice, journal: Journal | None = None) -> PairPersonas:
        """Ask the model who would choose either answer (arXiv 2501.11549, section 3)."""
        return self._sources.pair(choice, journal)

    def spent(self) -> Spent:
        """Return what was asked of the model and the scorer, and of the inferrer below."""
        below = self._base.spent() if self._base is not None else Spent()
        return self._sources.spent(self._scorer) + below


@dataclass(frozen=True)
class _Case:
    """One person's choices, the sentences tried, and how they fit: raw differences (n × H), their scales, the trial."""

    choices: Sequence[Choice]
    hypotheses: Sequence[Hypothesis]
    values: Array
    scales: Array
    common: Common
    trial: Trial
    untested: int

    def sentences(self) -> list[dict[str, Any]]:
        """Return all sentences with their weights for a typical difference, JSON-ready."""
        weights = self.trial.weigh()
        return [
            {
                "statement": h.statement,
                "contrary": h.contrary,
                "key": h.key,
                "weight": float(f"{prior + mean:.6g}"),
                "scale": float(f"{scale:.6g}"),
            }
            for h, prior, mean, scale in zip(self.hypotheses, self.trial.prior, weights.mean, self.scales, strict=True)
        ]


def _is_regular(scored: Any, sentences: int) -> bool:
    """Whether what a scorer returned is lists of as many lists as there are sentences, of two numbers each."""
    return isinstance(scored, list | tuple) and all(
        isinstance(by_sentence, list | tuple)
        and len(by_sentence) == sentences
        and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in by_sentence)
        and all(isinstance(value, int | float) for pair in by_sentence for value in pair)
        for by_sentence in scored
    )


def _groups(choices: Sequence[Choice]) -> list[int]:
    return [zlib.crc32(c.prompt.encode("utf-8", "replace")) for c in choices]


def _logit(p: Array) -> Array:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    found: Array = np.log(p) - np.log1p(-p)
    return found


def _previous_offset(trial: Trial, below: Inference) -> Array:
    given = np.array([h.previous if h.previous is not None else h.with_persona for h in below.held_out])
    return trial.z @ trial.prior + _logit(np.exp(given))


def _cost(tried: Sequence[Hypothesis]) -> int:
    """Return how many answers are scored for one choice: both of its answers under every sentence, and under none."""
    return 2 * (1 + sum(2 if h.contrary else 1 for h in tried))
