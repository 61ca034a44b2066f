"""Forest plots: effects with their intervals, one below the other on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from abplatform.domain.scorecard import ComparisonResult, Interval, MetricResult
from abplatform.readout import numbers
from abplatform.readout.plots import PERCENT, SPACED, Chart, specify
from abplatform.readout.rows import scale_of, write_difference
from abplatform.readout.wording import VERDICTS

_TONE_COLOURS = {"good": "#2a9d6f", "warn": "#c99700", "bad": "#d9484b", "flat": "#7d8aa0"}
_MARGIN_COLOUR = "#e08a00"
_ROW_HEIGHT = 34
_TIMES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of a forest plot."""

    label: str
    metric: MetricResult
    comparison: ComparisonResult
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a forest plot.

    Attributes:
        name, title, caption: see `Chart`.
        description: what the plot shows, for those who cannot see it.
        rows: what the rows are.
        absolute: whether it shows absolute differences, of rows of one metric; else relative lifts.
    """

    name: str
    title: str
    caption: str
    description: str
    rows: str
    absolute: bool = False


def name_effect(metric: MetricResult, effect: ComparisonResult) -> str:
    """What a row or a plot of an effect is called."""
    return f"{numbers.visible(metric.metric)}: {numbers.visible(effect.variant)}"


def draw_forest(effects: Sequence[Effect], frame: Frame) -> Chart:
    """Effects with their intervals, one below the other on one scale.

    Args:
        effects: at least one, with labels that differ.
        frame: what stands around them, and on which scale they are.
    """
    shown = [_interval(each, frame) for each in effects]
    reach = _absolute_reach(shown) if frame.absolute else reach_of(shown)
    size, unit = _unit(effects[0].metric, frame, reach)
    values = [_value(each, frame, reach=reach, size=size) for each in effects]
    domain = _domain(values, reach / size)
    values = [value | _placed_margin(value["margin"], domain) for value in values]
    axis = _axis(frame, unit)
    x_scale = alt.Scale(domain=domain, nice=False)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("row:N", sort=None, title=None, scale=alt.Scale(domain=[value["row"] for value in values]))
    )
    colour = alt.Color(
        "tone:N", legend=None, scale=alt.Scale(domain=list(_TONE_COLOURS), range=list(_TONE_COLOURS.values()))
    )
    tips = [alt.Tooltip(f"{name}:N", title=name) for name in ("row", "effect", "interval", "verdict")]
    known = alt.datum.estimate != None  # noqa: E711 - becomes a Vega expression
    bars = base.transform_filter(known).mark_rule(strokeWidth=5, strokeCap="round", opacity=0.45, clip=True)
    dots = base.transform_filter(known).mark_point(filled=True, size=110, opacity=1, clip=True)
    layers = [
        alt.Chart(alt.InlineData(values=[{"x": 0}])).mark_rule(strokeDash=[4, 3], opacity=0.8).encode(x="x:Q"),
        bars.encode(x=alt.X("lower:Q", axis=axis, scale=x_scale), x2="upper:Q", color=colour, tooltip=tips),
        dots.encode(x=alt.X("estimate:Q"), color=colour, tooltip=tips),
        *_margin_layers(base),
    ]
    plot = alt.layer(*layers).properties(width="container", height=_ROW_HEIGHT * len(values))
    return Chart(
        name=frame.name,
        title=frame.title,
        caption=frame.caption,
        specification=specify(plot, frame.description),
        columns=(frame.rows, "Difference" if frame.absolute else "Relative lift", "Interval", "Verdict"),
        rows=tuple((value["row"], value["effect"], value["interval"], value["verdict"]) for value in values),
    )


def _margin_layers(base: alt.Chart) -> list[alt.Chart]:
    """A tick at each margin; one outside the picture stands at its edge, with its value."""
    tips = [alt.Tooltip("margin_text:N", title="margin")]
    ticks = base.transform_filter(alt.datum.margin != None).mark_tick(  # noqa: E711 - becomes a Vega expression
        color=_MARGIN_COLOUR, thickness=3, size=20
    )
    beyond = {
        "left": base.mark_text(align="left", dx=6, dy=-11, fontSize=11),
        "right": base.mark_text(align="right", dx=-6, dy=-11, fontSize=11),
    }
    texts = [
        chart.transform_filter(alt.datum.margin_beyond == side).encode(x="margin_at:Q", text="margin_text:N")
        for side, chart in beyond.items()
    ]
    return [ticks.encode(x="margin_at:Q", tooltip=tips), *texts]


def _placed_margin(margin: float | None, domain: Sequence[float]) -> dict[str, Any]:
    if margin is None:
        return {"margin_at": None, "margin_beyond": None, "margin_text": None}
    low, high = domain
    beyond = "left" if margin < low else "right" if margin > high else None
    arrow = {"left": "← ", "right": "→ ", None: ""}[beyond]
    return {
        "margin_at": min(max(margin, low), high),
        "margin_beyond": beyond,
        "margin_text": f"{arrow}margin {numbers.lift(margin)}",
    }


def _interval(shown: Effect, frame: Frame) -> Interval:
    return shown.comparison.absolute if frame.absolute else shown.comparison.relative


def _unit(metric: MetricResult, frame: Frame, reach: float) -> tuple[float, str]:
    """In what to count: of times the largest unit of which the picture has two."""
    scale = scale_of(metric.kind) if frame.absolute else "lift"
    if scale == "duration":
        return next((each for each in _TIMES if reach >= 2 * each[0]), _TIMES[-1])
    return {"points": (0.01, "pp"), "amount": (1.0, ""), "lift": (1.0, "%")}[scale]


def _axis(frame: Frame, unit: str) -> alt.Axis:
    plain = "format(datum.value, '+,.3~r')" + (f" + ' {unit}'" if unit else "")
    labels = f"datum.value == 0 ? '0' : {plain}" if frame.absolute else PERCENT
    title = f"{'difference to' if frame.absolute else 'relative lift over'} the control"
    return alt.Axis(labelExpr=labels, title=title, tickCount=7, **SPACED)


def _value(shown: Effect, frame: Frame, *, reach: float, size: float) -> dict[str, Any]:
    effect, interval = shown.comparison, _interval(shown, frame)
    computed = interval.estimate is not None and effect.not_computable is None
    kind = scale_of(shown.metric.kind) if frame.absolute else "lift"
    write = (lambda value: write_difference(shown.metric.kind, value)) if frame.absolute else numbers.lift
    return {
        "row": shown.label,
        "estimate": interval.estimate / size if interval.estimate is not None and computed else None,
        # An unbounded side runs out of the picture.
        "lower": (-10 * reach if interval.lower is None else interval.lower) / size,
        "upper": (10 * reach if interval.upper is None else interval.upper) / size,
        "margin": None if frame.absolute else _signed_margin(shown.metric, effect),
        "tone": shown.tone,
        "effect": write(interval.estimate),
        "interval": numbers.bounds(interval, kind=kind) if computed else numbers.NOTHING,
        "verdict": VERDICTS[effect.verdict],
    }


def _signed_margin(metric: MetricResult, effect: ComparisonResult) -> float | None:
    if effect.margin is None:
        return None
    size = effect.margin.relative
    if size is None:
        control = next((each.mean for each in metric.variants if each.variant == effect.control), None)
        size = effect.margin.absolute / control if effect.margin.absolute is not None and control else None
    if size is None:
        return None
    return abs(size) if metric.direction == "decrease" else -abs(size)


def reach_of(intervals: Sequence[Interval]) -> float:
    """How far from zero a picture of relative lifts goes at most: wide intervals are cut, so that estimates stay apart.

    Args:
        intervals: what it shows.
    """
    return max(0.25, 3 * _largest(intervals))


def _absolute_reach(intervals: Sequence[Interval]) -> float:
    """The same of differences in any unit: the surest of them is seen as a whole."""
    widths = [each.upper - each.lower for each in intervals if each.lower is not None and each.upper is not None]
    return max(3 * _largest(intervals), 1.5 * min(widths, default=0.0)) or 1.0


def _largest(intervals: Sequence[Interval]) -> float:
    return max((abs(each.estimate) for each in intervals if each.estimate is not None), default=0.0)


def _domain(values: Sequence[dict[str, Any]], reach: float) -> list[float]:
    ends = [0.0]
    for value in values:
        if value["estimate"] is not None:
            ends += [max(value["lower"], -reach), min(value["upper"], reach)]
    span = max(ends) - min(ends) or 2 * reach
    # A margin may widen the picture by half on its side; one farther out would squeeze the intervals.
    near = [min(ends) - span / 2, max(ends) + span / 2]
    ends += [each["margin"] for each in values if each["margin"] is not None and near[0] <= each["margin"] <= near[1]]
    room = 0.04 * (max(ends) - min(ends) or 1.0)
    return [min(ends) - room, max(ends) + room]
