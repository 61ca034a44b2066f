"""The short version: fewer repetitions, other seeds, and the page's figures within 4 standard errors of both runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from abplatform.stats import sequential
from abplatform.stats.simulate import Bernoulli, Measured, Sequential, Trial, equally_spaced, share_of_runs, simulate
from tests.calibration import counts
from tests.calibration.claims import REPORTED, Check, Row, at_least, at_most, between, near
from tests.calibration.page import as_page
from tests.calibration.sections import SECTIONS

CHECKS = [check for section in SECTIONS for check in section.checks]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"


def shown_rows() -> list[list[str]]:
    """Cells of all lines of the page's tables."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.endswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what" and not row[0].startswith("---")]


SHOWN = {row[0]: Measured(float(row[2]), float(row[3])) for row in shown_rows()}
ROUNDING = 0.00005
"""The page has four places."""


@cache
def expected_rows() -> list[tuple[Check, Row]]:
    """Lines that the page has to have; two repetitions are enough to know what they say beside their figures."""
    return [(check, row) for check in CHECKS for row in check.run(2, check.seed)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.run.__name__)
def test_a_short_run_finds_what_the_page_says(check: Check) -> None:
    # Another seed than that of the page: the two runs are independent.
    for row in check.run(check.short, check.seed + 10_000):
        full = SHOWN[row.what]
        slack = 4 * np.hypot(row.measured.error, full.error) + ROUNDING
        assert abs(row.measured.value - full.value) <= slack, (row, full)
        assert row.claim.holds(row.measured, errors=4.0), row


def test_the_page_is_that_of_these_simulations_and_all_of_it_holds() -> None:
    expected, shown = expected_rows(), shown_rows()
    assert [cells[0] for cells in shown] == [row.what for _, row in expected]
    assert len(SHOWN) == len(shown)
    for (what, claim, _, _, repetitions, seed, holds), (check, row) in zip(shown, expected, strict=True):
        assert (claim, seed) == (row.claim.text, ", ".join(map(str, row.seed)) or "-")
        assert int(repetitions.replace(",", "")) == (check.repetitions if row.seed else 1)
        assert row.claim.holds(SHOWN[what]), what
        assert holds == ("-" if claim == "reported" else "yes")


def test_no_two_lines_come_from_one_stream_unless_from_one_check() -> None:
    owners: dict[tuple[int, ...], set[str]] = {}
    for check, row in expected_rows():
        if row.seed:
            owners.setdefault(row.seed, set()).add(check.name)
    assert all(len(names) == 1 for names in owners.values())


def test_without_its_guard_the_sequence_would_not_hold() -> None:
    # So the simulator sees what the guard is there for: early looks, a 90/10 split, a rate of 5%.
    rate = Bernoulli(0.05)
    trial = Trial(rate, rate, equally_spaced(30_000, 3_000), 0.1)
    free, guarded = (
        simulate(trial, Sequential(30_000, guard=guard), repetitions=400, rng=np.random.default_rng(1)).decided
        for guard in (False, True)
    )
    assert not at_most(0.03).holds(free)
    assert free.value > guarded.value


@pytest.mark.parametrize("share", [0.5, 0.1, 0.9])
def test_simulated_alarms_are_those_of_an_exact_recursion(share: float) -> None:
    # Independent of the simulation: probabilities of all paths that have not alarmed yet, event by event.
    alarming, alive = counts.alarms(share), np.zeros(counts.EVENTS + 1)
    alive[0], raised = 1.0, 0.0
    for events in range(1, counts.EVENTS + 1):
        alive[1:] = alive[1:] * (1 - share) + alive[:-1] * share
        alive[0] *= 1 - share
        treatment = np.arange(events + 1)
        now = alarming[treatment, events - treatment]
        raised += alive[: events + 1][now].sum()
        alive[: events + 1][now] = 0.0
    assert raised <= 0.05
    drawn = counts.raised(alarming, share, 4_000, np.random.default_rng(2))
    measured = share_of_runs(drawn)
    assert measured.value == pytest.approx(raised, abs=4 * measured.error)


def test_claims_know_when_they_do_not_hold() -> None:
    assert at_most(0.05).holds(Measured(0.05, 0.001))
    assert not at_most(0.05).holds(Measured(0.0501, 0.001))
    assert at_most(0.05).holds(Measured(0.0501, 0.001), errors=4)
    assert not at_least(0.8).holds(Measured(0.799, 0.01))
    assert between(0.945, 0.955).holds(Measured(0.95, 0.1))
    assert not between(0.945, 0.955).holds(Measured(0.96, 0.1))
    assert near(0.142, 0.0005).holds(Measured(0.1465, 0.001))
    assert not near(0.142, 0.0005).holds(Measured(0.1466, 0.001))
    assert not at_most(0.05).holds(Measured(float("nan"), 0.0))


def test_a_line_that_does_not_hold_is_seen_on_the_page() -> None:
    section = SECTIONS[0]
    check = section.checks[0]
    rows = [
        Row("good", at_most(0.05), Measured(0.04, 0.001), 1_000, (101, 0)),
        Row("bad", at_most(0.05), Measured(0.06, 0.001), 1_000, (101, 1)),
        Row("told", REPORTED, Measured(0.5, 0.01), 1, ()),
    ]
    page = as_page({section: {check: rows}})
    assert "| good | at most 0.05 | 0.0400 | 0.0010 | 1,000 | 101, 0 | yes |" in page
    assert "| bad | at most 0.05 | 0.0600 | 0.0010 | 1,000 | 101, 1 | **no** |" in page
    assert "| told | reported | 0.5000 | 0.0100 | 1 | - | - |" in page


def test_sixty_complaints_against_none_alarm() -> None:
    assert float(sequential.harm_p_value(60, 0, share=0.5)) < 1e-15
