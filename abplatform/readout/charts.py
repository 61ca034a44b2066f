"""The plots of a scorecard: effects, the looks so far, and what each arm has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from abplatform.domain.metric import VALUED
from abplatform.domain.scorecard import ComparisonResult, MetricResult, Scorecard, VariantResult
from abplatform.readout import numbers
from abplatform.readout.forest import Effect, Frame, draw_forest, name_effect
from abplatform.readout.look_charts import build_look_charts
from abplatform.readout.plots import ARM_COLOURS, Chart, specify
from abplatform.readout.rows import choose_tone, write_value
from abplatform.readout.wording import ROLE_TITLES, interval_name

_WHAT = {
    "conversion": "Rate",
    "retention": "Share who came back",
    "funnel": "Share who took all steps",
    "ratio": "Ratio",
    "quantile": "Quantile",
    "time_to": "Time, of all units",
}
"""What bars show, where it is no mean per unit."""


def build_charts(scorecard: Scorecard, looks: Sequence[Scorecard] = ()) -> tuple[Chart, ...]:
    """All plots of a readout, in reading order; one that would be empty is left out.

    Args:
        scorecard: the look to show.
        looks: the looks of the same phase, in order; with two or more of different numbers of units, their intervals
            are plotted too.
    """
    charts = [_forest(scorecard)] if _effects(scorecard) else []
    if len(looks) > 1:
        charts += [each for each in build_look_charts(scorecard.alpha, looks) if len({row[1] for row in each.rows}) > 1]
    charts += [_means(metric) for metric in _in_order(scorecard) if metric.variants]
    return tuple(charts)


def _in_order(scorecard: Scorecard) -> list[MetricResult]:
    return [metric for role in ROLE_TITLES for metric in scorecard.metrics if metric.role == role]


def _effects(scorecard: Scorecard) -> list[tuple[MetricResult, ComparisonResult]]:
    return [(metric, effect) for metric in _in_order(scorecard) for effect in metric.comparisons]


def _forest(scorecard: Scorecard) -> Chart:
    effects = _effects(scorecard)
    return draw_forest(
        [
            Effect(
                label=name_effect(metric, effect), metric=metric, comparison=effect, tone=choose_tone(scorecard, effect)
            )
            for metric, effect in effects
        ],
        Frame(
            name="forest",
            title="Effects",
            caption=_forest_caption(scorecard, effects),
            description="Relative lift of every metric and arm, with intervals",
            rows="Metric and arm",
        ),
    )


def _forest_caption(scorecard: Scorecard, effects: Sequence[tuple[MetricResult, ComparisonResult]]) -> str:
    name = interval_name(effects[0][1], scorecard.alpha)
    caption = f"A dot is the relative lift over the control, a bar its {name}; the dashed line is no effect."
    if any(effect.margin is not None for _, effect in effects):
        caption += " An orange tick is how much worse a guardrail may be at most; one with its value lies farther out."
    return caption


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
    return (result.value if metric.kind in VALUED else result.mean) or 0.0
