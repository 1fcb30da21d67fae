"""From weights to sentences: which directions a person is surely for or against, and how to say so.

A single weight is rarely sure: "local" and "local company" always come together and share what is known of both, and
so do length and long sentences. So features that go together in this person's choices are taken as one direction, and
it is the utility along the whole direction, for a difference as large as they typically are here, whose posterior is
reported. Quantities stand alone: a cheaper train that is also slower says nothing for slowness. Of directions that
point the same way only the surest is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import numpy as np

from persona_plugins.contrastive.belief import Belief
from persona_sdk.laplace import Array
from persona_sdk.models import Evidence, Trait
from persona_sdk.signals import Choice
from persona_sdk.text import as_data, content_words, words

__all__ = ["traits_of"]

#: A trait is reported when its mean is this many posterior standard deviations from 0: 90 % sure of the direction, so
#: that its 80 % credible interval leaves 0 out.
SURE = 1.2816
#: A feature has to differ in this many of a person's choices before anything is said about it.
MINIMUM_SUPPORT = 3
MOST_TRAITS = 8
_CANDIDATES = 30
#: How readily people would describe themselves by a style dimension. Of directions that say the same, the plainest
#: name is used: nobody says of themselves that they like long sentences when they like long answers.
PLAINNESS = {
    "s:length": 1.0,
    "s:directness": 0.75,
    "s:first_person": 0.75,
    "s:numbers": 0.75,
    "s:sentence_length": 0.7,
    "s:reading_level": 0.7,
    "s:paragraphs": 0.7,
    "s:exclamations": 0.7,
}
_PLAIN = 0.9

#: Cosine between two features' differences from which they go together: style measures move together loosely.
_TOGETHER = {"wp": 0.9, "s": 0.7, "q": 2.0}
#: Cosine between two directions from which they say the same.
_SAME = 0.8

#: What to say of a style dimension, for more of it and for less.
STYLE_PHRASES = {
    "length": ("Prefers longer, more detailed answers", "Prefers shorter answers"),
    "sentence_length": ("Prefers longer sentences", "Prefers short sentences"),
    "lists": ("Likes answers laid out as lists", "Prefers running text to lists"),
    "code": ("Likes code in answers", "Prefers answers without code"),
    "headings": ("Likes answers with headings", "Prefers answers without headings"),
    "paragraphs": ("Likes answers broken into paragraphs", "Prefers a single paragraph"),
    "questions": ("Likes being asked back", "Prefers answers that do not ask questions back"),
    "exclamations": ("Likes an enthusiastic tone with exclamation marks", "Prefers no exclamation marks"),
    "formality": ("Prefers a formal tone", "Prefers a casual tone"),
    "warmth": ("Prefers a warm, friendly tone", "Prefers a matter-of-fact tone"),
    "hedging": ("Likes uncertainty to be spelled out", "Prefers definite statements without hedging"),
    "directness": ("Prefers to be addressed directly", "Prefers impersonal answers"),
    "reading_level": ("Comfortable with demanding vocabulary", "Prefers simple words"),
    "examples": ("Likes examples", "Prefers answers without examples"),
    "emoji": ("Likes emoji", "Prefers no emoji"),
    "numbers": ("Likes figures and numbers", "Prefers answers with few figures"),
    "first_person": ("Likes a personal, first-person voice", "Prefers answers without a first-person voice"),
}


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction (d) and the feature it is called by."""

    name: str
    vector: Array


@dataclass(frozen=True, slots=True)
class _Directions:
    """Directions in feature space that can be put in words: vectors (t × d), and the features each may be called by."""

    vectors: Array
    called: Sequence[Sequence[int]]

    def name(self, i: int, names: Sequence[str]) -> str:
        """Of features that say the same, the phrase with the most content, then the first by name."""
        return min((names[j] for j in self.called[i]), key=_telling)


def traits_of(belief: Belief, choices: Sequence[Choice], inferrer: str) -> list[Trait]:
    """Return the traits this belief is sure of, the surest first. `choices` are those of the belief's rows."""
    if belief.prior.personal == 0 or not belief.choices:  # nothing here is this person's own
        return []
    directions = _directions(belief)
    means, variances = belief.effect(directions.vectors)
    sureness = np.abs(means) / np.sqrt(np.maximum(variances, 1e-12))
    plainness = np.array([PLAINNESS.get(belief.names[c[0]], _PLAIN) for c in directions.called])
    traits: list[Trait] = []
    told: list[Array] = []
    for i in np.argsort(-sureness * plainness):
        if sureness[i] < SURE or len(traits) == MOST_TRAITS:
            continue
        vector = directions.vectors[i]
        unit = vector / np.linalg.norm(vector)
        if all(abs(float(unit @ other)) < _SAME for other in told):
            told.append(unit)
            name = directions.name(int(i), belief.names)
            effect = (float(means[i]), float(np.sqrt(variances[i])))
            traits.append(_trait(belief, choices, _Direction(name, vector), effect, inferrer))
    return traits


