"""Priors: what is believed before the data. All are proper, so that a posterior exists whatever the data."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from abplatform.stats.validation import FloatArray, finite_values, positive, same_grid

_LARGEST_SCALE = 1e150


@dataclass(frozen=True, slots=True, eq=False)
class BetaPrior:
    """Prior of each rate, beta(successes, failures); the default is uniform, both 0.5 is Jeffreys'.

    Raises:
        ValueError: naming the parameter that is below 0.5; such priors pile up at 0 and 1 beyond the
            reach of the quadrature.
    """

    successes: FloatArray
    failures: FloatArray

    def __init__(self, successes: ArrayLike = 1.0, failures: ArrayLike = 1.0) -> None:
        for name, values in (("successes", successes), ("failures", failures)):
            given = finite_values(name, values)
            if (given < 0.5).any():
                raise ValueError(f"{name} must be at least 0.5")
            object.__setattr__(self, name, given)
        same_grid(successes=self.successes, failures=self.failures)


@dataclass(frozen=True, slots=True, eq=False)
class NormalPrior:
    """Prior of an effect, normal(mean, scale^2); in a ranking, of each variant's mean.

    Args:
        mean: expected effect, finite; positive where the treatment is expected to have more. Scalar or one per cell.
        scale: standard deviation, above 0.
        relative: whether both speak of the relative lift (0.05 is 5% of the control's magnitude) instead of the
            absolute difference in the metric's units.

    Raises:
        ValueError: naming the parameter that is not finite, or a ``scale`` that is not above 0 or has no square.
    """

    mean: FloatArray
    scale: FloatArray
    relative: bool

    def __init__(self, mean: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, relative: bool = False) -> None:
        object.__setattr__(self, "mean", finite_values("mean", mean))
        object.__setattr__(self, "scale", positive("scale", scale))
        object.__setattr__(self, "relative", relative)
        same_grid(mean=self.mean, scale=self.scale)
        if ((self.scale < 1 / _LARGEST_SCALE) | (self.scale > _LARGEST_SCALE)).any():
            raise ValueError(f"scale must lie between {1 / _LARGEST_SCALE:g} and {_LARGEST_SCALE:g}, to have a square")
