"""What units are told apart by in results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Period = Literal["day", "week", "month"]

PERIODS: dict[str, Period] = {"exposure_day": "day", "exposure_week": "week", "exposure_month": "month"}
"""Names of the dimensions that every experiment has: when its units were first exposed."""


NO_SLICE = "(none)"
"""Units without a value of a dimension."""
REST = "(rest)"
"""Units of all slices that are too many to be shown; raw text, which no JSON text looks like."""
MOST_SLICES = 100
"""Of a dimension with more values the largest are shown, and the rest as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A way to slice units, fixed by the time of their first exposure, so that no variant can change it.

    Attributes:
        name: of an exposure attribute, whose value at the first exposure counts; or one for people.
        period: if given, units are sliced by the day, week (from Monday) or month of their first exposure instead, in
            the project's time zone: cohorts, or vintages.
    """

    name: str
    period: Period | None = None
