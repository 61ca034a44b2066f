"""What people and programs read, as reviewed: a change shows as a diff of these files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abplatform.readout.text import as_text
from tests.readouts.regenerate import FOLDER, reviewed_files
from tests.readouts.scorecards import ALL, fixed_scorecard, hostile_scorecard


@pytest.mark.parametrize("name", [f"{name}.{ending}" for name in ALL for ending in ("txt", "json")])
def test_readout_is_as_reviewed(name: str) -> None:
    reviewed = Path(FOLDER, name).read_text(encoding="utf-8")
    assert reviewed_files()[name] == reviewed, "if the change is wanted: python -m tests.readouts.regenerate"


def test_json_is_unrounded_and_times_are_rfc_3339() -> None:
    document = json.loads(reviewed_files()["fixed.json"])
    assert document["metrics"][0]["variants"][0]["mean"] == 0.10616727682343001
    assert document["metrics"][1]["variants"][0]["sum"] == "13908.330000"
    assert document["computed_at"] == "2026-11-23T12:00:00Z"


def test_decision_and_health_stand_before_the_numbers() -> None:
    text = as_text(fixed_scorecard())
    assert text.index("Ship Mens E-Mail") < text.index("Health: ok") < text.index("Primary metrics")


def test_plain_text_has_no_escape_codes_and_coloured_text_has() -> None:
    assert "\x1b" not in as_text(fixed_scorecard())
    assert "\x1b[" in as_text(fixed_scorecard(), colour=True)


def test_names_cannot_send_codes_to_the_terminal_or_turn_the_reading_direction() -> None:
    text = as_text(hostile_scorecard())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text, "markup in a name is text"
