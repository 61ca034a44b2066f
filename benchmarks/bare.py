"""The formulas of a scorecard in bare numpy, on clean input: no checks, no reasons, no odd cells. The floor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.scorecards import Inputs

Array = NDArray[np.float64]
LOG_LEVEL = np.log(0.05)


def _moments(inputs: Inputs) -> tuple[Array, Array, Array, Array]:
    """Difference, its variance, the control's variance, units of both arms."""
    first = inputs.treatment_m2 / (inputs.treatment_n - 1) / inputs.treatment_n
    second = inputs.control_m2 / (inputs.control_n - 1) / inputs.control_n
    return (
        inputs.treatment_mean - inputs.control_mean,
        first + second,
        second,
        (inputs.treatment_n + inputs.control_n).astype(np.float64),
    )


def _fieller(delta: Array, control: Array, variance: Array, control_variance: Array, z2: Any) -> tuple[Array, Array]:
    a = control * control - z2 * control_variance
    b = delta * control + z2 * control_variance
    c = delta * delta - z2 * variance
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def sequential(inputs: Inputs, alpha: float, rho2: float) -> tuple[Array, ...]:
    """Confidence sequence, always-valid p-value, relative lift with Fieller's interval."""
    delta, variance, control_variance, n = _moments(inputs)
    error = np.sqrt(variance)
    u = n * rho2 + 1
    z2 = u / (n * rho2) * np.log(u / alpha**2)
    half = np.sqrt(z2) * error
    p_value = np.minimum(1.0, np.sqrt(u) * np.exp(-((delta / error) ** 2) * n * rho2 / (2 * u)))
    lift = _fieller(delta, inputs.control_mean, variance, control_variance, z2)
    return delta - half, delta + half, p_value, delta / inputs.control_mean, *lift


def welch(inputs: Inputs, alpha: float) -> tuple[Array, ...]:
    """Welch's t test with its interval, relative lift with Fieller's interval."""
    delta, variance, control_variance, _ = _moments(inputs)
    error = np.sqrt(variance)
    own = variance - control_variance
    freedom = variance**2 / (own**2 / (inputs.treatment_n - 1) + control_variance**2 / (inputs.control_n - 1))
    z = special.stdtrit(freedom, 1 - alpha / 2)
    p_value = 2 * special.stdtr(freedom, -np.abs(delta / error))
    lift = _fieller(delta, inputs.control_mean, variance, control_variance, z * z)
    return delta - z * error, delta + z * error, p_value, delta / inputs.control_mean, *lift


def normal_bayes(inputs: Inputs, alpha: float, scale: float) -> tuple[Array, ...]:
    """Posterior of the effect under normal(0, scale^2): interval, chance to win, expected loss, relative interval."""
    delta, variance, control_variance, _ = _moments(inputs)
    weight = 1 / (1 + variance / scale**2)
    effect, posterior = weight * delta, weight * variance
    sd = np.sqrt(posterior)
    z = -special.ndtri(alpha / 2)
    advantage = effect / sd
    loss = sd * (np.exp(-(advantage**2) / 2) / np.sqrt(2 * np.pi) - advantage * special.ndtr(-advantage))
    slope = -control_variance / variance
    bottom = inputs.control_mean + slope * (effect - delta)
    bottom_variance = control_variance * (variance - control_variance) / variance + slope**2 * posterior
    a = bottom * bottom - z * z * bottom_variance
    b = effect * bottom - z * z * slope * posterior
    c = effect * effect - z * z * posterior
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    interval = effect - z * sd, effect + z * sd
    return *interval, special.ndtr(advantage), loss, effect / bottom, (b - root) / a, (b + root) / a


def guard(inputs: Inputs) -> NDArray[np.bool_]:
    """Whether both arms have 500 units and 100 that are not 0."""
    enough = (inputs.treatment_n >= 500) & (inputs.treatment_nonzero >= 100)
    return enough & (inputs.control_n >= 500) & (inputs.control_nonzero >= 100)
