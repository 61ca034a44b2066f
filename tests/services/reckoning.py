"""What the documentation says of metrics, done once more in pandas, NumPy and SciPy over the rows of a `Ledger`.

Nothing here is shared with the product but the definitions of metrics: what is counted comes from filters over rows,
and what is inferred from textbooks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from abplatform.domain.metric import Metric, Window
from tests.services.ledger import AS_OF, ZONE, Ledger

RATES = ("conversion", "retention")
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """A difference, or what one arm has, with its variance and degrees of freedom; infinite ones are of a normal.

    Attributes:
        base: of a difference: the control's mean, the variance that is its own, and the one that both arms share.
    """

    estimate: float
    variance: float
    freedom: float = np.inf
    base: tuple[float, float, float] = (math.nan, math.nan, 0.0)

    @property
    def critical(self) -> float:
        """Student's, at 95%."""
        return float(stats.t.ppf(0.975, self.freedom))

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the 95% interval."""
        return self.around(self.critical)

    def around(self, critical: float) -> tuple[float, float]:
        """So many standard errors to both sides."""
        return self.estimate - critical * np.sqrt(self.variance), self.estimate + critical * np.sqrt(self.variance)

    def lifts(self, critical: float) -> tuple[float | None, float | None]:
        """Fieller's (1954) set of the lift, by the roots of its quadratic: none where it is unbounded."""
        mean, own, shared = self.base
        first = mean**2 - critical**2 * (own + shared)
        second = -2 * (self.estimate * mean + critical**2 * own)
        if first <= 0:
            return None, None
        low, high = np.sort(np.roots([first, second, self.estimate**2 - critical**2 * self.variance]).real)
        return (float(low), float(high)) if mean > 0 else (-float(high), -float(low))

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided."""
        return float(2 * stats.t.sf(abs(self.estimate) / np.sqrt(self.variance), self.freedom))


def end_of(first: pd.Series[Any], days: int, *, calendar: bool) -> pd.Series[Any]:
    """When so many days are over: of the calendar at a midnight of the project's time zone, else to the microsecond."""
    if not calendar:
        return first + pd.Timedelta(days=days)
    midnight = pd.to_datetime(first).dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()
    return (midnight + pd.Timedelta(days=days)).dt.tz_localize(ZONE).dt.tz_convert("UTC")


def value_units(ledger: Ledger, metric: Metric, *, followed: int | None = None) -> pd.DataFrame:
    """What a metric makes of each unit whose window has closed.

    Args:
        ledger: all rows.
        metric: its window, filter and cap.
        followed: leave out units that have not been followed for so many days, of the kind that the window counts.

    Returns:
        By unit: ``variant, first, channel``, its value ``y``, of a ratio what is below the line as ``d``, and of others
        the covariate ``x``.
    """
    units, events = ledger.units, ledger.history
    events = events[events["event"] == metric.event]
    inside = events[events["at"] >= events["first"]]
    if metric.window is not None:
        calendar = metric.window.calendar
        last = metric.window.end.days if followed is None else followed
        mature = end_of(units["first"], last, calendar=calendar) <= AS_OF
        inside = _within(inside, metric.window)
        units = units[mature]
    before = events[(events["at"] < events["first"]) & (events["at"] >= events["first"] - metric.cuped_lookback)]
    found = units.copy()
    if metric.kind == "ratio":
        found["y"] = inside["fee"].astype(float).groupby(inside["unit"]).sum().reindex(found.index).fillna(0.0)
        found["d"] = inside.groupby("unit").size().reindex(found.index).fillna(0).astype(float)
        return found
    found["y"] = _per_unit(metric, inside).reindex(found.index).fillna(0.0)
    found["x"] = _per_unit(metric, before).reindex(found.index).fillna(0.0)
    if metric.cap is not None and metric.cap.value is not None:
        found[["y", "x"]] = found[["y", "x"]].clip(upper=float(metric.cap.value))
    return found


def _within(events: pd.DataFrame, window: Window) -> pd.DataFrame:
    begin, end = (end_of(events["first"], each.days, calendar=window.calendar) for each in (window.start, window.end))
    return events[(events["at"] >= begin) & (events["at"] < end)]


