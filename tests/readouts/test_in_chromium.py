"""The page in a real browser: it draws, it is silent, and it asks nobody for anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from abplatform.domain.breakdown import Breakdown
from abplatform.readout.breakdown import breakdown_as_html
from abplatform.readout.html import as_html
from tests.readouts.breakdowns import a_breakdown, a_hostile_breakdown
from tests.readouts.scorecards import ALL, sequential_looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ALL)
def test_page_draws_every_chart_without_a_message_or_a_request(
    browser: object, tmp_path: Path, name: str, scheme: str
) -> None:
    file = tmp_path / "readout.html"
    file.write_text(as_html(ALL[name](), sequential_looks() if name == "sequential" else ()), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1100, "height": 800})  # type: ignore[attr-defined]
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function("!document.querySelector('figure[data-state=waiting]')", timeout=20_000)
    states = page.eval_on_selector_all("figure", "figures => figures.map(each => each.dataset.state)")
    marks = page.eval_on_selector_all(
        "figure", "figures => figures.map(each => each.querySelectorAll('.plot svg .mark-group').length)"
    )
    page.close()
    assert said == []
    assert asked == [file.as_uri()]
    assert set(states) <= {"drawn"}
    drawn = {"fixed": 3, "sequential": 4, "exploratory": 4, "hostile": 2, "empty": 0, "decided": 3, "lending": 4}
    assert len(states) == drawn[name]
    assert all(count > 0 for count in marks)


@pytest.mark.parametrize("make", [a_breakdown, a_hostile_breakdown])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_of_a_breakdown_draws_in_silence_and_fits(
    browser: object, tmp_path: Path, make: Callable[[], Breakdown], width: int
) -> None:
    file = tmp_path / "breakdown.html"
    file.write_text(breakdown_as_html(make()), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800})  # type: ignore[attr-defined]
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("!document.querySelector('figure[data-state=waiting]')", timeout=20_000)
    states = page.eval_on_selector_all("figure", "figures => figures.map(each => each.dataset.state)")
    whole = page.eval_on_selector_all(".results td.verdict .tag", _WHOLE)
    scrolled = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert (said, states, whole, scrolled <= width) == ([], ["drawn"], True, True)


# Of elements: whether all stand inside the page's width (and their scrolling ancestor's), each on one line.
_WHOLE = """elements => elements.every(each => {
    const box = each.getBoundingClientRect(), room = each.closest('.wide').getBoundingClientRect();
    return each.getClientRects().length === 1 && box.width > 0 && box.left >= room.left && box.right <= room.right + 0.5
        && box.height < 30;
})"""
# Of cells: whether the text of none reaches into a neighbour.
_INSIDE = "cells => cells.every(each => each.scrollWidth <= each.clientWidth)"


@pytest.mark.parametrize("width", [390, 420, 800, 1200])
@pytest.mark.parametrize("name", ["sequential", "exploratory"])
def test_verdicts_and_names_are_visible_without_scrolling_sideways(
    browser: object, tmp_path: Path, name: str, width: int
) -> None:
    file = tmp_path / "readout.html"
    file.write_text(as_html(ALL[name](), sequential_looks()), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800})  # type: ignore[attr-defined]
    page.goto(file.as_uri())
    page.wait_for_function("!document.querySelector('figure[data-state=waiting]')", timeout=20_000)
    whole = page.eval_on_selector_all(".results td.verdict .tag", _WHOLE)
    inside = page.eval_on_selector_all(".results tbody th, .results tbody td", _INSIDE)
    scrolled = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert (whole, inside, scrolled <= width) == (True, True, True)


def test_early_signs_are_read_on_a_telephone_line_by_line(browser: object, tmp_path: Path) -> None:
    file = tmp_path / "readout.html"
    file.write_text(as_html(ALL["lending"]()), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})  # type: ignore[attr-defined]
    page.goto(file.as_uri())
    heights = page.eval_on_selector_all(
        "section[aria-labelledby=pairs] tbody tr", "rows => rows.map(each => each.getBoundingClientRect().height)"
    )
    scrolled = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert heights
    assert max(heights) < 80, "a name, and below it how much of it is known"
    assert scrolled <= 390
