"""The formulas of a scorecard in bare numpy, on clean input: no checks, no reasons, no odd cells. The floor.

Moments are worked out once; a scorecard asks for several levels of each comparison.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.scorecards import Inputs

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What all methods begin with: difference, its variance, the control's mean and variance, units of both arms."""

    delta: Array
    variance: Array
    control: Array
    control_variance: Array
    n: Array


def moments(inputs: Inputs) -> Moments:
    """Reduce the inputs."""
    first = inputs.treatment_m2 / (inputs.treatment_n - 1) / inputs.treatment_n
    second = inputs.control_m2 / (inputs.control_n - 1) / inputs.control_n
    return Moments(
        delta=inputs.treatment_mean - inputs.control_mean,
        variance=first + second,
        control=inputs.control_mean,
        control_variance=second,
        n=(inputs.treatment_n + inputs.control_n).astype(np.float64),
    )


def _fieller(found: Moments, z2: Array) -> tuple[Array, Array]:
    a = found.control * found.control - z2 * found.control_variance
    b = found.delta * found.control + z2 * found.control_variance
    c = found.delta * found.delta - z2 * found.variance
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def sequential(inputs: Inputs, levels: Iterable[tuple[float, float]]) -> list[tuple[Array, ...]]:
    """Confidence sequence, always-valid p-value, relative lift with Fieller's interval, per level and its rho^2."""
    found = moments(inputs)
    error, lift = np.sqrt(found.variance), found.delta / found.control
    z_squared = np.square(found.delta) / found.variance
    answers: list[tuple[Array, ...]] = []
    for alpha, rho2 in levels:
        u = found.n * rho2 + 1
        z2 = u / (found.n * rho2) * np.log(u / alpha**2)
        half = np.sqrt(z2) * error
        p_value = np.minimum(1.0, np.sqrt(u) * np.exp(-z_squared * found.n * rho2 / (2 * u)))
        answers.append((found.delta - half, found.delta + half, p_value, lift, *_fieller(found, z2)))
    return answers


def welch(inputs: Inputs, levels: Iterable[float]) -> list[tuple[Array, ...]]:
    """Welch's t test with its interval, relative lift with Fieller's interval, per level."""
    found = moments(inputs)
    error, lift = np.sqrt(found.variance), found.delta / found.control
    own = found.variance - found.control_variance
    spread = own**2 / (inputs.treatment_n - 1) + found.control_variance**2 / (inputs.control_n - 1)
    freedom = found.variance**2 / spread
    p_value = 2 * special.stdtr(freedom, -np.abs(found.delta / error))
    answers: list[tuple[Array, ...]] = []
    for alpha in levels:
        z = special.stdtrit(freedom, 1 - alpha / 2)
        half = z * error
        answers.append(
            (
                found.delta - half,
                found.delta + half,
                p_value,
                lift,
                *_fieller(found, np.square(np.asarray(z, dtype=np.float64))),
            )
        )
    return answers


def normal_bayes(inputs: Inputs, levels: Iterable[float], scale: float) -> list[tuple[Array, ...]]:
    """Posterior of the effect under normal(0, scale^2): chance to win, expected loss, and both intervals per level."""
    found = moments(inputs)
    weight = 1 / (1 + found.variance / scale**2)
    effect, variance = weight * found.delta, weight * found.variance
    sd = np.sqrt(variance)
    advantage = effect / sd
    win = special.ndtr(advantage)
    loss = sd * (np.exp(-(advantage**2) / 2) / np.sqrt(2 * np.pi) - advantage * special.ndtr(-advantage))
    slope = -found.control_variance / found.variance
    bottom = found.control + slope * (effect - found.delta)
    bottom_variance = found.control_variance * (found.variance - found.control_variance) / found.variance
    bottom_variance = bottom_variance + slope**2 * variance
    answers: list[tuple[Array, ...]] = []
    for alpha in levels:
        z = -special.ndtri(alpha / 2)
        a = bottom * bottom - z * z * bottom_variance
        b = effect * bottom - z * z * slope * variance
        c = effect * effect - z * z * variance
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        interval = effect - z * sd, effect + z * sd
        answers.append((*interval, win, loss, effect / bottom, (b - root) / a, (b + root) / a))
    return answers


def guard(inputs: Inputs) -> NDArray[np.bool_]:
    """Whether both arms have 500 units and 100 that are not 0."""
    enough = (inputs.treatment_n >= 500) & (inputs.treatment_nonzero >= 100)
    return enough & (inputs.control_n >= 500) & (inputs.control_nonzero >= 100)
