"""`abplatform_sdk`: snapshots come from a loopback server that is gone before anything is timed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from abplatform_sdk import Client

from benchmarks.sdk_peers.sink import Sink
from benchmarks.sdk_peers.snapshots import document
from benchmarks.sdk_peers.work import ATTRIBUTES, EXPERIMENT, MANY, OFF


class Clients:
    """Opens clients that have a snapshot and no server any more, as after an outage.

    The snapshot comes from the disk copy. The sender of such a client, woken by its queue, is refused by the closed
    port and waits; its queue holds a round, which a client with a server would have sent meanwhile.
    """

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        sink = Sink(json.dumps(snapshot).encode())
        self._url = sink.url
        self.open(10).close(0)
        sink.stop()

    def open(self, timeout: float = 0) -> Client:
        """A client whose queue is never full in a round; it waits so long for a server."""
        client = Client(
            self._url,
            "sdk-key",
            cache_dir=self._folder.name,
            max_queue=1_000_000,
            batch_size=1000,
            flush_interval=60,
            poll_interval=3600,
        )
        if not client.wait_ready(timeout):
            raise RuntimeError("the client has no snapshot")
        return client


class Ours:
    """One client for all decisions, and a fresh one for each round of exposures."""

    def __init__(self) -> None:
        self._clients = Clients(document([EXPERIMENT]))
        self._client = self._clients.open()
        self._logging = self._clients.open()
        self._many = Clients(document(MANY)).open()

    def evaluate(self, units: Sequence[str]) -> None:
        client = self._client
        for unit in units:
            client.evaluate(EXPERIMENT, unit, ATTRIBUTES)

    def assign(self, units: Sequence[str]) -> None:
        client = self._logging
        for unit in units:
            client.assign(EXPERIMENT, unit, ATTRIBUTES)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        client = self._many
        if hasattr(client, "evaluate_all"):
            return client.evaluate_all(unit, ATTRIBUTES)
        return {key: client.evaluate(key, unit, ATTRIBUTES) for key in MANY}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        decision = self._client.evaluate(EXPERIMENT, unit, attributes)
        return str(decision.variant) if decision.in_experiment else OFF

    def settle(self) -> int:
        stats = self._logging.stats()
        if stats.dropped or stats.evaluation_errors:
            raise RuntimeError(f"exposures were dropped: {stats}")
        self._logging.close(0)
        self._logging = self._clients.open()
        return stats.produced


def start() -> Ours:
    return Ours()
