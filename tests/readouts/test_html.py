"""The page: self-contained, strict about what may run, and harmless whatever things are called."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from altair.vegalite.v6.schema import load_schema

from abplatform.domain.scorecard import Margin
from abplatform.readout.charts import build_charts
from abplatform.readout.html import as_html
from abplatform.readout.wording import headline
from tests.builders import a_decision
from tests.readouts.scorecards import (
    ALL,
    HOSTILE,
    decided_scorecard,
    empty_scorecard,
    fixed_scorecard,
    hostile_scorecard,
    lending_scorecard,
    sequential_looks,
    sequential_scorecard,
)


class _Elements(HTMLParser):
    """Start tags with their attributes, and the contents of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self._inside = tag
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data


def test_a_version_stands_below_the_name_of_its_metric_where_there_are_several() -> None:
    names = re.findall(r'<th scope="row" role="rowheader">(.*?)</th>', as_html(lending_scorecard()), re.DOTALL)
    versions = [re.findall(r'<span class="range">(v[^<]*)</span>', name) for name in names]
    early, late, purchase = ["v2"], ["v1 of 3"], list[str]()
    assert versions == [purchase, purchase, early, early, late, late]


@pytest.mark.parametrize("name", ALL)
def test_page_asks_for_nothing_from_outside(name: str) -> None:
    elements = _Elements(as_html(ALL[name]()))
    assert not [tag for tag, attributes in elements.tags if {"src", "href", "action", "data"} & set(attributes)]
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-" if name != "empty" else "default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_policy_names_exactly_the_scripts_and_the_style_that_are_there() -> None:
    page = as_html(fixed_scorecard())
    elements = _Elements(page)
    kinds = [attributes.get("type") for tag, attributes in elements.tags if tag == "script"]
    running = [text for text, kind in zip(elements.raw["script"], kinds, strict=True) if kind is None]
    digests = {_digest(text) for text in [*running, *elements.raw["style"]]}
    assert digests == set(re.findall(r"'(sha256-[^']+)'", unescape(page)))
    assert len(running) == 4


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_hostile_names_are_text_everywhere() -> None:
    page = as_html(hostile_scorecard())
    elements = _Elements(page)
    assert HOSTILE not in page
    assert not [tag for tag, _ in elements.tags if tag == "img"]
    kinds = [attributes.get("type") for tag, attributes in elements.tags if tag == "script"]
    assert kinds.count(None) == 4
    for text, kind in zip(elements.raw["script"], kinds, strict=True):
        if kind == "application/json":
            assert HOSTILE in json.dumps(json.loads(text)), "the chart still shows the name"
    assert "{{ 7*7 }}" in page


def test_the_page_shows_who_is_left_out_and_the_decision_beside_the_recommendation() -> None:
    page = as_html(decided_scorecard())
    assert "1,204 units left out because of an earlier phase" in page
    banner = page[page.index('aria-labelledby="decision"') : page.index('aria-labelledby="health"')]
    assert banner.index("Inconclusive") < banner.index("Decided by people on 2026-11-24 12:05 UTC: ship treatment")
    fresh, stale = as_html(fixed_scorecard()), as_html(decided_scorecard())
    assert 'class="taken"' not in fresh
    assert 'class="stale"' not in fresh
    assert stale.count("Not fresh: nothing that came after") == 1
    assert stale.index("Not fresh: nothing that came after") < stale.index("Recommendation")
    taken = a_decision("roll_back", reason=HOSTILE)
    assert HOSTILE not in as_html(replace(fixed_scorecard(), decision_taken=taken))


def test_every_chart_has_a_table_that_says_the_same() -> None:
    elements = _Elements(as_html(sequential_scorecard(), sequential_looks()))
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("figure") == 4
    assert tags.count("details") == 4
    for chart in build_charts(sequential_scorecard(), sequential_looks()):
        assert chart.rows
        assert all(len(row) == len(chart.columns) for row in chart.rows)


