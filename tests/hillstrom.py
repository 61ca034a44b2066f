"""The MineThatData E-Mail Analytics data (Kevin Hillstrom, 2008), where they are."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.cli.commands import ROOT

FILE = ROOT.parent / "shared" / "data" / "hillstrom.csv.gz"


def read_hillstrom() -> pd.DataFrame:
    """The raw file; skips the test where it is absent."""
    if not FILE.exists():
        pytest.skip(
            f"{FILE} is absent: the MineThatData E-Mail Analytics data (Kevin Hillstrom, 2008, public domain), "
            "64,000 rows with segment, history_segment, history, channel, visit, conversion and spend"
        )
    return pd.read_csv(FILE)
