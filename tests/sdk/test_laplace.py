"""The dual Laplace approximation against brute force: grids, sampling, integration and true refits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk.laplace import (
    Array,
    Mode,
    find_mode,
    leave_out,
    log_sigmoid,
    moments,
    predictive,
    sigmoid,
)


def chosen(rng: np.random.Generator, n: int, d: int, strength: float = 1.0) -> Array:
    """Differences of n choices made by somebody with random weights, of mean squared length 1."""
    rows = rng.normal(size=(n, d)) / np.sqrt(d)
    weights = strength * rng.normal(size=d)
    return rows * np.sign(rows @ weights + rng.logistic(size=n))[:, None]


def log_posterior(weights: Array, rows: Array, mean: Array, variance: float, certainty: Array) -> Array:
    """Log of the unnormalised posterior at weights (k × d), computed in the space of weights."""
    prior = -0.5 * ((weights - mean) ** 2).sum(1) / variance
    likelihood: Array = log_sigmoid(weights @ rows.T) @ certainty
    return prior + likelihood


def fit(rows: Array, variance: float, offset: Array | None = None, certainty: Array | None = None) -> Mode:
    return find_mode(
        variance * rows @ rows.T, np.zeros(len(rows)) if offset is None else offset, certainty, tolerance=1e-13
    )


# The functions around it


def test_sigmoid_and_its_logarithm_agree_and_do_not_overflow() -> None:
    x = np.linspace(-30, 30, 601)
    assert np.log(sigmoid(x)) == pytest.approx(log_sigmoid(x), abs=1e-3)
    far = np.array([-1e6, 1e6])
    assert sigmoid(far).tolist() == [0.0, 1.0]
    assert log_sigmoid(far).tolist() == [-1e6, 0.0]


@pytest.mark.parametrize("variance", [0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0])
def test_predictive_is_close_to_the_integral(variance: float) -> None:
    """MacKay's approximation is off by at most 0.014 anywhere (measured, at mean 8 and variance 30)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(201)
    means = np.linspace(-8, 8, 33)
    exact = np.array([weights @ sigmoid(m + np.sqrt(variance) * nodes) / weights.sum() for m in means])
    got = predictive(means, np.full(33, variance))
    assert np.abs(got - exact).max() < (0.015 if variance else 1e-12)
    assert got + got[::-1] == pytest.approx(np.ones(33))
    assert (np.diff(got) > 0).all()


def test_predictive_takes_rounding_below_zero_for_no_variance() -> None:
    assert predictive(np.array([1.0]), np.array([-1e-9])) == pytest.approx(sigmoid(np.array([1.0])))


# The mode


def test_the_mode_in_one_dimension_is_the_maximum_on_a_grid() -> None:
    rows, certainty = np.array([[1.0], [0.5], [-0.3]]), np.array([1.0, 0.5, 0.8])
    mean, variance = np.array([0.2]), 2.0
    grid = np.linspace(-4, 4, 80_001)[:, None]
    best = grid[log_posterior(grid, rows, mean, variance, certainty).argmax()]
    mode = fit(rows, variance, rows @ mean, certainty)
    assert mean + variance * rows.T @ mode.alpha == pytest.approx(best, abs=2e-4)
    assert mode.f == pytest.approx(rows @ best, abs=2e-4)


def test_the_mode_in_two_dimensions_is_the_maximum_on_a_grid() -> None:
    rows, certainty = chosen(np.random.default_rng(5), 7, 2), np.array([1, 1, 0.5, 1, 0.3, 1, 0.9])
    mean, variance = np.array([-0.4, 0.6]), 3.0
    axis = np.linspace(-4, 4, 801)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    best = grid[log_posterior(grid, rows, mean, variance, certainty).argmax()]
    mode = fit(rows, variance, rows @ mean, certainty)
    assert mean + variance * rows.T @ mode.alpha == pytest.approx(best, abs=0.011)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(1, 40), st.sampled_from([0.03, 1.0, 12.0, 1e3]),
)  # fmt: skip
def test_at_the_mode_the_gradient_in_weights_is_zero(seed: int, n: int, d: int, variance: float) -> None:
    rng = np.random.default_rng(seed)
    rows, mean, certainty = chosen(rng, n, d), rng.normal(size=d), rng.uniform(0.1, 1, n)
    mode = fit(rows, variance, rows @ mean, certainty)
    weights = mean + variance * rows.T @ mode.alpha
    gradient = rows.T @ (certainty * sigmoid(-rows @ weights)) - (weights - mean) / variance
    assert np.abs(gradient).max(initial=0.0) < 1e-6
    assert mode.f == pytest.approx(rows @ weights)


