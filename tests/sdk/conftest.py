"""A server on loopback, and clients that are closed after the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from abplatform_sdk import Client

from tests.sdk.server import KEY, PlatformServer
from tests.sdk.snapshots import snapshot

QUICK: dict[str, Any] = {
    "poll_interval": 0.05,
    "flush_interval": 0.02,
    "connect_timeout": 0.5,
    "read_timeout": 0.3,
    "close_timeout": 1.0,
    "cache_dir": None,
}


@pytest.fixture
def server() -> Iterator[PlatformServer]:
    """A platform with one running experiment."""
    platform = PlatformServer(snapshot())
    yield platform
    platform.stop()


@pytest.fixture
def make_client(server: PlatformServer) -> Iterator[Callable[..., Client]]:
    """Makes clients of the server with quick intervals; options can be changed."""
    clients = []

    def make(*, kind: type[Client] = Client, url: str | None = None, **options: Any) -> Client:
        client = kind(url or server.url, api_key=KEY, **(QUICK | options))
        clients.append(client)
        return client

    yield make
    server.stop()
    for client in clients:
        client.close(0)


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """A client that has its first snapshot."""
    ready = make_client()
    assert ready.wait_ready(5)
    return ready


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits until something holds, at most 5 seconds."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < deadline, "did not come true within 5 seconds"
            time.sleep(0.01)

    return wait
