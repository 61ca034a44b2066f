"""The snapshot that answers, and the poller that keeps it fresh."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._assignment import Snapshot, decode_snapshot
from .disk import LARGEST, DiskCopy
from .notices import SnapshotNews, Troubles
from .reply import Backoff, Reply, TransportError
from .stats import SnapshotSource

if TYPE_CHECKING:
    from .transport import Transport

# A look that fails now and then is nothing; after so many intervals without an answer the snapshot counts as stale.
_STALE_INTERVALS = 3

# What a product may hand over instead of a server: a file (text is its path), its bytes, or the parsed document.
Given = bytes | Mapping[str, Any] | str | PathLike[str]


def read_given(given: Given) -> bytes | Mapping[str, Any]:
    """The document, or its bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return given if isinstance(given, (bytes, Mapping)) else Path(given).read_bytes()


class SnapshotStore:
    """Holds the newest snapshot seen. Reading `current` takes no lock.

    Args:
        disk: where a copy is kept; None keeps none.
    """

    def __init__(self, disk: DiskCopy | None) -> None:
        self.current: Snapshot | None = None
        self.source: SnapshotSource | None = None
        self.cache_failures = 0
        self._disk = disk

    def load_disk_copy(self) -> None:
        """Answer from the disk copy, if there is a sound one, until the server has answered."""
        if self._disk is None:
            return
        try:
            document = self._disk.read()
            if document is not None:
                self.hold(decode_snapshot(document), "disk")
        except Exception:  # noqa: BLE001 (whatever stands on the disk, the client starts)
            self.cache_failures += 1

    def adopt(self, document: bytes) -> bool:
        """Take a snapshot from the server unless a newer one answers already; whether it was taken.

        Raises:
            ValueError: it is not a snapshot.
        """
        snapshot = decode_snapshot(document)
        if self.current is not None and snapshot.version < self.current.version:
            return False
        self.hold(snapshot, "server")
        self._save(document)
        return True

    def hold(self, snapshot: Snapshot, source: SnapshotSource) -> None:
        """Answer from this snapshot."""
        self.current, self.source = snapshot, source

    def _save(self, document: bytes) -> None:
        if self._disk is None:
            return
        try:
            self._disk.write(document)
        except (OSError, ValueError):
            self.cache_failures += 1


class Poller:
    """Asks the server for a newer snapshot.

    Args:
        store: what it keeps fresh.
        transport: gives the way to the server.
        interval: seconds between two looks.
        troubles: where failures are reported.
        tell: hears the news, in the thread that looks.

    Attributes:
        failures: looks that failed.
        trouble: what went wrong at the last look; None if nothing did, or before the first.
        confirmed_at: monotonic time of the last good answer.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        transport: Callable[[], Transport],
        interval: float,
        troubles: Troubles,
        tell: Callable[[SnapshotNews], None],
    ) -> None:
        self.failures = 0
        self.trouble: str | None = None
        self.confirmed_at: float | None = None
        self._store = store
        self._transport = transport
        self._interval = interval
        self._troubles = troubles
        self._tell = tell
        self._backoff = Backoff()
        self._etag: str | None = None
        self._began_at: float | None = None
        self._is_doubtful = False
        self._confirmed = threading.Event()

    def renew(self) -> None:
        """Take new locks, count anew; what the parent had learned stays true in a forked child."""
        self.failures = self._store.cache_failures = 0
        self._confirmed = threading.Event()
        if self.confirmed_at is not None:
            self._confirmed.set()
        self._began_at = None

    @property
    def is_fresh(self) -> bool:
        """Whether the server has confirmed the snapshot, and it did not become stale since."""
        return self.confirmed_at is not None and not self._is_doubtful

    def wait(self, timeout: float) -> bool:
        """Wait for the first good answer of the server, at most ``timeout`` seconds."""
        return self._confirmed.wait(timeout)

    def step(self) -> float:
        """Look once. Gives the seconds until the next look: a failure is retried sooner, never in a hurry."""
        if self._began_at is None:
            self._began_at = time.monotonic()
        try:
            reply = self._transport().get("/snapshot", etag=self._etag, most_bytes=LARGEST)
        except TransportError as error:
            return self._failed("snapshot_unreachable", str(error))
        if reply.status == 200:
            return self._received(reply)
        if reply.status == 304 and self._etag is not None:
            return self._confirm()
        return self._failed("snapshot_refused", f"status {reply.status}", reply.retry_after)

    def _received(self, reply: Reply) -> float:
        before = self._store.current
        try:
            taken = self._store.adopt(reply.body)
        except Exception as error:  # noqa: BLE001 (a document of any shape must leave the last good one in place)
            return self._failed("snapshot_invalid", f"{type(error).__name__}: {error}")
        if not taken:
            return self._failed("snapshot_older", "older than the one in use")
        self._etag = reply.etag
        pause = self._confirm()
        now = self._store.current
        if before is not None and now is not None and now.version != before.version:
            self._tell(SnapshotNews("changed", now.version, None))
        return pause

    def _confirm(self) -> float:
        self._backoff.reset()
        is_news = self.confirmed_at is None or self._is_doubtful
        self.confirmed_at = time.monotonic()
        self.trouble = None
        self._is_doubtful = False
        if is_news:
            self._tell(SnapshotNews("ready", self._version(), None))
        self._confirmed.set()
        # A tenth to and fro: many processes that started together drift apart.
        return self._interval * random.uniform(0.9, 1.1)  # noqa: S311

    def _failed(self, kind: str, what: str, retry_after: float = 0.0) -> float:
        self.failures += 1
        self.trouble = what
        state = (
            "no snapshot yet" if self._store.current is None else "no newer snapshot, the last good one stays in use"
        )
        self._troubles.warn(kind, "%s: %s", state, what)
        since = self.confirmed_at or self._began_at or 0.0
        if not self._is_doubtful and time.monotonic() - since >= _STALE_INTERVALS * self._interval:
            self._is_doubtful = True
            version = self._version()
            self._tell(SnapshotNews("error" if version is None else "stale", version, what))
        return max(retry_after, min(self._backoff.next(), self._interval))

    def _version(self) -> int | None:
        current = self._store.current
        return None if current is None else current.version