def test_a_certainty_counts_like_rows_repeated() -> None:
    rng = np.random.default_rng(1)
    rows, times = chosen(rng, 6, 3), np.array([1, 2, 3, 1, 4, 2])
    asked = rng.normal(size=(5, 3))
    offset, own = np.zeros(5), 2.0 * (asked**2).sum(1)
    repeated = np.repeat(rows, times, axis=0)
    by_weight = moments(fit(rows, 2.0, certainty=times.astype(float)), offset, 2.0 * asked @ rows.T, own)
    by_rows = moments(fit(repeated, 2.0), offset, 2.0 * asked @ repeated.T, own)
    assert by_weight[0] == pytest.approx(by_rows[0], abs=1e-8)
    assert by_weight[1] == pytest.approx(by_rows[1], abs=1e-8)


def test_one_choice_said_many_times_grows_ever_surer_and_slower() -> None:
    utilities = [float(find_mode(np.full((n, n), 4.0), np.zeros(n)).f[0]) for n in (1, 5, 20, 100, 400)]
    assert np.diff(utilities).min() > 0
    assert utilities[-1] < 7.0  # e^7 > 400·4: the prior still holds


def test_no_choice_leaves_the_prior_as_it_was() -> None:
    mode = find_mode(np.zeros((0, 0)), np.zeros(0))
    mean, variance = moments(mode, np.array([0.3, -1.0]), np.zeros((2, 0)), np.array([4.0, 1.0]))
    assert mean.tolist() == [0.3, -1.0]
    assert variance.tolist() == [4.0, 1.0]
    assert [len(part) for part in leave_out(mode, [])] == [0, 0]


