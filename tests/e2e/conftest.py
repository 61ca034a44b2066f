"""What the simulated disk needs."""

from __future__ import annotations

import os

import pytest

from tests.chaos.server.disk import NoCompiler, find_compiler


@pytest.fixture
def compiler() -> str:
    """Path of a C compiler: without one the simulated disk is skipped, and fails where ``CI=true``."""
    try:
        return find_compiler()
    except NoCompiler as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
