"""Ways to watch an experiment: what each would say at every look, by the engine's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from abplatform.stats import bayes, fixed, sequential
from abplatform.stats.effects import difference
from abplatform.stats.group_sequential import OBRIEN_FLEMING, Spending, efficacy_bounds
from abplatform.stats.reference import critical_statistic, welch_freedom
from abplatform.stats.results import Comparison
from abplatform.stats.simulate.trials import Looks
from abplatform.stats.validation import BoolArray, FloatArray, positive, probability

Signs = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What a procedure says at every look: 1 better, -1 worse, 0 nothing yet; and with which numbers."""

    sign: Signs
    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray


class Procedure(Protocol):
    """Judges every look of every repetition."""

    def __call__(self, looks: Looks) -> Verdicts: ...


@dataclass(frozen=True, slots=True)
class Sequential:
    """The asymptotic confidence sequence, with its guard unless that is switched off."""

    planned_units: int
    alpha: float = 0.05
    guard: bool = True

    def __call__(self, looks: Looks) -> Verdicts:
        """Judge by ``sequential.compare`` and ``sequential.efficacy_guard``."""
        result = sequential.compare(
            looks.treatment.stats, looks.control.stats, planned_units=self.planned_units, alpha=self.alpha
        )
        rejects = result.p_value < self.alpha
        return _verdicts(result, rejects & guard_passed(looks) if self.guard else rejects)


@dataclass(frozen=True, slots=True)
class GroupSequential:
    """Bounds that spend alpha by the share of the planned units at each look; intervals are repeated ones."""

    planned_units: int
    alpha: float = 0.05
    spending: Spending = OBRIEN_FLEMING

    def __call__(self, looks: Looks) -> Verdicts:
        """Judge by ``group_sequential.efficacy_bounds``, as ``group_sequential.compare`` would at every look."""
        arms = looks.treatment.stats, looks.control.stats
        diff = difference(*arms)
        # Every repetition looks at the same units.
        fractions = tuple((diff.units[0] / self.planned_units).tolist())
        critical = _bounds(fractions, self.alpha, self.spending)
        half = critical_statistic(critical, welch_freedom(diff, *arms, np.ones(()))) * diff.standard_error
        sign = np.where(np.abs(diff.estimate) > half, np.sign(diff.estimate), 0)
        return Verdicts(sign.astype(np.int8), diff.estimate, diff.estimate - half, diff.estimate + half)


@dataclass(frozen=True, slots=True)
class Fixed:
    """The fixed test, read once: at the last look."""

    alpha: float = 0.05

    def __call__(self, looks: Looks) -> Verdicts:
        """Judge the last look by ``fixed.compare``."""
        result = fixed.compare(looks.treatment.stats, looks.control.stats, alpha=self.alpha)
        rejects = result.p_value < self.alpha
        rejects[..., :-1] = False
        return _verdicts(result, rejects)


@dataclass(frozen=True, slots=True)
class NaivePeeking:
    """The fixed test, read at every look and believed: a demonstration of what goes wrong."""

    alpha: float = 0.05

    def __call__(self, looks: Looks) -> Verdicts:
        """Judge every look by ``fixed.compare``."""
        result = fixed.compare(looks.treatment.stats, looks.control.stats, alpha=self.alpha)
        return _verdicts(result, result.p_value < self.alpha)


@dataclass(frozen=True, slots=True)
class Bayesian:
    """Normal-normal: stop when winning, or losing, is likely enough.

    Args:
        prior_scale: standard deviation of the prior of the absolute effect; a very large one is flat.
        chance: stop at this chance to win, or at this chance to lose; above 0.5.
        loss_threshold: if given, "better" is said as in a plan instead: when winning is likelier than losing and the
            expected loss is below this share of the magnitude of the control mean.
        alpha: credible intervals have probability ``1 - alpha``.

    Raises:
        ValueError: naming the parameter that does not fit.
    """

    prior_scale: float
    chance: float = 0.95
    loss_threshold: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        positive("prior_scale", self.prior_scale)
        if not 0.5 < self.chance < 1:
            raise ValueError("chance must lie strictly between 0.5 and 1")
        if self.loss_threshold is not None:
            positive("loss_threshold", self.loss_threshold)
        probability("alpha", self.alpha)

    def __call__(self, looks: Looks) -> Verdicts:
        """Judge by ``bayes.compare``."""
        control = looks.control.stats
        result = bayes.compare(looks.treatment.stats, control, prior_scale=self.prior_scale, alpha=self.alpha)
        wins = result.chance_to_win > self.chance
        if self.loss_threshold is not None:
            small = result.expected_loss < self.loss_threshold * np.abs(control.estimate)
            wins = small & (result.chance_to_win > 0.5)
        return _verdicts(result, wins, result.chance_to_win < 1 - self.chance)


@lru_cache(maxsize=8)
def _bounds(fractions: tuple[float, ...], alpha: float, spending: Spending) -> FloatArray:
    """Critical values by look, once for all blocks of repetitions."""
    return efficacy_bounds(fractions, alpha=alpha, spending=spending).critical


def guard_passed(looks: Looks) -> BoolArray:
    """True where ``sequential.efficacy_guard`` lets an asymptotic sequence speak."""
    arms = looks.treatment, looks.control
    units = np.stack([arm.stats.n for arm in arms], axis=-1)
    blocks = sequential.efficacy_guard(units, np.stack([arm.nonzero for arm in arms], axis=-1))
    return np.asarray(blocks == None)  # noqa: E711 - element by element


def _verdicts(result: Comparison, better: BoolArray, worse: BoolArray | None = None) -> Verdicts:
    """Give signs; without ``worse`` the first mask says that there is an effect, and the estimate says which."""
    effect = result.absolute
    sign = better * np.sign(np.nan_to_num(effect.estimate)) if worse is None else better * 1 - worse * 1
    return Verdicts(sign.astype(np.int8), effect.estimate, effect.lower, effect.upper)
