"""Sketches: short vectors whose cosines are those of the leanings, the same ones everywhere."""

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_plugins.similar_personas.blending import similarity
from persona_plugins.similar_personas.sketch import DIMENSIONS, sketch

LEANINGS = st.dictionaries(st.text(max_size=12), st.floats(allow_nan=False, allow_infinity=False), max_size=12)


def leaning(rng, shared=0.0, other=None):
    """Return weights of 40 names; of a share of them, those of another leaning."""
    own = {f"w:{rng.randrange(10**6)}": rng.gauss(0, 1) for _ in range(40)}
    kept = rng.sample(sorted(other), int(40 * shared)) if other else []
    return {**dict(sorted(own.items())[len(kept) :]), **{name: other[name] for name in kept}}


@pytest.mark.parametrize("shared", [0.0, 0.4, 0.8])
def test_cosines_of_sketches_are_cosines_of_leanings_give_or_take_what_is_documented(shared):
    rng = random.Random(1)
    errors, expected = [], []
    for _ in range(400):
        a = leaning(rng)
        b = leaning(rng, shared, a)
        true = similarity(a, b, frozenset("w"))
        errors.append(float(sketch(a) @ sketch(b)) - true)
        expected.append((1 - true**2) ** 2 / DIMENSIONS)
    typical = float(np.sqrt(np.mean(expected)))
    assert abs(float(np.mean(errors))) < 3 * typical / 400**0.5  # without bias
    assert 0.85 * typical < float(np.sqrt(np.mean(np.square(errors)))) < 1.15 * typical
    assert max(map(abs, errors)) < 5 / DIMENSIONS**0.5


def test_other_processes_make_the_same_sketch():
    code = (
        "from persona_plugins.similar_personas.sketch import sketch;"
        "print(sketch({'w:cheap': 1.5, 'w:fast': -0.5, 's:length': 2.0}).tobytes().hex())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert made == {sketch({"s:length": 2.0, "w:fast": -0.5, "w:cheap": 1.5}).tobytes().hex() + "\n"}


def test_a_sketch_kept_by_an_older_version_still_stands():
    """An index may hold sketches for years: if this fails, every index has to be rebuilt."""
    assert np.sign(sketch({"w:cheap": 1.0})[:12]).astype(int).tolist() == [1, -1, -1, 1, 1, 1, 1, 1, -1, -1, -1, -1]


def test_only_the_groups_asked_for_count():
    both = {"w:cheap": 1.0, "s:length": -2.0}
    assert np.array_equal(sketch(both, frozenset("w")), sketch({"w:cheap": 3.0}))
    assert not sketch(both, frozenset("q")).any()
    assert not np.array_equal(sketch(both), sketch(both, frozenset("w")))


def test_the_number_of_dimensions_is_free():
    for dimensions in (8, 100, 384):
        found = sketch({"w:cheap": 1.0, "w:fast": 1.0}, None, dimensions)
        assert found.shape == (dimensions,)
        assert found.dtype == np.float32


@given(LEANINGS)
def test_a_sketch_has_length_one_whatever_the_names_and_weights(weights):
    found = sketch(weights)
    length = float(np.linalg.norm(found))
    assert length == pytest.approx(1.0 if any(weights.values()) else 0.0, abs=1e-5)


@given(LEANINGS, st.floats(0.001, 1000))
def test_only_the_direction_counts(weights, factor):
    scaled = {name: min(max(weight, -1e100), 1e100) for name, weight in weights.items()}
    larger = {name: weight * factor for name, weight in scaled.items()}
    assert np.allclose(sketch(scaled), sketch(larger), atol=1e-5) or any(0 < abs(w) < 1e-200 for w in scaled.values())
