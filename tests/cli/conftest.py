"""What every test of a command leaves behind: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Some commands have the log of the process on stderr, which in a test is closed afterwards."""
    yield
    structlog.reset_defaults()
