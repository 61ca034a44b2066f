"""Vega-Lite specifications of a scorecard: a plot is data, the same in a page, a notebook and a test.

Colours of text and grid are left to the page that shows them, so that light and dark both work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from abplatform.domain.metric import VALUED
from abplatform.domain.scorecard import ComparisonResult, Interval, MetricResult, Scorecard, VariantResult
from abplatform.readout import numbers
from abplatform.readout.rows import choose_tone, write_value
from abplatform.readout.wording import ROLE_TITLES, VERDICTS, interval_name

TONE_COLOURS = {"good": "#2a9d6f", "bad": "#d9484b", "flat": "#7d8aa0"}
ARM_COLOURS = {True: "#9aa5b8", False: "#4f6bed"}
MARGIN_COLOUR = "#e08a00"
# A signed percentage, and a plain zero.
PERCENT = "datum.value == 0 ? '0%' : format(datum.value, '+.0%')"
# Where the page is narrow, labels are left out rather than run into each other.
SPACED: dict[str, Any] = {"labelOverlap": "greedy", "labelSeparation": 6}
_ROW_HEIGHT = 34
_WHAT = {
    "conversion": "Rate",
    "retention": "Share who came back",
    "funnel": "Share who took all steps",
    "ratio": "Ratio",
    "quantile": "Quantile",
    "time_to": "Time, of all units",
}
"""What bars show, where it is no mean per unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A plot with the table that says the same.

    Attributes:
        name: stable identifier within the readout.
        caption: how to read it.
        specification: Vega-Lite, as plain values.
        columns, rows: the equivalent table, as finished texts.
    """

    name: str
    title: str
    caption: str
    specification: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of a forest plot."""

    label: str
    metric: MetricResult
    comparison: ComparisonResult
    tone: str


def build_charts(scorecard: Scorecard, looks: Sequence[Scorecard] = ()) -> tuple[Chart, ...]:
    """All plots of a readout, in reading order; one that would be empty is left out.

    Args:
        scorecard: the look to show.
        looks: the looks of the same phase, in order; with two or more of different numbers of units, their intervals
            are plotted too.
    """
    charts = [_forest(scorecard)] if _effects(scorecard) else []
    if len(looks) > 1:
        charts += [each for each in _histories(scorecard.alpha, looks) if len({row[1] for row in each.rows}) > 1]
    charts += [_means(metric) for metric in _in_order(scorecard) if metric.variants]
    return tuple(charts)


def _in_order(scorecard: Scorecard) -> list[MetricResult]:
    return [metric for role in ROLE_TITLES for metric in scorecard.metrics if metric.role == role]


def _effects(scorecard: Scorecard) -> list[tuple[MetricResult, ComparisonResult]]:
    return [(metric, effect) for metric in _in_order(scorecard) for effect in metric.comparisons]


def _label(metric: MetricResult, effect: ComparisonResult) -> str:
    return f"{numbers.visible(metric.metric)}: {numbers.visible(effect.variant)}"


def _forest(scorecard: Scorecard) -> Chart:
    effects = _effects(scorecard)
    return draw_forest(
        [
            Effect(label=_label(metric, effect), metric=metric, comparison=effect, tone=choose_tone(scorecard, effect))
            for metric, effect in effects
        ],
        name="forest",
        title="Effects",
        caption=_forest_caption(scorecard, effects),
        description="Relative lift of every metric and arm, with intervals",
        rows="Metric and arm",
    )


def draw_forest(
    effects: Sequence[Effect], *, name: str, title: str, caption: str, description: str, rows: str
) -> Chart:
    """Relative effects with their intervals, one below the other on one scale.

    Args:
        effects: at least one, with labels that differ.
        name, title, caption: see `Chart`.
        description: what the plot shows, for those who cannot see it.
        rows: what the rows are.
    """
    values = [_forest_value(each) for each in effects]
    domain = _domain(values, _reach([each.comparison.relative for each in effects]))
    values = [value | _placed_margin(value["margin"], domain) for value in values]
    axis = alt.Axis(labelExpr=PERCENT, title="relative lift over the control", tickCount=7, **SPACED)
    x_scale = alt.Scale(domain=domain, nice=False)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("row:N", sort=None, title=None, scale=alt.Scale(domain=[value["row"] for value in values]))
    )
    colour = alt.Color(
        "tone:N", legend=None, scale=alt.Scale(domain=list(TONE_COLOURS), range=list(TONE_COLOURS.values()))
    )
    tips = [alt.Tooltip(f"{name}:N", title=name) for name in ("row", "lift", "interval", "verdict")]
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
        name=name,
        title=title,
        caption=caption,
        specification=specify(plot, description),
        columns=(rows, "Relative lift", "Interval", "Verdict"),
        rows=tuple((value["row"], value["lift"], value["interval"], value["verdict"]) for value in values),
    )