def _per_unit(metric: Metric, events: pd.DataFrame) -> pd.Series[Any]:
    if metric.kind == "sum":
        return events["value"].astype(float).groupby(events["unit"]).sum() / 100
    counts = events.groupby("unit").size().astype(float)
    return counts.clip(upper=1.0) if metric.kind in RATES else counts


def level(metric: Metric, arm: pd.DataFrame) -> Effect:
    """What one arm has: a mean, a rate (divisor n), a ratio by the delta method (Deng, Knoblich and Lu, 2018)."""
    if metric.kind == "ratio":
        ratio = arm["y"].sum() / arm["d"].sum()
        residual = (arm["y"] - ratio * arm["d"]) / arm["d"].mean()
        return Effect(ratio, residual.var(ddof=1) / len(arm), len(arm) - 1)
    is_rate = metric.kind in RATES
    return Effect(
        arm["y"].mean(), arm["y"].var(ddof=0 if is_rate else 1) / len(arm), np.inf if is_rate else len(arm) - 1
    )


def contrast(parts: list[Effect], signs: list[int]) -> Effect:
    """A sum of independent parts with signs, with Satterthwaite's (1946) degrees of freedom."""
    variances = np.array([part.variance for part in parts])
    lack = sum(variances**2 / np.array([part.freedom for part in parts])) / variances.sum() ** 2
    estimate = sum(sign * part.estimate for part, sign in zip(parts, signs, strict=True))
    return Effect(estimate, float(variances.sum()), 1 / lack if lack else np.inf)


def effect(metric: Metric, treated: pd.DataFrame, control: pd.DataFrame) -> Effect:
    """A treatment less the control, as they are."""
    arms = [level(metric, each) for each in (treated, control)]
    return replace(contrast(arms, [1, -1]), base=(arms[1].estimate, arms[1].variance, 0.0))


def adjusted_effect(treated: pd.DataFrame, control: pd.DataFrame) -> Effect:
    """Lin's (2013) estimate: the straight lines of both arms, read at the mean of all units.

    Each has the variance of a regression's mean at that point (Draper and Smith, 1998, section 3.1). Units are a sample
    of those to come, so that slopes that differ add to it; what the noise of slopes adds to that term on average is
    taken off, and the arms' own variances have Satterthwaite's degrees of freedom: see ``docs/statistics.md``.
    """
    both = np.concatenate([treated["x"], control["x"]])
    lines = [_read_line(arm["x"].to_numpy(), arm["y"].to_numpy(), both) for arm in (treated, control)]
    (first, slope_t), (second, slope_c) = lines
    noise = both.var(ddof=1) / both.size
    variance = first.variance + second.variance + (slope_t - slope_c) ** 2 * noise
    own = np.clip(second.variance - slope_c * (slope_t - slope_c) * noise, 0.0, variance)
    lack = (variance - own) ** 2 / first.freedom + own**2 / second.freedom
    shared = slope_t * slope_c * noise + second.variance - slope_c * (slope_t - slope_c) * noise - own
    base = (second.estimate, float(own), max(0.0, float(shared)))
    return Effect(first.estimate - second.estimate, float(variance), float(variance**2 / lack), base)


def _read_line(x: Numbers, y: Numbers, both: Numbers) -> tuple[Effect, float]:
    slope, start = np.polyfit(x, y, 1)
    spread = np.square(y - start - slope * x).sum() / (x.size - 2)
    leverage = (both.mean() - x.mean()) ** 2 / np.square(x - x.mean()).sum()
    variance = spread * (1 / x.size + leverage - 1 / (x.size - 1) / both.size)
    return Effect(float(start + slope * both.mean()), float(variance), x.size - 2), float(slope)


def watched(units: int, planned: float) -> float:
    """Critical value of the asymptotic confidence sequence: see ``docs/statistics.md``."""
    rho2 = (-special.lambertw(-(0.05**2) / math.e, -1).real - 1) / planned
    u = units * rho2 + 1
    return float(np.sqrt(u / (units * rho2) * np.log(u / 0.05**2)))


def is_adjusted(metric: Metric, treated: pd.DataFrame, control: pd.DataFrame) -> bool:
    """Whether the past tells units apart, in both arms, with units to spare; guardrails and ratios never are."""
    return (
        metric.kind != "ratio"
        and metric.key != "guard"
        and min(len(treated), len(control)) > 2
        and bool(treated["x"].var() > 0 and control["x"].var() > 0)
    )
