"""For pytest: the fixture ``abplatform_client``, found through the entry point ``pytest11``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import TestingClient


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "abplatform(variants=None, payloads=None, snapshot=None, strict=False): "
        "what the fixture abplatform_client decides; as abplatform_sdk.testing.client",
    )


@pytest.fixture
def abplatform_client(request: pytest.FixtureRequest) -> Iterator[TestingClient]:
    """A client without a network; markers ``abplatform`` of test, class and module say what it decides."""
    from .testing import TestingClient

    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("abplatform"):
        options = marker.kwargs | options
    client = TestingClient(**options)
    yield client
    client.close(0)
