"""What is asked of a simulated figure, what was measured, and whether the one holds for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abplatform.stats.simulate import Measured


@dataclass(frozen=True, slots=True)
class Claim:
    """Bounds of a figure.

    Attributes:
        text: as the page says it.
        low, high: the figure has to lie between them.
        errors: Monte Carlo standard errors by which it may lie outside: 0 where the claim leaves room of its own, 4
            where the truth is expected to be on the bound itself.
    """

    text: str
    low: float = -float("inf")
    high: float = float("inf")
    errors: float = 0.0

    def holds(self, measured: Measured, *, errors: float | None = None) -> bool:
        """Whether a figure is where it should be, give or take a number of standard errors."""
        slack = (self.errors if errors is None else errors) * measured.error
        return self.low - slack <= measured.value <= self.high + slack


def at_most(high: float) -> Claim:
    """A rate that must not be higher."""
    return Claim(f"at most {high:g}", high=high)


def at_least(low: float) -> Claim:
    """A rate that must not be lower."""
    return Claim(f"at least {low:g}", low=low)


def between(low: float, high: float) -> Claim:
    """A figure in a band that leaves room for the method's own error."""
    return Claim(f"{low:g} to {high:g}", low, high)


def near(value: float, tolerance: float = 0.0) -> Claim:
    """A known figure: its printed value, rounding included, within 4 standard errors."""
    return Claim(f"{value:g} within error", value - tolerance, value + tolerance, errors=4.0)


REPORTED = Claim("reported")
"""Nothing is promised; the figure is shown."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page.

    Attributes:
        what: was simulated.
        claim: what is asked.
        measured: what came out.
        repetitions: 1 where nothing is random.
        seed: all that went into ``np.random.default_rng``; empty where nothing is random.
    """

    what: str
    claim: Claim
    measured: Measured
    repetitions: int
    seed: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether the claim holds in a full run."""
        return self.claim.holds(self.measured)


@dataclass(frozen=True, slots=True)
class Check:
    """A simulation that gives one or more rows.

    Attributes:
        run: takes repetitions and a seed.
        repetitions: of the full run.
        short: of the run in the suite.
        seed: of the full run. Rows with streams of their own add their position to it.
    """

    run: Callable[[int, int], Sequence[Row]]
    repetitions: int
    short: int
    seed: int

    @property
    def name(self) -> str:
        """The function's name in words."""
        return self.run.__name__.replace("_", " ")

    def full(self) -> list[Row]:
        """Rows of the full run."""
        return list(self.run(self.repetitions, self.seed))


@dataclass(frozen=True, slots=True)
class Section:
    """Checks of one subject, with what a reader should know about how they were done."""

    title: str
    note: str
    checks: tuple[Check, ...]