def test_one_choice_left_out_leaves_the_prior() -> None:
    mode = find_mode(np.array([[4.0]]), np.array([0.7]), tolerance=1e-13)
    mean, variance = leave_out(mode, [0])
    assert mean == pytest.approx([0.7], abs=1e-6)
    assert variance == pytest.approx([4.0], rel=1e-6)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_large_kernels_do_not_diverge(size: float) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 5))
    for offset in (np.zeros(60), rng.normal(size=60) * 100):
        mode = find_mode(size * rows @ rows.T, offset)
        assert np.abs(mode.gradient - mode.alpha).max() < 1e-6  # the condition for the mode, in the dual


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.floats(-6, 10), st.floats(0, 6), st.booleans())
def test_whatever_the_problem_every_number_is_finite(
    seed: int, n: int, size: float, far: float, duplicated: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.ones((n, 3)) if duplicated else rng.normal(size=(n, 3))
    offset = rng.normal(size=n) * 10**far
    kernel = 10**size * rows @ rows.T
    mode = find_mode(kernel, offset, rng.uniform(1e-3, 4, n))
    seen = moments(mode, offset, kernel, np.diag(kernel))
    for mean, variance in (seen, leave_out(mode, range(n)), leave_out(mode, [i // 2 for i in range(n)])):
        assert np.isfinite(mean).all()
        assert np.isfinite(variance).all()
        assert (variance >= 0).all()
        p = predictive(mean, variance)
        assert ((p >= 0) & (p <= 1)).all()


# Moments


def test_moments_are_the_gaussian_at_the_mode_in_the_space_of_weights() -> None:
    """The dual form equals the textbook one: covariance (I/τ² + Σ c σ(1−σ) δδᵀ)⁻¹."""
    rng = np.random.default_rng(2)
    rows, certainty, variance = chosen(rng, 15, 6), rng.uniform(0.3, 1, 15), 3.0
    mean = rng.normal(size=6)
    mode = fit(rows, variance, rows @ mean, certainty)
    weights = mean + variance * rows.T @ mode.alpha
    p = sigmoid(rows @ weights)
    covariance = np.linalg.inv(np.eye(6) / variance + (rows.T * (certainty * p * (1 - p))) @ rows)
    asked = rng.normal(size=(8, 6))
    got = moments(mode, asked @ mean, variance * asked @ rows.T, variance * (asked**2).sum(1))
    assert got[0] == pytest.approx(asked @ weights, abs=1e-7)
    assert got[1] == pytest.approx(np.einsum("td,de,te->t", asked, covariance, asked), rel=1e-7)


@pytest.mark.parametrize(("variance", "off", "ratio", "p_off"), [(1.0, 0.2, 0.87, 0.02), (4.0, 0.5, 0.75, 0.06)])
def test_moments_are_close_to_the_true_posterior(variance: float, off: float, ratio: float, p_off: float) -> None:
    """Importance sampling from the prior: means within a fraction of a deviation, variances a little too small."""
    rng = np.random.default_rng(4)
    for n in (5, 20):
        rows, asked = chosen(rng, n, 3), rng.normal(size=(6, 3)) / np.sqrt(3)
        own = variance * (asked**2).sum(1)
        mean, spread = moments(fit(rows, variance), np.zeros(6), variance * asked @ rows.T, own)
        drawn = rng.normal(size=(100_000, 3)) * np.sqrt(variance)
        weight = np.exp(log_sigmoid(drawn @ rows.T).sum(1))
        weight /= weight.sum()
        utilities = drawn @ asked.T
        true_mean = weight @ utilities
        true_variance = weight @ utilities**2 - true_mean**2
        assert (np.abs(mean - true_mean) / np.sqrt(true_variance)).max() < off
        assert (spread / true_variance).min() > ratio
        assert (spread / true_variance).max() < 1.05
        assert np.abs(predictive(mean, spread) - weight @ sigmoid(utilities)).max() < p_off


def test_choices_only_ever_take_variance_away() -> None:
    rng = np.random.default_rng(6)
    rows, asked = chosen(rng, 30, 4), rng.normal(size=(10, 4))
    own = 4.0 * (asked**2).sum(1)
    before = own
    for n in (5, 15, 30):
        _, variance = moments(fit(rows[:n], 4.0), np.zeros(10), 4.0 * asked @ rows[:n].T, own)
        assert (variance <= own).all()
        assert variance.mean() < before.mean()
        before = variance


# Leaving out


#: By prior variance: how far the utility and the probability of a choice left out may be from a true refit. Measured
#: over 30 problems: utilities at most .009, .08 and .54 off, probabilities .001, .005 and .012 (alone), .003, .013
#: and .036 (three together).
REFITS = [(1.0, 0.02, 0.005), (4.0, 0.2, 0.025), (12.0, 1.0, 0.06)]


@pytest.mark.parametrize("together", [1, 3, 5])
@pytest.mark.parametrize(("variance", "off", "p_off"), REFITS)
def test_leaving_out_is_close_to_refitting(together: int, variance: float, off: float, p_off: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        rows = chosen(rng, 24, 12, strength=2.0)
        offset = 0.3 * rng.normal(size=24)
        groups = [int(g) for g in rng.permutation([i // together for i in range(24)])]
        mean, variances = leave_out(fit(rows, variance, offset), groups)
        p = predictive(mean, variances)
        for group in set(groups):
            out = np.array([g == group for g in groups])
            mode = fit(rows[~out], variance, offset[~out])
            cross, own = variance * rows[out] @ rows[~out].T, variance * (rows[out] ** 2).sum(1)
            true = moments(mode, offset[out], cross, own)
            assert np.abs(mean[out] - true[0]).max() < off
            assert variances[out] == pytest.approx(true[1], rel=0.4)
            assert np.abs(p[out] - predictive(*true)).max() < p_off


def test_leaving_out_keeps_the_held_out_score_of_refitting() -> None:
    """What verification reads: the mean log probability, within .01 nats a choice (measured: .0005 to .005)."""
    rng = np.random.default_rng(8)
    ours, true = [], []
    for _ in range(10):
        rows = chosen(rng, 30, 12, strength=3.0)
        mean, variance = leave_out(fit(rows, 6.0), range(30))
        ours += np.log(predictive(mean, variance)).tolist()
        for i in range(30):
            rest = np.delete(rows, i, axis=0)
            one = moments(fit(rest, 6.0), np.zeros(1), 6.0 * rows[[i]] @ rest.T, 6.0 * (rows[[i]] ** 2).sum(1))
            true.append(float(np.log(predictive(*one))[0]))
    assert np.mean(ours) == pytest.approx(np.mean(true), abs=0.01)


def test_a_group_of_its_own_for_every_choice_is_the_loop_in_one_step() -> None:
    rows = chosen(np.random.default_rng(9), 12, 5)
    mode = fit(rows, 3.0)
    at_once = leave_out(mode, range(12))
    # A thirteenth choice that knows nothing of the others, grouped with the first, makes the function take its loop.
    padded = np.vstack([np.hstack([rows, np.zeros((12, 1))]), [[0, 0, 0, 0, 0, 1.0]]])
    looped = leave_out(fit(padded, 3.0), [*range(12), 0])
    assert looped[0][:12] == pytest.approx(at_once[0], abs=1e-8)
    assert looped[1][:12] == pytest.approx(at_once[1], abs=1e-8)


def test_the_same_choice_twice_tells_of_the_other_unless_both_are_left_out() -> None:
    rng = np.random.default_rng(10)
    row = rng.normal(size=(1, 6))
    rows = np.vstack([row, row, chosen(rng, 10, 6)])
    mode = fit(rows, 4.0)
    alone, _ = leave_out(mode, range(12))
    together, _ = leave_out(mode, [0, 0, *range(1, 11)])
    assert alone[0] > together[0]  # the twin is seen, and says yes
    assert together[0] == pytest.approx(together[1])
