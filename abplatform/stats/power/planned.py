"""What planning asks of a test."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import Evidence
from abplatform.stats.validation import FloatArray


@runtime_checkable
class PlannedTest(Protocol):
    """How a plan will decide; every method of the engine has one."""

    @property
    def method(self) -> str: ...

    @property
    def alpha(self) -> float:
        """Error rate, which planned power has to exceed; 0 where none is promised."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it needs no normal approximation, so that few events are no reason for caution."""
        ...

    @property
    def assumptions(self) -> tuple[str, ...]: ...

    def power(self, evidence: Evidence) -> FloatArray:
        """Return the probability of the claim, in the right direction, by the planned size."""
        ...

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """Return the share of the planned units after which the test stops on average."""
        ...

    def least_units(self, baseline: Baseline) -> FloatArray:
        """Return the units of an arm below which the test gives no verdict."""
        ...

    def at_level(self, alpha: float) -> Self:
        """Return the same test at another error rate."""
        ...

    def at_last_look(self) -> PlannedTest:
        """Return the same test with power for the claim at the planned size itself, whatever earlier looks said.

        A decision needs the verdicts of several tests at one look; one that was given earlier may be gone by then.
        """
        ...


def check_test(test: object) -> None:
    """Refuse what is no test.

    Raises:
        ValueError: naming ``test``.

    >>> check_test("fixed")
    Traceback (most recent call last):
    ValueError: test must be a planned test, such as FixedTest() or SequenceTest(), not str
    """
    if isinstance(test, type):
        raise ValueError(f"test must be a planned test, such as {test.__name__}(), not the class itself")
    if not isinstance(test, PlannedTest):
        given = type(test).__name__
        raise ValueError(f"test must be a planned test, such as FixedTest() or SequenceTest(), not {given}")
