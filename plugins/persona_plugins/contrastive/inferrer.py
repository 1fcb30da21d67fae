"""The `contrastive` inferrer: chosen minus rejected, a hierarchical Bayesian model and traits it is sure of."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from persona_plugins.contrastive.belief import STATE_FEATURES, Belief, Evidence
from persona_plugins.contrastive.phrasing import traits_of
from persona_plugins.contrastive.population import (
    MAX_CHOICES,
    MAX_PEOPLE,
    MINIMUM_PAIRS,
    MINIMUM_PEOPLE,
    fit_prior,
)
from persona_plugins.contrastive.reading import Embedder, Reader, prior_of, prompt_groups
from persona_plugins.contrastive.space import Pair
from persona_plugins.contrastive.statements import Statement, standing, statements_in
from persona_sdk.inference import (
    HeldOutChoice,
    History,
    Inference,
    InferenceRequest,
    Inferrer,
    Population,
)
from persona_sdk.laplace import Array
from persona_sdk.models import Evidence as Quoted
from persona_sdk.models import HeldOutMethod, Trait, trait_id
from persona_sdk.signals import Choice, Signal, Utterance, choices_of
from persona_sdk.text import content_words

__all__ = ["Contrastive"]

#: Fewer choices than this are held out one step ahead, each predicted from those before it.
LEAVE_OUT_FROM = 6
#: Measures that a stated dimension speaks about too: who wants detail no longer prefers short sentences.
GOES_WITH = {
    "length": ("sentence_length", "paragraphs"),
    "warmth": ("exclamations", "first_person"),
    "reading_level": ("sentence_length",),
}
#: Log-odds shown for a trait somebody stated: their word, not an estimate.
STATED_WEIGHT = 1.0


class Contrastive(Inferrer):
    """Learns what a person prefers from their choices, and takes what they say outright at its word.

    `embedder` (LangChain's `Embeddings`) adds the dimensions of an embedding as features. `keep_protected` also keeps
    statements about religion, origin, orientation and the like, which are left out otherwise.
    """

    name = "contrastive"

    def __init__(self, embedder: Embedder | None = None, *, keep_protected: bool = False) -> None:
        self._reader = Reader(embedder)
        self._keep_protected = keep_protected

    def infer(self, request: InferenceRequest) -> Inference:
        """Infer one person's traits; milliseconds for tens of choices."""
        choices = choices_of(request.signals)
        said, before = self._said(request.signals, request.rejected)
        stated = [_stated_trait(s, self.name) for s in said]
        if not choices:
            return Inference(traits=tuple(stated), note="" if stated else "too little evidence: no choices yet")
        prior = prior_of(request.population)
        belief = Belief(prior, self._evidence(choices, said, before, request.rejected))
        told_before = self._said(request.signals[: request.read_before], request.rejected)[0]
        held_out, method = _held_out(request, belief, choices, frozenset(_directions(told_before, before)))
        inferred = [t for t in traits_of(belief, choices, self.name) if t.id not in request.rejected]
        return Inference(
            traits=(*stated, *inferred),
            held_out=held_out,
            method=method,
            state=belief.state(),
            note="" if stated or inferred else "nothing these choices show is sure enough to be put in a sentence",
        )

    def predict(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return the probability that each `chosen` is taken over its `rejected`; without signals, by anyone here."""
        choices = choices_of(request.signals)
        said, before = self._said(request.signals, request.rejected)
        belief = Belief(prior_of(request.population), self._evidence(choices, said, before, request.rejected))
        return [float(p) for p in belief.predict(self._reader.pairs(asked))]

    def leaning(self, request: InferenceRequest) -> Mapping[str, float]:
        """Return the posterior weights of features the population knows, less everybody's; {} without a population.

        They are learnt with a variance of 1 whatever the population's is: where people differ too little to be told
        apart one by one, they may still differ in kinds.
        """
        if request.population is None:
            return {}
        prior = replace(prior_of(request.population), personal=1.0)
        said, before = self._said(request.signals, request.rejected)
        evidence = self._evidence(choices_of(request.signals), said, before, request.rejected)
        if not evidence.pairs and not evidence.stated:
            return {}
        belief = Belief(prior, evidence)
        weights = zip(belief.names, belief.deviation.tolist(), strict=True)
        known = [(name, weight) for name, weight in weights if weight and name in prior.space.measures]
        known.sort(key=lambda item: (-abs(item[1]), item[0]))
        return {name: float(f"{weight:.5g}") for name, weight in known[:STATE_FEATURES]}

    def contrast(self, population: Population | None, asked: Sequence[Choice]) -> list[Mapping[str, float]]:
        """Return the scaled differences between the answers, of features the population knows."""
        if population is None:
            return [{} for _ in asked]
        space = prior_of(population).space
        return [space.difference(pair) for pair in self._reader.pairs(asked)]

    def _evidence(
        self,
        choices: Sequence[Choice],
        said: Sequence[Statement],
        before: Mapping[Statement, int],
        rejected: frozenset[str],
    ) -> Evidence:
        pairs = self._reader.pairs(choices)
        return Evidence(
            pairs=pairs,
            certainty=[c.certainty for c in choices],
            groups=prompt_groups(choices),
            stated=_directions(said, before),
            excluded=frozenset(name for taken_back in rejected for name in _features_of(taken_back, pairs)),
        )

    def _said(
        self, signals: Sequence[Signal], rejected: frozenset[str]
    ) -> tuple[list[Statement], Mapping[Statement, int]]:
        """Return what a person said that still stands, and how many choices they had made before saying it."""
        statements: list[Statement] = []
        choices_before: dict[Statement, int] = {}
        for i, signal in enumerate(signals):
            if isinstance(signal, Utterance):
                found = statements_in(signal.text, signal.id, keep_protected=self._keep_protected)
                statements.extend(found)
                if found:
                    made = len(choices_of(signals[:i]))
                    choices_before.update(dict.fromkeys(found, made))
        standing_now = [s for s in standing(statements) if trait_id(s.key, s.polarity, s.scope) not in rejected]
        return standing_now, choices_before

    def fit_population(self, tenant: str, histories: Iterable[History]) -> Population | None:
        """Fit the tenant's prior; None with too few people or choices to speak of a population."""
        drawn, people, total = _draw(histories)
        if people < MINIMUM_PEOPLE or total < MINIMUM_PAIRS:
            return None
        prior = fit_prior([self._reader.user_pairs(user_id, choices) for user_id, choices in drawn])
        return Population(
            tenant=tenant,
            inferrer=self.name,
            fingerprint=prior.fingerprint,
            users=people,
            choices=total,
            data=prior.to_data(),
        )


def _draw(histories: Iterable[History]) -> tuple[list[tuple[str, list[Choice]]], int, int]:
    """Draw people at random, as many as the population can be fitted on, and count people and choices of all.

    A reservoir: only those drawn are held, and only their texts are read, however many people there are.
    """
    rng = random.Random(0)  # noqa: S311 - the same people for the same histories
    drawn: list[tuple[str, list[Choice]]] = []
    people = total = 0
    for history in histories:
        choices = choices_of(history.signals)
        if not choices:
            continue
        people, total = people + 1, total + len(choices)
        place = len(drawn) if len(drawn) < MAX_PEOPLE else rng.randrange(people)
        if place < MAX_PEOPLE:
            drawn[place : place + 1] = [(history.user_id, choices)]
    rng.shuffle(drawn)
    enough = next((i for i in range(len(drawn)) if sum(len(c) for _, c in drawn[:i]) >= MAX_CHOICES), len(drawn))
    return sorted(drawn[:enough], key=lambda person: person[0]), people, total


def _directions(said: Sequence[Statement], before: Mapping[Statement, int]) -> dict[str, tuple[int, int]]:
    """Return the style features that statements speak about: direction, and how many choices came before."""
    return {
        f"s:{feature}": (s.direction, before.get(s, 0))
        for s in said
        if s.feature and not s.scope
        for feature in (s.feature, *GOES_WITH.get(s.feature, ()))
    }


def _features_of(rejected: str, pairs: Sequence[Pair]) -> set[str]:
    """Return the features behind an inferred trait's id, "style:length/against" or "choice:p:local company/for".

    Of a word or phrase, all that share a content word with it: it must not come back by another name.
    """
    group, _, what = rejected.rpartition("/")[0].partition(":")
    if group == "style":
        return {f"s:{name}" for name in (what, *GOES_WITH.get(what, ()))}
    if group != "choice" or what[:1] not in "wp":
        return {what}
    said = content_words(what[2:])
    names = {name for pair in pairs for features in pair for name in features if name[0] in "wp"}
    return {what, *(name for name in names if content_words(name[2:]) & said)}


def _stated_trait(statement: Statement, inferrer: str) -> Trait:
    sign = 1.0 if statement.polarity == "for" else -1.0
    return Trait(
        key=statement.key,
        statement=statement.text,
        kind=statement.kind,
        polarity=statement.polarity,
        scope=statement.scope,
        weight=sign * STATED_WEIGHT,
        interval=(sign * STATED_WEIGHT, sign * STATED_WEIGHT),
        evidence=(Quoted(signal_id=statement.signal_id, quote=statement.quote),),
        stated=True,
        inferrer=inferrer,
    )


def _held_out(
    request: InferenceRequest, belief: Belief, choices: Sequence[Choice], told_before: frozenset[str]
) -> tuple[tuple[HeldOutChoice, ...], HeldOutMethod]:
    """Predict every choice without having seen it: by this belief, by nobody's, by the version before, by another's."""
    without, mine = _predictions(belief)
    previous = _previous(request, belief, told_before)
    other = None if request.other_state is None else np.clip(belief.predict_as(request.other_state), 1e-12, 1.0)
    held_out = tuple(
        HeldOutChoice(
            signal_id=choice.signal_id,
            with_persona=float(np.log(mine[i])),
            without=float(np.log(without[i])),
            previous=previous[i],
            other=None if other is None else float(np.log(other[i])),
        )
        for i, choice in enumerate(choices)
    )
    return held_out, "leave-one-out" if len(choices) >= LEAVE_OUT_FROM else "one-step-ahead"


def _predictions(belief: Belief) -> tuple[Array, Array]:
    """Return probabilities without and with the persona, bounded away from 0."""
    without, mine = belief.held_out()
    n = belief.choices
    if n < LEAVE_OUT_FROM:  # too few to leave one out: what would have been predicted at the time
        earlier = [Belief(belief.prior, belief.evidence.first(i)) for i in range(n)]
        mine = np.array([belief.predicted_by(earlier[i], i, i + 1)[0] for i in range(n)])
    return np.clip(without, 1e-12, 1.0), np.clip(mine, 1e-12, 1.0)


def _previous(request: InferenceRequest, belief: Belief, told_before: frozenset[str]) -> list[float | None]:
    """Predict with what the version before had read: held out among those choices, ahead for the newer ones.

    `told_before` are the features it had been told about. Choices that a newer word of the person has put aside are
    not compared: the version before predicts them well for having missed that word.
    """
    n = belief.choices
    read = len(choices_of(request.signals[: request.read_before]))
    if not 0 < read < n:
        return [None] * n
    part = belief.evidence.first(read)
    known = {name: said for name, said in part.stated.items() if name in told_before}
    earlier = Belief(belief.prior, replace(part, stated=known))
    _, seen = _predictions(earlier)
    ahead = np.clip(belief.predicted_by(earlier, read, n), 1e-12, 1.0)
    put_aside = max((before for f, (_, before) in belief.evidence.stated.items() if f not in told_before), default=0)
    return [None if i < put_aside else float(np.log(p)) for i, p in enumerate([*seen, *ahead])]
