"""A setting that nobody documented does not exist for its users."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from abplatform.settings import PREFIX, Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(ABPLATFORM_\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert documented == {PREFIX + field.name.upper() for field in fields(Settings)}