def test_looks_at_the_same_units_are_no_course_and_are_not_plotted() -> None:
    first, last = sequential_looks()[0], sequential_scorecard()
    course = [chart.name for chart in build_charts(last, (first, last)) if chart.name.startswith("looks-")]
    assert course
    assert [chart.name for chart in build_charts(last, (last, last)) if chart.name in course] == []


def test_page_of_an_experiment_without_units_has_no_charts_and_no_scripts() -> None:
    page = as_html(empty_scorecard())
    assert "<script" not in page
    assert "no unit has been exposed yet" in page
    assert len(page) < 20_000


@pytest.mark.parametrize("name", ALL)
def test_specifications_fit_the_schema_of_vega_lite(name: str) -> None:
    """The schema is the one that Altair carries, of the version that the page's scripts are."""
    validator = jsonschema.Draft7Validator(load_schema())
    for chart in build_charts(ALL[name](), sequential_looks()):
        validator.validate(chart.specification)
        json.dumps(chart.specification, allow_nan=False)


def test_forest_plot_shows_each_estimate_with_its_interval_and_the_margin_of_a_guardrail() -> None:
    forest = build_charts(sequential_scorecard())[0]
    rows = {row["row"]: row for row in _values(forest.specification) if "row" in row}
    purchase, complaint = rows["purchase: treatment"], rows["complaint: treatment"]
    effect = next(each for each in sequential_scorecard().metrics if each.metric == "purchase").comparisons[0]
    assert (purchase["estimate"], purchase["lower"], purchase["upper"]) == (
        effect.relative.estimate,
        effect.relative.lower,
        effect.relative.upper,
    )
    assert purchase["margin"] is None
    # 0.001 more complaints on a control rate of 0.0025: 40% worse, and worse is up.
    assert complaint["margin"] == pytest.approx(0.4)
    assert complaint["lower"] < -2, "an unbounded side leaves the picture"


def test_a_margin_far_outside_stands_at_the_edge_and_leaves_the_picture_to_the_intervals() -> None:
    scorecard = sequential_scorecard()
    guardrail, primary = scorecard.metrics
    # 0.1 more on a control rate of 0.0025: 4,000% worse; the bounds of both metrics reach 45% at most.
    effect = replace(guardrail.comparisons[0], margin=Margin(relative=None, absolute=0.1))
    far = replace(scorecard, metrics=(replace(guardrail, comparisons=(effect,)), primary))
    specification = build_charts(far)[0].specification
    complaint = next(row for row in _values(specification) if row.get("row") == "complaint: treatment")
    low, high = specification["layer"][1]["encoding"]["x"]["scale"]["domain"]
    assert (low > -1, high < 1) == (True, True)
    assert (complaint["margin_at"], complaint["margin_text"]) == (high, "→ margin +4,000%")


def test_bars_are_grey_where_the_data_are_unsound() -> None:
    scorecard = sequential_scorecard()
    unsound = replace(scorecard, health=replace(scorecard.health, ok=False))
    assert {row["tone"] for row in _values(build_charts(unsound)[0].specification) if "tone" in row} == {"flat"}
    assert 'class="tag good"' not in as_html(unsound)


def test_the_page_lists_the_recommendation_of_each_look() -> None:
    looks = sequential_looks()
    page = unescape(as_html(sequential_scorecard(), looks))
    (table,) = re.findall(r'<h2 id="past-looks">Looks</h2>(.*?)</table>', page, flags=re.DOTALL)
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in table.split("<tr>")[2:]]
    assert [row[0] for row in rows] == [str(look.look) for look in looks]
    for row, look in zip(rows, looks, strict=True):
        said = headline(look).split()
        assert row[-len(said) :] == said
    assert 'id="past-looks"' not in as_html(sequential_scorecard(), looks[:1])


def _values(specification: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in specification["datasets"].values() for row in rows]
