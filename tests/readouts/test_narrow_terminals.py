"""Text in terminals of any width: what is a number or a verdict stands whole on one line."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from abplatform.domain.scorecard import Scorecard
from abplatform.readout.rows import Row, build_tables
from abplatform.readout.text import as_text
from tests.readouts.scorecards import ALL, exploratory_scorecard, sequential_looks, sequential_scorecard

WIDTHS = (60, 80, 100, 150)


def _write(scorecard: Scorecard, width: int) -> str:
    return as_text(scorecard, sequential_looks(), width=width)


def _finished_texts(row: Row) -> set[str]:
    verdict = f"{row.verdict} (exploratory)" if row.exploratory else row.verdict or "control"
    units = f"{row.units} {row.units_note}".rstrip()
    bounds = (row.relative_bounds, row.absolute_bounds)
    return {verdict, units, row.value, row.relative, row.absolute, *bounds, row.evidence, row.margin} - {""}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ALL)
def test_every_number_and_verdict_is_whole(name: str, width: int) -> None:
    scorecard = ALL[name]()
    lines = _write(scorecard, width).splitlines()
    for table in build_tables(scorecard):
        for text in (text for row in table.rows for text in _finished_texts(row)):
            whole = re.compile(rf"(^|\s){re.escape(text)}(\s|$)")
            assert any(whole.search(line) for line in lines), text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ALL)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert all(cell_len(line) <= width for line in _write(ALL[name](), width).splitlines())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_title_and_no_short_name_is_broken(width: int) -> None:
    words = set(re.findall(r"\w+", _write(sequential_scorecard(), width)))
    known = {"purchase", "complaint", "treatment", "confidence", "sequence", "Verdict", "Recommendation", "primary"}
    assert known <= words
    assert not [word for word in words - known for whole in known if len(word) > 3 and word in whole]


def test_a_wide_terminal_has_one_table_a_narrower_one_two_and_a_narrow_one_blocks() -> None:
    def headers(width: int) -> list[str]:
        return [line for line in _write(sequential_scorecard(), width).splitlines() if line.startswith("Metric")]

    whole, halves = headers(150), headers(80)
    assert len(whole) == 2, "primary metrics and guardrails"
    assert len(halves) == 4
    assert "Verdict" in halves[0], "the verdict is in the first half"
    assert "Units" not in halves[0]
    assert "Units" in halves[1]
    assert headers(60) == []


def test_a_very_long_name_is_cut_in_tables_and_full_in_blocks() -> None:
    name = "seconds_until_the_first_page_is_complete"
    assert "seconds_until_the…s_complete" in _write(exploratory_scorecard(), 150)
    assert f"{name}, Mens E-Mail" in _write(exploratory_scorecard(), 60)
