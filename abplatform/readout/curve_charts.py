"""Plots of a curve: what each variant has by day, how they differ, and on how many units it rests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from abplatform.domain.curve import Curve, CurvePoint
from abplatform.domain.metric import RATES
from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers
from abplatform.readout.plots import PERCENT, SPACED, Chart, specify

COLOURS = ("#9aa5b8", "#4f6bed", "#e08a00", "#2a9d6f", "#b14fc4", "#0e97b5", "#c05a3c", "#6d7f1f")
"""Of variants, the control first; from the ninth on they begin again."""
_HEIGHT = 260
_WIDEST = 4.0


def build_curve_charts(curve: Curve, *, what: str, level: str, difference: str) -> tuple[Chart, ...]:
    """All plots of a curve, in reading order; one that would be empty is left out.

    Args:
        curve: what was found.
        what: the variants' own number is.
        level: name of the variants' own intervals.
        difference: name of the intervals of differences.
    """
    charts = (_levels(curve, what, level), _differences(curve, difference))
    return tuple(chart for chart in charts if chart.rows)


def _levels(curve: Curve, what: str, level: str) -> Chart:
    write = numbers.rate if curve.kind in RATES else numbers.amount
    values = [
        _value(curve, point, variant.variant, variant.value)
        | {"units": numbers.count(variant.units), "text": write(variant.value.estimate)}
        for point in curve.points
        for variant in point.variants
        if variant.value.estimate is not None
    ]
    axis = alt.Axis(title=what.lower(), tickCount=5, format="~%" if curve.kind in RATES else "~s")
    spans = " Each span is shown as a whole: longer ones have more." if curve.view == "daily" else ""
    few = " A hollow point rests on less than half of the units." if any(each["few"] for each in values) else ""
    return Chart(
        name="curve-levels",
        title="By variant",
        caption=f"{what} by days since the first exposure; a band is the {level}.{spans}{few}",
        specification=_specification(curve, values, axis, f"{what} of each variant by days since the first exposure"),
        columns=("Day", "Variant", "Units", what),
        rows=tuple((str(each["day"]), each["variant"], each["units"], each["text"]) for each in values),
    )


def _differences(curve: Curve, difference: str) -> Chart:
    relative = _has_lift(curve)
    write = numbers.lift if relative else numbers.points if curve.kind in RATES else _signed_amount
    what = "relative lift over the control" if relative else "difference to the control"
    values = [
        _value(curve, point, variant, effect) | {"units": numbers.count(point.units), "text": write(effect.estimate)}
        for point, variant, effect in _effects(curve, relative=relative)
    ]
    axis = alt.Axis(title=what, tickCount=5, **_format(curve, relative=relative))
    return Chart(
        name="curve-differences",
        title="Against the control",
        caption=f"{what.capitalize()}; a band is the {difference}, each day for itself; the dashed line is no effect.",
        specification=_specification(curve, values, axis, f"{what} by days since the first exposure", zero=True),
        columns=("Day", "Variant", "Units of all", what.capitalize()),
        rows=tuple((str(each["day"]), each["variant"], each["units"], each["text"]) for each in values),
    )


def _effects(curve: Curve, *, relative: bool) -> Iterator[tuple[CurvePoint, str, Interval]]:
    for point in curve.points:
        for each in point.comparisons:
            effect = each.relative if relative else each.absolute
            if effect.estimate is not None and each.not_computable is None:
                yield point, each.variant, effect


def _has_lift(curve: Curve) -> bool:
    """Whether lifts can be drawn: balances and costs around 0 have none."""
    computed = [each for point in curve.points for each in point.comparisons if each.not_computable is None]
    return bool(computed) and all(each.relative.estimate is not None for each in computed)


def _format(curve: Curve, *, relative: bool) -> dict[str, Any]:
    if relative:
        return {"labelExpr": PERCENT}
    return {"format": "+.1~%" if curve.kind in RATES else "+~s"}


def _signed_amount(value: float | None) -> str:
    return numbers.amount(value, signed=True)


def _value(curve: Curve, point: CurvePoint, variant: str, interval: Interval) -> dict[str, Any]:
    estimate = interval.estimate or 0.0
    spans = _has_spans(curve)
    return {
        "from": point.from_day,
        "day": point.day,
        "at": (point.from_day + point.day) / 2 if spans else point.day,
        "variant": numbers.visible(variant),
        "estimate": estimate,
        "lower": estimate if interval.lower is None else interval.lower,
        "upper": estimate if interval.upper is None else interval.upper,
        "few": bool(point.warnings),
        "days": f"{point.from_day} to {point.day}",
    }


def _has_spans(curve: Curve) -> bool:
    """Whether a point is drawn as a span of days: there is no line through what came between days, or one point."""
    return curve.view == "daily" or len(curve.points) == 1


def _specification(
    curve: Curve, values: list[dict[str, Any]], axis: alt.Axis, description: str, *, zero: bool = False
) -> dict[str, Any]:
    last = max((value["day"] for value in values), default=1)
    days = alt.Axis(
        title="days since the first exposure", values=[point.day for point in curve.points], format="d", **SPACED
    )
    scale = alt.Scale(domain=[0, last], nice=False)
    height = alt.Y("lower:Q", scale=alt.Scale(domain=_domain(values, zero=zero), nice=True), axis=axis)
    base = alt.Chart().encode(color=_colour(curve, values))
    tips = [alt.Tooltip(f"{name}:N", title=name) for name in ("variant", "days", "text", "units")]
    dots = base.encode(x="at:Q", y="estimate:Q", tooltip=tips)
    if _has_spans(curve):
        span = base.encode(x=alt.X("from:Q", axis=days, scale=scale), x2="day:Q")
        band, line = span.mark_rect(opacity=0.18, clip=True), span.mark_rule(strokeWidth=2, clip=True)
    else:
        along = base.encode(x=alt.X("at:Q", axis=days, scale=scale))
        band, line = along.mark_area(opacity=0.18, clip=True), along.mark_line(strokeWidth=2, clip=True)
    layers = [
        band.encode(y=height, y2="upper:Q"),
        line.encode(y="estimate:Q"),
        dots.transform_filter("!datum.few").mark_point(size=55, filled=True, opacity=1),
        dots.transform_filter("datum.few").mark_point(size=55, strokeWidth=2, opacity=1),
    ]
    if zero:
        layers.insert(0, alt.Chart().mark_rule(strokeDash=[4, 3], opacity=0.8).encode(y=alt.datum(0)))
    plot = alt.layer(*layers, data=alt.InlineData(values=values)).properties(width="container", height=_HEIGHT)
    return specify(plot, description)


def _colour(curve: Curve, values: list[dict[str, Any]]) -> alt.Color:
    """A variant has one colour in all plots; the control that of controls."""
    order = list(dict.fromkeys(numbers.visible(each.variant) for each in curve.points[0].variants))
    controls = {numbers.visible(each.control) for each in curve.points[0].comparisons}
    order.sort(key=lambda variant: variant not in controls)
    colours = {variant: COLOURS[index % len(COLOURS)] for index, variant in enumerate(order)}
    shown = [variant for variant in order if any(value["variant"] == variant for value in values)]
    return alt.Color(
        "variant:N",
        sort=None,
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1) if len(shown) > 1 else None,
        scale=alt.Scale(domain=shown, range=[colours[variant] for variant in shown]),
    )


def _domain(values: list[dict[str, Any]], *, zero: bool) -> list[float]:
    """Estimates in full, and of their bands as much as leaves the estimates apart."""
    estimates = [each["estimate"] for each in values]
    low, high = min([0.0, *estimates]), max([0.0, *estimates])
    room = _WIDEST * ((high - low) or 1.0) if zero else (high - low) or 1.0
    ends = [max(each["lower"], low - room) for each in values] + [min(each["upper"], high + room) for each in values]
    return [min([low, *ends]), max([high, *ends])]
