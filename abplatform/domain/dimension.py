"""What units are told apart by in results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from abplatform.domain.behaviour import VERSION_MARK, Behaviour
from abplatform.domain.checks import KEY

Period = Literal["day", "week", "month"]

PERIODS: dict[str, Period] = {"exposure_day": "day", "exposure_week": "week", "exposure_month": "month"}
"""Names of the dimensions that every experiment has: when its units were first exposed."""


NO_SLICE = "(none)"
"""Units without a value of a dimension."""
REST = "(rest)"
"""Units of all slices that are too many to be shown; raw text, which no JSON text looks like."""
SEVERAL = "(several)"
"""Units that met more than one variant of another experiment; raw text, as that of the rest."""
MOST_SLICES = 100
"""Of a dimension with more values the largest are shown, and the rest as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherExperiment:
    """A phase of another experiment, whose variants slice the units of this one.

    The slice of a unit is the variant that it met there, ever: before or after it entered here. Units that met none
    have no slice, and those that met several are one of their own (`SEVERAL`).

    Attributes:
        key, phase, variants: of the other experiment.
        since, enrolled_until, until: which of its exposures count, as in `AggregationRequest`.
    """

    key: str
    phase: int
    variants: tuple[str, ...]
    since: datetime | None = None
    enrolled_until: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A way to slice units: by what is fixed at the time of their first exposure, so that no variant can change it.

    Another experiment is not fixed by then, but its variants are drawn, whatever the unit does.

    Attributes:
        name: of an exposure attribute, whose value at the first exposure counts; or one for people.
        period: if given, units are sliced by the day, week (from Monday) or month of their first exposure instead, in
            the project's time zone: cohorts, or vintages.
        behaviour: if given, units are sliced by what they did before their first exposure instead; a version whose
            edges are numbers.
        experiment: if given, units are sliced by the variant that they met in another experiment instead.
    """

    name: str
    period: Period | None = None
    behaviour: Behaviour | None = None
    experiment: OtherExperiment | None = None

    @property
    def is_attribute(self) -> bool:
        """Whether its values stand in the exposures."""
        return self.period is None and self.behaviour is None and self.experiment is None


def split_version(name: str) -> tuple[str, int | None]:
    """The key and the version of a behaviour that a name says, where it looks like that of a version.

    >>> split_version("rfm@2"), split_version("rfm"), split_version("rfm@x")
    (('rfm', 2), ('rfm', None), ('rfm@x', None))
    """
    key, mark, version = name.rpartition(VERSION_MARK)
    if mark and KEY.fullmatch(key) and version.isascii() and version.isdigit() and len(version) < 10:
        return key, int(version)
    return name, None
