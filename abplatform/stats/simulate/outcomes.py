"""Running a procedure over many repetitions, and what its users would have met, with Monte Carlo errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from abplatform.stats.simulate.procedures import Procedure, Signs, Verdicts
from abplatform.stats.simulate.trials import Trial
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, instance_of


@dataclass(frozen=True, slots=True)
class Measured:
    """A simulated share or mean and its Monte Carlo standard error; NaN where nothing was there to measure."""

    value: float
    error: float


def share_of_runs(hits: BoolArray) -> Measured:
    """Measure a share. Its error adds two hits and two misses (Agresti and Coull, 1998), so that none and all have one.

    >>> measured = share_of_runs(np.array([True] * 5 + [False] * 91))
    >>> round(measured.value, 4), round(measured.error, 4)
    (0.0521, 0.0255)
    """
    total, count = hits.size, int(hits.sum())
    if not total:
        return Measured(np.nan, np.nan)
    rate = (count + 2) / (total + 4)
    return Measured(count / total, float(np.sqrt(rate * (1 - rate) / (total + 4))))


def mean_of_runs(values: FloatArray | IntArray) -> Measured:
    """Measure a mean; no error with a single value.

    >>> mean_of_runs(np.array([1.0, 3.0]))
    Measured(value=2.0, error=1.0)
    """
    if not values.size:
        return Measured(np.nan, np.nan)
    error = np.std(values, ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return Measured(float(np.mean(values)), float(error))


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Where each repetition stopped: at its first verdict, else at the last look.

    Attributes:
        trial: what was repeated.
        look: index of the look at which it stopped.
        sign: its verdict there: 1 better, -1 worse, 0 none.
        estimate, lower, upper: absolute effect and interval there.
    """

    trial: Trial
    look: IntArray
    sign: Signs
    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray

    @property
    def decided(self) -> Measured:
        """Share with a verdict; without an effect these are the false alarms."""
        return share_of_runs(self.sign != 0)

    @property
    def right(self) -> Measured:
        """Share with a verdict in the direction of the true effect: the power."""
        return share_of_runs((self.sign != 0) & (self.sign == np.sign(self.trial.effect)))

    @property
    def wrong_sign(self) -> Measured:
        """Share with a verdict against the direction of the true effect."""
        return share_of_runs((self.sign != 0) & (self.sign == -np.sign(self.trial.effect)))

    @property
    def better(self) -> Measured:
        """Share that called the treatment better."""
        return share_of_runs(self.sign > 0)

    @property
    def worse(self) -> Measured:
        """Share that called the treatment worse."""
        return share_of_runs(self.sign < 0)

    @property
    def units(self) -> Measured:
        """Mean units of both arms at stopping."""
        return mean_of_runs(self.trial.schedule[self.look])

    @property
    def coverage(self) -> Measured:
        """Share whose interval at stopping holds the true effect; one without bounds excludes nothing."""
        missed = (self.lower > self.trial.effect) | (self.upper < self.trial.effect)
        return share_of_runs(~missed)

    @property
    def mean_estimate(self) -> Measured:
        """Mean estimate at stopping."""
        return mean_of_runs(self.estimate[np.isfinite(self.estimate)])

    @property
    def mean_winning_estimate(self) -> Measured:
        """Mean estimate of those decided in the effect's direction (better, without one): the winner's curse."""
        winning = self.sign == (1 if self.trial.effect >= 0 else -1)
        return mean_of_runs(self.estimate[winning])

    @property
    def decided_by_look(self) -> FloatArray:
        """Share with a verdict at each look or before."""
        first = np.bincount(self.look[self.sign != 0], minlength=self.trial.schedule.size)
        return np.asarray(np.cumsum(first) / self.sign.size)


def _no_report(_done: int) -> None:
    """Report to nobody."""


def simulate(
    trial: Trial,
    procedure: Procedure,
    *,
    repetitions: int,
    rng: np.random.Generator,
    report: Callable[[int], None] = _no_report,
) -> Outcomes:
    """Repeat a trial, stop each repetition at its first verdict, and keep what was seen there.

    Memory does not grow with the looks: blocks of repetitions are drawn and judged one after another.

    Args:
        trial: what to repeat.
        procedure: how to watch it.
        repetitions: how often, at least 1.
        rng: source of all randomness; equal states give equal outcomes.
        report: called after each block with the number of repetitions done so far.

    Raises:
        ValueError: naming ``repetitions`` where it is below 1, or ``rng``.

    >>> from abplatform.stats.simulate import Bernoulli, Sequential, Trial, equally_spaced
    >>> rate = Bernoulli(0.2)
    >>> trial = Trial(rate, rate.lifted(0.1), equally_spaced(30_000, 10))
    >>> outcomes = simulate(trial, Sequential(30_000), repetitions=400, rng=np.random.default_rng(1))
    >>> outcomes.right.value > 0.8, outcomes.wrong_sign.value, outcomes.coverage.value > 0.95
    (True, 0.0, True)
    """
    if repetitions < 1:
        raise ValueError("repetitions must be at least 1")
    instance_of("rng", rng, np.random.Generator, "np.random.default_rng(1)")
    parts: list[Outcomes] = []
    for begin in range(0, repetitions, trial.block):
        end = min(begin + trial.block, repetitions)
        parts.append(_stopped(trial, procedure(trial.draw(end - begin, rng))))
        report(end)
    return _joined(trial, parts)


def _stopped(trial: Trial, verdicts: Verdicts) -> Outcomes:
    said = verdicts.sign != 0
    look = np.where(said.any(axis=-1), said.argmax(axis=-1), said.shape[-1] - 1)
    at = np.arange(look.size), look
    return Outcomes(trial, look, verdicts.sign[at], verdicts.estimate[at], verdicts.lower[at], verdicts.upper[at])


def _joined(trial: Trial, parts: list[Outcomes]) -> Outcomes:
    def whole(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Outcomes(trial, *(whole(name) for name in ("look", "sign", "estimate", "lower", "upper")))  # type: ignore[arg-type]
