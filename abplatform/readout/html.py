"""A scorecard as one HTML file that needs nothing else: no network, no other file, no evaluated script.

Vega runs with its expression interpreter, so that no text becomes code; see `page` for what else may not run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from abplatform.domain.scorecard import Scorecard
from abplatform.readout import wording
from abplatform.readout.charts import build_charts
from abplatform.readout.looks import build_looks
from abplatform.readout.numbers import visible
from abplatform.readout.page import render_page
from abplatform.readout.pairs import TITLE, build_pairs
from abplatform.readout.plots import Chart
from abplatform.readout.rows import build_tables

CHART_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "draw.js")
_BANNER_TONES = {"ship": "good", "roll_back": "bad", "invalid": "bad", "continue": "flat", "inconclusive": "flat"}


def as_html(scorecard: Scorecard, looks: Sequence[Scorecard] = ()) -> str:
    """Write the readout as one page.

    Args:
        scorecard: the look to show.
        looks: the looks of the same phase, in order; with two or more they are listed, and their intervals plotted.
    """
    charts = build_charts(scorecard, looks)
    return render_page(
        "readout.html.j2",
        scripts=CHART_SCRIPTS if charts else (),
        stale=wording.staleness(scorecard),
        headline=wording.headline(scorecard),
        tone=_BANNER_TONES[scorecard.decision.recommendation],
        name=visible(scorecard.name),
        key=visible(scorecard.experiment),
        facts=wording.facts(scorecard),
        reasons=wording.reasons(scorecard),
        taken=wording.decision_taken(scorecard),
        health=scorecard.health,
        health_summary=wording.health_summary(scorecard.health),
        health_notes=wording.health_notes(scorecard),
        effects=_named(charts, "forest"),
        looks=_named(charts, "looks"),
        past_looks=build_looks(looks),
        means=_named(charts, "means"),
        tables=build_tables(scorecard),
        pairs=build_pairs(scorecard),
        pairs_title=TITLE,
        specification=embed_chart,
    )


def _named(charts: Sequence[Chart], kind: str) -> list[Chart]:
    return [chart for chart in charts if chart.name.partition("-")[0] == kind]


def embed_chart(chart: Chart) -> Markup:
    """The specification as JSON inside a data block: no character of it can end the block or begin a tag."""
    text = json.dumps(chart.specification, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - escaped