def _directions(belief: Belief) -> _Directions:
    """Collect the directions that this person's own choices speak about."""
    rows = belief.rows[: belief.choices]
    support = (np.abs(rows) > 1e-9).sum(0)
    typical = np.sqrt((rows**2).sum(0) / np.maximum(support, 1))
    strength = np.abs(belief.mean + belief.deviation) * typical
    enough = [i for i in np.argsort(-strength).tolist() if support[i] >= MINIMUM_SUPPORT]
    by_kind = {
        "s": [i for i in enough if belief.names[i][0] == "s"],
        "wp": [i for i in enough if belief.names[i][0] in "wp"][:_CANDIDATES],
        "q": [i for i in enough if belief.names[i][0] == "q"],
    }
    vectors = [np.zeros((0, len(belief.names)))]
    called: list[list[int]] = []
    for kind, candidates in by_kind.items():
        said = [k for k, i in enumerate(candidates) if _can_be_said(belief.names[i])]
        slopes = _slopes(rows[:, candidates], _TOGETHER[kind])[said]
        block = np.zeros((len(said), len(belief.names)))
        block[:, candidates] = slopes * typical[[candidates[k] for k in said]][:, None]
        vectors.append(block)
        for k, slope in zip(said, slopes, strict=True):
            alike = np.flatnonzero(slope > 0).tolist() if kind == "wp" else [k]
            called.append([candidates[j] for j in alike])
    return _Directions(np.concatenate(vectors), called)


def _slopes(columns: Array, together: float) -> Array:
    """Return the slope of every feature's differences on each one's (c × c), 0 where the two do not go together."""
    products = columns.T @ columns
    squares = np.diag(products)
    cosines = products / np.sqrt(np.outer(squares, squares))
    slopes: Array = np.where(np.abs(cosines) >= together, products / squares[:, None], 0.0)
    np.fill_diagonal(slopes, 1.0)
    return slopes


@lru_cache(maxsize=16_384)
def _can_be_said(name: str) -> bool:
    group, _, what = name.partition(":")
    if group == "s":
        return what in STYLE_PHRASES
    return group == "q" or (group in "wp" and bool(content_words(what)))


@lru_cache(maxsize=16_384)
def _telling(name: str) -> tuple[int, int, str]:
    return -len(content_words(name[2:])), len(words(name[2:])), name


def _trait(
    belief: Belief, choices: Sequence[Choice], direction: _Direction, effect: tuple[float, float], inferrer: str
) -> Trait:
    mean, deviation = effect
    influence = belief.influence(direction.vector)[: belief.choices]
    agreeing = [i for i in np.argsort(-influence * np.sign(mean)) if influence[i] * mean > 0][:5]
    style = direction.name.startswith("s:")
    return Trait(
        key=f"style:{direction.name[2:]}" if style else f"choice:{direction.name}",
        statement=_sentence(belief, direction.name, more=mean > 0),
        kind="style" if style else "preference",
        polarity="for" if mean > 0 else "against",
        scope=() if style else _scope([choices[i].prompt for i in agreeing]),
        weight=mean,
        interval=(mean - SURE * deviation, mean + SURE * deviation),
        evidence=tuple(Evidence(signal_id=choices[i].signal_id, influence=float(influence[i])) for i in agreeing),
        inferrer=inferrer,
    )


def _sentence(belief: Belief, name: str, *, more: bool) -> str:
    group, _, what = name.partition(":")
    if group == "s":
        phrase = STYLE_PHRASES[what][0 if more else 1]
        return f"{phrase}{_typical_lengths(belief, more=more) if what == 'length' else ''}."
    if group == "q":
        figures = f"{'higher' if more else 'lower'} figures in '{as_data(what, 40)}'"
        return f"Goes for {figures}{_typical_values(belief, name, more=more)}."
    return f"{'Goes for' if more else 'Turns down'} answers that mention '{as_data(what, 60)}'."


def _typical_lengths(belief: Belief, *, more: bool) -> str:
    chosen, rejected = _sides(belief, "s:length")
    if not chosen or (median(chosen) > median(rejected)) != more:
        return ""
    return f" (about {_round(np.expm1(median(chosen)))} words rather than {_round(np.expm1(median(rejected)))})"


def _round(words: float) -> int:
    """Round to what anyone would say, so that the sentence does not change with every choice."""
    step = 1 if words < 10 else 5 if words < 50 else 10
    return round(words / step) * step


def _typical_values(belief: Belief, name: str, *, more: bool) -> str:
    chosen, rejected = _sides(belief, name)
    if not chosen or (median(chosen) > median(rejected)) != more or median(chosen) == median(rejected):
        return ""  # medians of a few choices may tell another story than all of them together
    return f" (about {median(chosen):.4g} rather than {median(rejected):.4g})"


def _sides(belief: Belief, name: str) -> tuple[list[float], list[float]]:
    """Return a feature's values in chosen and in rejected answers, of the choices where both have it and differ."""
    both = [(a[name], b[name]) for a, b in belief.evidence.pairs if name in a and name in b and a[name] != b[name]]
    return [a for a, _ in both], [b for _, b in both]


def _scope(prompts: Sequence[str], most: int = 6) -> tuple[str, ...]:
    """Return the words that most of these prompts are about."""
    seen: Counter[str] = Counter()
    for prompt in prompts:
        stems = content_words(prompt[:2000])
        seen.update({w for w in words(prompt[:2000]) if content_words(w) & stems})
    return tuple(sorted(w for w, _ in seen.most_common(most)))
