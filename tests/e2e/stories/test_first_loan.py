"""First loan free of interest: what looks good on day 30 is rolled back on day 120."""

from __future__ import annotations

from pathlib import Path

from abplatform.cli.stories import STORIES
from tests.e2e.stories.telling import check_recovered, result_of, telling

STORY = STORIES["first-loan"]
BAD_DEBT = "bad-debt-90-days"


def test_bad_debt_is_waited_for_and_then_decides(tmp_path: Path) -> None:
    with telling(tmp_path, STORY, units=14_000) as told:
        check_recovered(told)
    early, late = told.looks
    assert (early.day, late.day) == (30, 120)
    young = result_of(early.scorecard, BAD_DEBT)
    assert [arm.units for arm in young.variants] == [0, 0], "nobody is 90 days old"
    assert young.maturity is not None
    assert young.maturity.known_share == 0
    assert result_of(early.scorecard, "loan-taken").comparisons[0].verdict == "better"
    assert early.scorecard.decision.recommendation == "continue"
    assert early.scorecard.decision.awaits == (BAD_DEBT,)
    assert result_of(late.scorecard, BAD_DEBT).comparisons[0].verdict == "worse"
    assert late.scorecard.decision.recommendation == "roll_back"


def test_a_story_that_ends_on_day_30_is_as_the_look_of_that_day(tmp_path: Path) -> None:
    with telling(tmp_path / "whole", STORY, units=2000) as told:
        whole = told.looks[0].scorecard
    with telling(tmp_path / "part", STORY, units=2000, until_day=30) as told:
        part = told.last
    assert [each.day for each in told.looks] == [30]
    assert part.metrics[0] == whole.metrics[0]
    assert part.decision == whole.decision