def _margin_layers(base: alt.Chart) -> list[alt.Chart]:
    """A tick at each margin; one outside the picture stands at its edge, with its value."""
    tips = [alt.Tooltip("margin_text:N", title="margin")]
    ticks = base.transform_filter(alt.datum.margin != None).mark_tick(  # noqa: E711 - becomes a Vega expression
        color=MARGIN_COLOUR, thickness=3, size=20
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


def _forest_caption(scorecard: Scorecard, effects: Sequence[tuple[MetricResult, ComparisonResult]]) -> str:
    name = interval_name(effects[0][1], scorecard.alpha)
    caption = f"A dot is the relative lift over the control, a bar its {name}; the dashed line is no effect."
    if any(effect.margin is not None for _, effect in effects):
        caption += " An orange tick is how much worse a guardrail may be at most; one with its value lies farther out."
    return caption


def _forest_value(shown: Effect) -> dict[str, Any]:
    effect, relative = shown.comparison, shown.comparison.relative
    reach = _reach([relative])
    computed = relative.estimate is not None and effect.not_computable is None
    return {
        "row": shown.label,
        "estimate": relative.estimate if computed else None,
        # An unbounded side runs out of the picture.
        "lower": _or(relative.lower, -10 * reach),
        "upper": _or(relative.upper, 10 * reach),
        "margin": _signed_margin(shown.metric, effect),
        "tone": shown.tone,
        "lift": numbers.lift(relative.estimate),
        "interval": numbers.bounds(relative, kind="lift") if computed else numbers.NOTHING,
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


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _reach(intervals: Sequence[Interval]) -> float:
    """How far from zero a picture goes at most: wide intervals are cut so that the estimates stay apart."""
    largest = max((abs(each.estimate) for each in intervals if each.estimate is not None), default=0.0)
    return max(0.25, 3 * largest)


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


def _means(metric: MetricResult) -> Chart:
    control = metric.comparisons[0].control if metric.comparisons else None
    values: list[dict[str, Any]] = [
        {
            "arm": numbers.visible(result.variant),
            "value": _height(metric, result),
            "end": max(0.0, _height(metric, result)),
            "text": write_value(metric, result),
            "control": result.variant == control,
        }
        for result in metric.variants
    ]
    highest, lowest = max(0.0, *(each["value"] for each in values)), min(0.0, *(each["value"] for each in values))
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("arm:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=110)),
        # Room to the right for the text beside the longest bar.
        x=alt.X("value:Q", axis=None, scale=alt.Scale(domain=[lowest, lowest + 1.45 * (highest - lowest) or 1.0])),
    )
    colour = alt.Color(
        "control:N", legend=None, scale=alt.Scale(domain=list(ARM_COLOURS), range=list(ARM_COLOURS.values()))
    )
    bars = base.mark_bar(height=16, cornerRadiusEnd=3).encode(color=colour)
    texts = base.mark_text(align="left", dx=6).encode(text="text:N", x="end:Q")
    what = _WHAT.get(metric.kind, "Mean per unit")
    title = numbers.visible(metric.metric)
    return Chart(
        name=f"means-{metric.metric}",
        title=title,
        caption=f"{what}, {metric.role}",
        specification=specify(
            alt.layer(bars, texts).properties(width="container", height=28 * len(values)),
            f"{what} of {title} by variant",
        ),
        columns=("Arm", what),
        rows=tuple((value["arm"], value["text"]) for value in values),
    )


def _height(metric: MetricResult, result: VariantResult) -> float:
    return _or(result.value if metric.kind in VALUED else result.mean, 0.0)


def _histories(alpha: float, looks: Sequence[Scorecard]) -> list[Chart]:
    captions: dict[str, str] = {}
    series: dict[str, list[dict[str, Any]]] = {}
    for look in looks:
        for metric, effect in _effects(look):
            if metric.role == "primary" and effect.relative.estimate is not None and effect.not_computable is None:
                title = _label(metric, effect)
                captions[title] = f"Relative lift at every look so far, with the {interval_name(effect, alpha)}."
                series.setdefault(title, []).append(_history_value(look, metric, effect.relative))
    return [_history(number, title, captions[title], values) for number, (title, values) in enumerate(series.items())]


def _history_value(look: Scorecard, metric: MetricResult, relative: Interval) -> dict[str, Any]:
    reach = _reach([relative])
    return {
        "look": look.look,
        "units": sum(result.units for result in metric.variants),
        "estimate": relative.estimate,
        "lower": max(_or(relative.lower, -reach), -reach),
        "upper": min(_or(relative.upper, reach), reach),
        "lift": numbers.lift(relative.estimate),
        "interval": numbers.bounds(relative, kind="lift"),
    }


def _history(number: int, title: str, caption: str, values: Sequence[dict[str, Any]]) -> Chart:
    units = alt.X(
        "units:Q",
        title="analysed units",
        axis=alt.Axis(format="~s", tickCount=6, **SPACED),
        scale=alt.Scale(zero=False),
    )
    tips = [alt.Tooltip(f"{name}:N", title=name) for name in ("look", "units", "lift", "interval")]
    axis = alt.Axis(labelExpr=PERCENT, title="relative lift", tickCount=5)
    colour = ARM_COLOURS[False]
    base = alt.Chart().encode(x=units)
    band = base.mark_area(opacity=0.22, color=colour).encode(y=alt.Y("lower:Q", axis=axis), y2="upper:Q")
    line = base.mark_line(color=colour, point={"size": 60, "color": colour}).encode(y="estimate:Q", tooltip=tips)
    zero = alt.Chart().mark_rule(strokeDash=[4, 3], opacity=0.8).encode(y=alt.datum(0))
    plot = alt.layer(band, line, zero, data=alt.InlineData(values=values)).properties(width="container", height=200)
    return Chart(
        name=f"looks-{number}",
        title=f"{title}, over the looks",
        caption=caption,
        specification=specify(plot, f"Relative lift of {title} at each look"),
        columns=("Look", "Units", "Relative lift", "Interval"),
        rows=tuple(
            (str(each["look"]), numbers.count(each["units"]), each["lift"], each["interval"]) for each in values
        ),
    )


def specify(plot: alt.LayerChart | alt.FacetChart, description: str) -> dict[str, Any]:
    """A plot as plain values, as wide as its place.

    Args:
        plot: what to show.
        description: the same in words, for those who cannot see it.
    """
    # Only the width follows the page: the height comes from the number of rows.
    fitted = plot.properties(description=description, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    specification: dict[str, Any] = fitted.to_dict()
    # Altair's own theme would fix a view size and hide the page's colours.
    specification.pop("config", None)
    return specification
