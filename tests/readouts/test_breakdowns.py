"""Breakdowns as text and as a page: what they say, in which order, and that names stay names."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from abplatform.readout.breakdown import breakdown_as_html, breakdown_as_text, report_differences
from abplatform.readout.report import report_as_html, report_as_text
from tests.readouts.breakdowns import a_breakdown, a_hostile_breakdown, some_differences


def rows_of(text: str) -> list[list[str]]:
    """The cells of a text's lines, as far as two spaces tell them apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def markup_of(page: str) -> str:
    """The page without what stands in its scripts."""
    return re.sub(r"<script[ >].*?</script>", "", page, flags=re.DOTALL)


def test_the_text_asks_first_whether_the_effect_differs_and_then_shows_every_slice() -> None:
    text = breakdown_as_text(a_breakdown())
    rows = rows_of(text)
    assert rows[0] == ["Results by channel: rate-display"]
    asked = rows.index(["Does the absolute effect differ?"])
    assert rows[asked + 3] == ["purchase", "treatment", "2", "0.0010", "0.0020", "90%", "yes"]
    shown = rows.index(["purchase (guardrail)"])
    assert shown > asked
    assert ["douyin", "control", "2,000", "10.00%", "control"] in rows
    effect = ["treatment", "2,000", "15.00%", "+50.0%", "[+30.0%, +70.0%]", "+5.00 pp", "[+3.00, +7.00 pp]"]
    assert [*effect, "0.0001", "0.0002", "better"] in rows
    assert ["treatment", "0", "–", "–", "–", "–", "not computable"] in rows


def test_the_text_says_what_a_verdict_rests_on_and_each_common_note_once() -> None:
    text = breakdown_as_text(a_breakdown())
    assert "at most a share of 0.05 is expected to be false" in " ".join(text.split())
    assert "Guardrails are judged by the difference itself" in text
    assert "The 100 largest slices are shown; (rest) is all others as one." in text
    assert text.count("an arm has no units") == 1
    assert "(exploratory)" not in text, "it is said once, of all"


def test_a_narrow_terminal_breaks_no_number() -> None:
    text = breakdown_as_text(a_breakdown(), width=60)
    assert "[+30.0%, +70.0%]" in text
    assert max(map(len, text.splitlines())) <= 60


def test_the_page_says_the_same_and_draws_each_metric() -> None:
    page = breakdown_as_html(a_breakdown())
    assert page.count("<figure") == 1
    for said in (
        "Does the absolute effect differ?",
        "purchase: absolute effects by slice",
        "[+30.0%, +70.0%]",
        "not computable",
    ):
        assert said in unescape(page)
    assert "://" not in markup_of(page)


def test_the_plot_has_the_scale_of_the_test() -> None:
    found = a_breakdown()
    page = breakdown_as_html(found)
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    drawn = {row["row"]: row for rows in json.loads(data)["datasets"].values() for row in rows if "row" in row}
    effect = found.metrics[0].slices[0].comparisons[0].absolute
    shown = drawn["douyin"]
    in_points = [100 * end for end in (effect.estimate or 0.0, effect.lower or 0.0, effect.upper or 0.0)]
    assert [shown["estimate"], shown["lower"], shown["upper"]] == pytest.approx(in_points)
    assert (shown["effect"], shown["interval"]) == ("+5.00 pp", "[+3.00, +7.00 pp]")
    assert "difference to the control" in data


def test_names_stay_names_whatever_they_contain() -> None:
    found = a_hostile_breakdown()
    assert "\x1b" not in breakdown_as_text(found)
    markup = markup_of(breakdown_as_html(found))
    assert found.by not in markup
    assert "<img" not in markup
    assert "<script" not in markup


def test_the_search_lists_the_surest_first_and_says_why_one_has_no_answer() -> None:
    report = report_differences(some_differences())
    rows = rows_of(report_as_text(report))
    assert ["channel", "purchase", "treatment", "2", "0.0010", "0.0020", "90%", "yes"] in rows
    assert ["city", "purchase", "treatment", "1", "–", "–", "–", "nothing to compare"] in rows
    page = unescape(report_as_html(report))
    assert "city, purchase, treatment: only one slice is large enough: nothing to compare." in page
