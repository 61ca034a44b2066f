"""The primary metrics over the looks: a plot for each metric and arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from abplatform.domain.scorecard import Interval, MetricResult, Scorecard
from abplatform.readout import numbers
from abplatform.readout.forest import name_effect, reach_of
from abplatform.readout.plots import ARM_COLOURS, PERCENT, SPACED, Chart, specify
from abplatform.readout.wording import interval_name


def build_look_charts(alpha: float, looks: Sequence[Scorecard]) -> list[Chart]:
    """One plot for each primary metric and arm that some look could compute.

    Args:
        alpha: of the intervals.
        looks: of one phase, in order.
    """
    captions: dict[str, str] = {}
    series: dict[str, list[dict[str, Any]]] = {}
    for look in looks:
        primaries = [each for each in look.metrics if each.role == "primary"]
        for metric, effect in [(each, effect) for each in primaries for effect in each.comparisons]:
            if effect.relative.estimate is not None and effect.not_computable is None:
                title = name_effect(metric, effect)
                captions[title] = f"Relative lift at every look so far, with the {interval_name(effect, alpha)}."
                series.setdefault(title, []).append(_history_value(look, metric, effect.relative))
    return [_history(number, title, captions[title], values) for number, (title, values) in enumerate(series.items())]


def _history_value(look: Scorecard, metric: MetricResult, relative: Interval) -> dict[str, Any]:
    reach = reach_of([relative])
    return {
        "look": look.look,
        "units": sum(result.units for result in metric.variants),
        "estimate": relative.estimate,
        "lower": -reach if relative.lower is None else max(relative.lower, -reach),
        "upper": reach if relative.upper is None else min(relative.upper, reach),
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
