"""When an earlier answer is still the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abplatform.domain.aggregates import LakeState
from abplatform.domain.evidence import Evidence
from tests.builders import a_metric, later
from tests.domain.aggregations import a_rate, a_request, an_aggregation, an_evidence

KNOWN = an_evidence()


def answers(known: Evidence = KNOWN, engine: str = "duckdb 1.5.5", version: str = "0.1", **changes: object) -> bool:
    return known.answers(a_request(**changes), engine=engine, version=version)


def test_the_same_question_about_the_same_state_has_the_same_answer_later() -> None:
    assert answers(as_of=later(days=100))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": LakeState(exposures=7, conversions=9)},
        {"state": LakeState(exposures=None, conversions=8)},
        {"until": later(days=1)},
        {"enrolled_until": later(days=1)},
        {"metrics": (a_metric(where={"product": "fund"}),)},
        {"unit_type": "device_id"},
        {"adjusted": ("purchase",)},
        {"engine": "duckdb 1.5.6"},
        {"version": "0.2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_question_state_or_program_has_its_own(changes: dict[str, str]) -> None:
    assert not answers(**changes)


def test_a_window_that_was_open_may_have_closed_since() -> None:
    waiting = an_aggregation(a_rate("control", 10, 1), a_rate("treatment", 10, 1, open_units=1))
    assert not answers(an_evidence(waiting))


def test_after_the_end_no_window_closes_any_more() -> None:
    waiting = an_aggregation(a_rate("control", 10, 1), a_rate("treatment", 10, 1, open_units=1))
    end = later(days=3)
    assert answers(an_evidence(waiting, until=end, as_of=end), until=end, as_of=later(days=9))
    assert not answers(an_evidence(waiting, until=end, as_of=later(days=2)), until=end, as_of=later(days=9))


def test_the_cut_off_has_numbers_of_states_as_text() -> None:
    cut_off = an_evidence(state=LakeState(exposures=2**63 - 1, conversions=None)).cut_off
    assert (cut_off.exposures, cut_off.conversions) == ("9223372036854775807", None)
    assert replace(KNOWN, engine="spark 4.0.1").cut_off.engine == "spark 4.0.1"
