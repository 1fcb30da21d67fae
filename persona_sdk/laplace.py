"""Gaussian beliefs about utilities, updated by choices: the Laplace approximation in its dual form.

A person's weights are w ~ N(m, S) before any choice. A choice of answer a over b, with feature difference
δ = φ(a) − φ(b), has likelihood σ(w·δ). Of n choices only the n numbers f_i = w·δ_i matter, with prior mean δ_i·m and
prior covariance K_ij = δ_i·S·δ_j, however many features there are; so everything here is n × n. The mode is found by
Newton's method as in Rasmussen & Williams, *Gaussian Processes for Machine Learning* (2006), algorithm 3.1, with a
certainty c_i in front of each choice's log likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Mode", "find_mode", "leave_out", "log_sigmoid", "moments", "predictive", "sigmoid"]

Array: TypeAlias = npt.NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^−x), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def log_sigmoid(x: Array) -> Array:
    """Return log σ(x), without overflow."""
    return -np.logaddexp(0.0, -x)


def predictive(mean: Array, variance: Array) -> Array:
    """Return E[σ(f)] for f ~ N(mean, variance), by MacKay's (1992) approximation."""
    return sigmoid(mean / np.sqrt(1.0 + np.pi / 8.0 * np.maximum(variance, 0.0)))


@dataclass(frozen=True, slots=True)
class Mode:
    """The posterior of n latent utilities differences: f is its mode, S δᵀ `alpha` what the choices add to the mean.

    `root` is the square root of the likelihood's curvature W, `inner` is B = I + W^½ K W^½, `gradient` is dlog p / df.
    """

    f: Array
    alpha: Array
    root: Array
    inner: Array
    gradient: Array


def find_mode(
    kernel: Array, offset: Array, certainty: Array | None = None, *, iterations: int = 40, tolerance: float = 1e-7
) -> Mode:
    """Find the posterior mode given K (n × n), prior means (n) and certainties (n, default 1); every choice is "+".

    Stops when a step gains less than `tolerance` nats.
    """
    n = len(offset)
    c = np.ones(n) if certainty is None else certainty
    eye = np.eye(n)
    alpha, change = np.zeros(n), np.zeros(n)  # change = K alpha = f − offset
    objective = float(c @ log_sigmoid(offset))
    for _ in range(iterations):
        gradient, root = _curvature(offset + change, c)
        inner = eye + root[:, None] * kernel * root
        b = root * root * change + gradient
        step = b - root * np.linalg.solve(inner, root * (kernel @ b)) - alpha
        kernel_step, scale = kernel @ step, 1.0
        for _ in range(12):  # halve until it is uphill: far from the mode a full Newton step may overshoot
            tried, changed = alpha + scale * step, change + scale * kernel_step
            value = float(-0.5 * tried @ changed + c @ log_sigmoid(offset + changed))
            if value >= objective - 1e-9:
                break
            scale *= 0.5
        gain, alpha, change, objective = value - objective, tried, changed, value
        if gain < tolerance:
            break
    gradient, root = _curvature(offset + change, c)
    return Mode(offset + change, alpha, root, eye + root[:, None] * kernel * root, gradient)


def _curvature(f: Array, c: Array) -> tuple[Array, Array]:
    p = sigmoid(f)
    return c * (1.0 - p), np.sqrt(c * p * (1.0 - p) + 1e-12)


def moments(mode: Mode, offset: Array, cross: Array, own: Array) -> tuple[Array, Array]:
    """Posterior means and variances of t other utilities.

    `offset` (t) are their prior means, `cross` (t × n) their prior covariances with the n choices, `own` (t) their
    prior variances.
    """
    spread = mode.root * cross
    explained = np.einsum("tn,tn->t", spread, np.linalg.solve(mode.inner, spread.T).T)
    return offset + cross @ mode.alpha, np.maximum(own - explained, 0.0)


def leave_out(mode: Mode, groups: Sequence[int]) -> tuple[Array, Array]:
    """Means and variances of each latent with all choices of its own group left out, without refitting.

    At the mode the posterior is that of Gaussian pseudo-observations z = f + W⁻¹ ∇log p with noise W⁻¹, so the exact
    leave-out formulas for Gaussian processes apply (Vehtari et al. 2016, "Bayesian leave-one-out cross-validation
    approximations for Gaussian latent variable models"). With C = (K + W⁻¹)⁻¹ and g a group, the mean is
    z_g − C_gg⁻¹ α_g and the covariance C_gg⁻¹ − W_g⁻¹. A group of its own for every choice gives leave-one-out.
    """
    precision = mode.root[:, None] * np.linalg.inv(mode.inner) * mode.root
    noise = 1.0 / mode.root**2
    mean, variance = mode.f + mode.gradient * noise, np.zeros(len(mode.f))
    membership: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        membership.setdefault(group, []).append(i)
    alone = [members[0] for members in membership.values() if len(members) == 1]  # all at once
    variance[alone] = 1.0 / precision[alone, alone]
    mean[alone] -= variance[alone] * mode.alpha[alone]
    for members in membership.values():
        if len(members) > 1:
            covariance = np.linalg.inv(precision[np.ix_(members, members)])
            mean[members] -= covariance @ mode.alpha[members]
            variance[members] = np.diag(covariance)
    return mean, np.maximum(variance - noise, 0.0)
