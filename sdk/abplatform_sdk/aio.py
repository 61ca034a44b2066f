"""The client for asyncio: what waits is awaited, everything else is the same."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Unpack

from .client import Client
from .config import Options
from .counts import FlushResult


class AsyncClient:
    """A `Client` whose waiting does not hold the event loop.

    All other calls are those of `Client`: they never wait, so they are called without ``await``. As an async context
    manager it waits for the first snapshot on entry (at most 5 seconds) and closes on exit.

    Arguments and errors are those of `Client`; ``client``, an existing one to wrap, stands instead of them.
    """

    def __init__(
        self, base_url: str = "", api_key: str = "", *, client: Client | None = None, **options: Unpack[Options]
    ) -> None:
        self.client = client if client is not None else Client(base_url, api_key, **options)
        self.assign = self.client.assign
        self.evaluate = self.client.evaluate
        self.evaluate_all = self.client.evaluate_all
        self.expose = self.client.expose
        self.track = self.client.track
        self.force = self.client.force
        self.stats = self.client.stats
        self.add_listener = self.client.add_listener
        self.add_snapshot_listener = self.client.add_snapshot_listener

    async def wait_ready(self, timeout: float = 5.0) -> bool:
        """As `Client.wait_ready`."""
        return await asyncio.to_thread(self.client.wait_ready, timeout)

    async def flush(self, timeout: float | None = None) -> FlushResult:
        """As `Client.flush`."""
        return await asyncio.to_thread(self.client.flush, timeout)

    async def close(self, timeout: float | None = None) -> FlushResult:
        """As `Client.close`."""
        return await asyncio.to_thread(self.client.close, timeout)

    async def __aenter__(self) -> AsyncClient:
        await self.wait_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        await self.close()
