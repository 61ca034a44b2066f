"""A client without threads and without a network: the test does each step of its senders."""

from __future__ import annotations

import json
from typing import Any

from abplatform_sdk import Client, process
from abplatform_sdk._assignment import decode_snapshot
from abplatform_sdk.reply import Reply

from tests.sdk.snapshots import snapshot


class Wire:
    """In the place of the network: gives a snapshot, takes every event."""

    def __init__(self) -> None:
        self.snapshot = snapshot()
        self.units: list[str] = []

    def get(self, path: str, *, etag: str | None, most_bytes: int) -> Reply:
        return Reply(200, json.dumps(self.snapshot).encode(), etag=None, retry_after=0.0)

    def post(self, path: str, body: bytes, **_: object) -> Reply:
        units = [event["unit_id"] for event in json.loads(body)["events"]]
        self.units += units
        return Reply(202, json.dumps({"accepted": len(units), "rejected": []}).encode(), etag=None, retry_after=0.0)

    def close(self) -> None:
        """Nothing is open."""


class Calls:
    """In the place of a thread: counts how often it was woken. The test does its steps."""

    def __init__(self) -> None:
        self.count = 0

    def ensure(self) -> bool:
        return True

    def wake(self) -> None:
        self.count += 1

    def stop(self) -> None:
        """There is no thread."""

    def join(self, timeout: float) -> None:
        """There is no thread."""


class StillClient(Client):
    """A client without threads and without a network. Its senders sleep, as after all was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__("http://127.0.0.1:9", "key", **({"cache_dir": None, "flush_interval": 60.0} | options))
        # Thousands are made: nothing outside keeps them.
        process.unregister(self)
        self.wire = Wire()
        self._polling = Calls()  # type: ignore[assignment]
        self.lane = self._delivery.exposures
        self.calls = Calls()
        for lane in (self._delivery.exposures, self._delivery.conversions):
            lane._worker = self.calls  # type: ignore[assignment]
            lane._sender.step()

    def _open_transport(self) -> Any:
        return self.wire

    def with_snapshot(self) -> StillClient:
        """A client that decides already."""
        self._store.hold(decode_snapshot(self.wire.snapshot), "server")
        self.evaluate("rate-display", "u-0")
        return self


class Sleeper:
    """The sender of the exposures, as its thread drives it: a step, then sleep until it is woken or the time comes."""

    def __init__(self, client: StillClient) -> None:
        self._client = client
        self._seen = 0
        self.delay: float | None = None

    def step(self) -> None:
        """One step."""
        self._seen = self._client.calls.count
        self.delay = self._client.lane._sender.step()

    @property
    def will_look(self) -> bool:
        """Whether another step comes by itself."""
        return self.delay is not None or self._client.calls.count > self._seen

    def run(self) -> None:
        """Steps as long as there is reason for one now."""
        for _ in range(10):
            if self._client.calls.count == self._seen and self.delay != 0:
                return
            self.step()
        raise AssertionError("the sender finds no rest")
