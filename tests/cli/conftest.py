"""What every test of a command leaves behind: nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Some commands have the log of the process on stderr, which in a test is closed afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("abplatform")
    before, levels = list(root.handlers), (root.level, ours.level)
    yield
    structlog.reset_defaults()
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
