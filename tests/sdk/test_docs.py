"""The page about the client is complete."""

from __future__ import annotations

import re
from pathlib import Path

from abplatform_sdk import Config
from abplatform_sdk._assignment import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
# Leaves an attribute out; no event is dropped for it.
NOT_COUNTED = {"invalid_attribute"}


def test_each_option_is_documented() -> None:
    for name in Config._fields:
        assert f"`{name}`" in PAGE


def test_each_reason_of_a_decision_is_documented() -> None:
    for name in vars(Reason):
        assert name.startswith("_") or f"`{name}`" in PAGE


def test_each_drop_reason_is_documented() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "sdk" / "abplatform_sdk").glob("*.py")]
    named = {reason for source in sources for reason in re.findall(r'"(invalid_\w+|too_large)"', source)}
    dropped = {
        reason for source in sources for reason in re.findall(r'(?:refuse|seal|buffer\.close)\("(\w+)"\)', source)
    }
    dropped |= {"queue_full"}
    assert {"closed", "offline", "undelivered", "error"} <= dropped
    for reason in (named | dropped) - NOT_COUNTED:
        assert f"`{reason}`" in PAGE
