"""Curves as people read them: plots that fit the schema and are drawn, texts that nothing can break out of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from altair.vegalite.v6.schema import load_schema

from abplatform.domain.curve import Curve, CurveComparison, CurvePoint, CurveVariant
from abplatform.domain.scorecard import Interval
from abplatform.readout.charts import Chart
from abplatform.readout.curve import as_html, as_text
from abplatform.readout.curve_charts import build_curve_charts
from tests.builders import NOW

HOSTILE = "</script><script>alert(1)</script>"


def a_curve(**changes: Any) -> Curve:
    """Two variants on days 1, 7 and 30, the last on less than half of the units."""
    defaults: dict[str, Any] = {
        "experiment": "rate-display",
        "phase": 1,
        "metric": "ltv",
        "kind": "sum",
        "direction": "increase",
        "view": "cumulative",
        "cohort": "followed",
        "calendar": False,
        "cap": "500",
        "method": "sequential",
        "interval_kind": "confidence_sequence",
        "alpha": 0.05,
        "computed_at": NOW,
        "data_through": NOW,
        "points": (a_point(1, 90), a_point(7, 60), a_point(30, 20, warnings=("FEW_FOLLOWED",))),
    }
    return Curve(**defaults | changes)


def a_point(day: int, units: int, **changes: Any) -> CurvePoint:
    """A treatment that brings a fifth more than the control, whose mean is the day."""
    variants = tuple(
        CurveVariant(
            variant=name,
            units=units,
            open_units=100 - units,
            open_share=1 - units / 100,
            sum=str(units * day),
            denominator_sum=None,
            value=Interval(estimate=day * more, lower=0.8 * day, upper=1.4 * day),
            uncapped_mean=None,
        )
        for name, more in (("control", 1.0), (HOSTILE, 1.2))
    )
    comparison = CurveComparison(
        variant=HOSTILE,
        control="control",
        absolute=Interval(estimate=0.2 * day, lower=-0.1 * day, upper=0.5 * day),
        relative=Interval(estimate=0.2, lower=-0.1, upper=None),
        interval_kind="confidence_sequence",
        p_value=0.1,
        adjusted_p_value=0.2,
        variance_reduction=None,
        not_computable=None,
        warnings=("TOO_FEW_UNITS",),
    )
    defaults: dict[str, Any] = {
        "from_day": 0,
        "day": day,
        "units": 2 * units,
        "followed_share": units / 100,
        "warnings": (),
        "variants": variants,
        "comparisons": (comparison,),
    }
    return CurvePoint(**defaults | changes)


def nothing_known() -> Curve:
    """Nobody has been followed for a day."""
    point = a_point(1, 0)
    none = Interval(estimate=None, lower=None, upper=None)
    unknown = replace(point.comparisons[0], absolute=none, relative=none, p_value=None, not_computable="NO_UNITS")
    variants = tuple(replace(each, value=none) for each in point.variants)
    return a_curve(points=(replace(point, variants=variants, comparisons=(unknown,)),))


def without_lift() -> Curve:
    """A control that lost as much as it brought."""
    point = a_point(7, 60)
    none = Interval(estimate=None, lower=None, upper=None)
    return a_curve(points=(replace(point, comparisons=(replace(point.comparisons[0], relative=none),)),))


CURVES = {
    "cumulative": a_curve(),
    "daily": a_curve(view="daily", points=(a_point(1, 90), a_point(7, 60, from_day=1))),
    "single": a_curve(points=(a_point(1, 90),)),
    "rate": a_curve(kind="conversion", cap=None, interval_kind="fixed", calendar=True, cohort="same"),
    "without-lift": without_lift(),
}


def charts(curve: Curve) -> tuple[Chart, ...]:
    return build_curve_charts(curve, what="Mean per unit", level="95% interval", difference="95% interval")


def drawn(chart: Chart) -> list[dict[str, Any]]:
    """The one data set of a plot."""
    (values,) = chart.specification["datasets"].values()
    return list(values)


@pytest.mark.parametrize("name", CURVES)
def test_plots_fit_the_schema_of_vega_lite(name: str) -> None:
    validator = jsonschema.Draft7Validator(load_schema())
    levels, differences = charts(CURVES[name])
    for chart in (levels, differences):
        validator.validate(chart.specification)
        json.dumps(chart.specification, allow_nan=False)
        assert all(len(row) == len(chart.columns) for row in chart.rows)


def test_a_plot_has_every_point_with_its_band() -> None:
    levels, differences = charts(a_curve())
    shown = [(each["day"], each["estimate"], each["lower"], each["few"]) for each in drawn(levels)]
    assert shown[::2] == [(1, 1.0, 0.8, False), (7, 7.0, pytest.approx(5.6), False), (30, 30.0, 24.0, True)]
    assert [each["estimate"] for each in drawn(differences)] == [0.2, 0.2, 0.2]


def test_where_there_is_no_lift_the_difference_is_drawn() -> None:
    _, differences = charts(without_lift())
    assert [each["estimate"] for each in drawn(differences)] == [pytest.approx(1.4)]
    assert differences.columns[-1] == "Difference to the control"


def test_where_nothing_is_known_there_is_no_plot_and_no_script() -> None:
    assert charts(nothing_known()) == ()
    page = as_html(nothing_known())
    assert "<script" not in page
    assert "an arm has no units" in page
    assert "an arm has no units" in as_text(nothing_known())


def test_notes_say_on_whom_a_point_rests_and_what_was_capped() -> None:
    said = as_text(a_curve())
    assert "Day 30 rests on less than half of the units" in said
    assert "A unit counts for at most 500 at each point." in said
    assert "Days 1, 7, 30: an arm has fewer than 500 units: intervals may be too short." in said
    assert "verdict" not in said, "a curve has none"
    calendar = as_text(CURVES["rate"])
    assert "day 1 ends with the day of the first exposure" in calendar
    assert "At all days the same units count" in calendar


def test_a_day_until_which_nobody_was_followed_is_said_so() -> None:
    points = a_curve().points
    said = as_text(a_curve(points=(*points[:2], replace(points[2], units=0))))
    assert "Nobody has been followed for 30 days yet." in said
    assert "less than half" not in said


@pytest.mark.parametrize("width", [40, 60, 80, 150, 200])
def test_no_number_of_the_table_is_broken_at_any_width(width: int) -> None:
    curve = a_curve(points=tuple(renamed(point) for point in a_curve().points))
    said = as_text(curve, width=width)
    for number in ("[24.00, 42.00]", "+20.0%", "[−3.000, +15.00]"):
        assert number in said


def renamed(point: CurvePoint) -> CurvePoint:
    return replace(
        point,
        variants=(point.variants[0], replace(point.variants[1], variant="treatment")),
        comparisons=(replace(point.comparisons[0], variant="treatment"),),
    )


@pytest.mark.parametrize("name", CURVES)
def test_a_page_draws_its_plots_without_a_message_or_a_request(browser: Any, tmp_path: Path, name: str) -> None:
    file = tmp_path / "curve.html"
    file.write_text(as_html(CURVES[name]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function("!document.querySelector('figure[data-state=waiting]')", timeout=20_000)
    states = page.eval_on_selector_all("figure", "figures => figures.map(each => each.dataset.state)")
    page.close()
    assert said == []
    assert asked == [file.as_uri()]
    assert states == ["drawn", "drawn"]
