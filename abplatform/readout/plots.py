"""Plots as Vega-Lite specifications, each with the table that says the same.

A plot is data, the same in a page, a notebook and a test. Colours of text and grid are left to the page that shows
them, so that light and dark both work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

ARM_COLOURS = {True: "#9aa5b8", False: "#4f6bed"}
# A signed percentage, and a plain zero.
PERCENT = "datum.value == 0 ? '0%' : format(datum.value, '+.0%')"
# Where the page is narrow, labels are left out rather than run into each other.
SPACED: dict[str, Any] = {"labelOverlap": "greedy", "labelSeparation": 6}


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
