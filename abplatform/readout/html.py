"""A scorecard as one HTML file that needs nothing else: no network, no other file, no evaluated script.

The page states its own content security policy: only the scripts and the style that it carries may run, each named
by its SHA-256, and nothing may be loaded. Vega runs with its expression interpreter, so that no text becomes code.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from abplatform import __version__
from abplatform.domain.scorecard import Scorecard
from abplatform.readout import wording
from abplatform.readout.charts import Chart, build_charts
from abplatform.readout.numbers import visible
from abplatform.readout.rows import build_tables

_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "draw.js")
_BANNER_TONES = {"ship": "good", "roll_back": "bad", "invalid": "bad", "continue": "flat", "inconclusive": "flat"}


def as_html(scorecard: Scorecard, looks: Sequence[Scorecard] = ()) -> str:
    """Write the readout as one page.

    Args:
        scorecard: the look to show.
        looks: the looks of the same phase, in order; with two or more, their intervals are plotted too.
    """
    charts = build_charts(scorecard, looks)
    scripts = tuple(_asset(name) for name in _SCRIPTS) if charts else ()
    style = _asset("readout.css")
    return (
        _environment()
        .get_template("readout.html.j2")
        .render(
            policy=_policy(scripts, style),
            style=Markup(style),  # noqa: S704 - our own file
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own and vendored files
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
            means=_named(charts, "means"),
            tables=build_tables(scorecard),
            specification=_embed,
            version=__version__,
        )
    )


def _named(charts: Sequence[Chart], kind: str) -> list[Chart]:
    return [chart for chart in charts if chart.name.partition("-")[0] == kind]


@cache
def _asset(name: str) -> str:
    text = resources.files("abplatform.readout").joinpath("static", name).read_text(encoding="utf-8")
    # A source map is another file; the page has none.
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL="))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("abplatform.readout"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _policy(scripts: Sequence[str], style: str) -> str:
    allowed = " ".join(_fingerprint(script) for script in scripts) or "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed}",
            f"style-src-elem {_fingerprint(style)}",
            # Vega sets style attributes on the shapes that it draws.
            "style-src-attr 'unsafe-inline'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embed(chart: Chart) -> Markup:
    """The specification as JSON inside a data block: no character of it can end the block or begin a tag."""
    text = json.dumps(chart.specification, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - escaped
