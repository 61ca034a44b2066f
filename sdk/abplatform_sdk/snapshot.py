"""The snapshot that answers, its copy on disk for a start while the server is down, and the poller that renews it."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ._assignment import Snapshot, decode_snapshot
from .config import Config
from .counts import SnapshotSource
from .notices import SnapshotNews, Troubles
from .reply import Backoff, Reply, TransportError

if TYPE_CHECKING:
    from .transport import Transport

_LARGEST = 16 * 1024 * 1024

# A copy that is older, in seconds, and still has its first name, was never written to its end.
_HALF_WRITTEN = 3600

# Who ends a client waits so long for a snapshot that is being taken. Only a disk that hangs needs more.
_SEAL_GRACE = 0.2

# A look that fails now and then is nothing; after so many intervals without an answer the snapshot counts as stale.
_STALE_INTERVALS = 3

# What a product may hand over instead of a server: a file (text is its path), its bytes, or the parsed document.
Given = bytes | Mapping[str, Any] | str | os.PathLike[str]


def read_given(given: Given) -> bytes | Mapping[str, Any]:
    """The document, or its bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return given if isinstance(given, (bytes, Mapping)) else Path(given).read_bytes()


class DiskCopy:
    """One file per server and key, readable by its owner only, replaced as a whole.

    The first line authenticates the rest under the API key: a copy that is cut, changed or planted by somebody
    else is not used. The file's name tells neither the server nor the key. The directory is made when first needed.
    """

    def __init__(self, directory: str | os.PathLike[str], *, base_url: str, api_key: str) -> None:
        self._secret = api_key.encode()
        name = hashlib.sha256(f"{base_url}\0{api_key}".encode()).hexdigest()[:32]
        self._path = Path(directory, f"snapshot-{name}.json")

    def read(self) -> bytes | None:
        """The snapshot, or None if there is no copy; OSError or ValueError if it cannot be used."""
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST + 100)
        except FileNotFoundError:
            return None
        seal, _, document = content.partition(b"\n")
        if not hmac.compare_digest(seal, self._seal(document)):
            raise ValueError("the disk copy is damaged")
        return document

    def write(self, document: bytes, *, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Replace the copy, if it is still wanted when the new one lies on the disk.

        Raises:
            OSError: the file cannot be written; the former copy is untouched.
        """
        import tempfile

        folder, prefix = self._path.parent, f".{self._path.name}-"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob(f"{prefix}*"):  # of a process that was killed while it wrote
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - _HALF_WRITTEN:
                    path.unlink()
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=prefix)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._seal(document) + b"\n" + document)
                file.flush()
                os.fsync(file.fileno())
            if is_wanted():
                Path(temporary).replace(self._path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _seal(self, document: bytes) -> bytes:
        return hmac.new(self._secret, document, "sha256").hexdigest().encode()


def open_disk_copy(config: Config) -> DiskCopy | None:
    if config.cache_dir is None:
        return None
    return DiskCopy(config.cache_dir, base_url=config.base_url, api_key=config.api_key)


class SnapshotStore:
    """Holds the newest snapshot seen. Reading `current` takes no lock; ``install`` is called when one was adopted."""

    def __init__(self, disk: DiskCopy | None, *, install: Callable[[], None]) -> None:
        self.current: Snapshot | None = None
        self.source: SnapshotSource | None = None
        self.is_sealed = False
        self._disk = disk
        self._install = install
        self._adopted = b""
        self.renew()

    def renew(self) -> None:
        self.cache_failures = 0
        self._taking = threading.RLock()

    def seal(self) -> None:
        """Keep the snapshot that answers, and the disk copy as it is."""
        self.is_sealed = True
        # Who saw the seal open is through in a moment.
        if self._taking.acquire(timeout=_SEAL_GRACE):
            self._taking.release()

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
        """Take a snapshot from the server unless sealed, or a newer one answers already; whether it was taken.

        Raises:
            ValueError: it is not a snapshot.
        """
        digest = hashlib.sha256(document).digest()
        if digest == self._adopted and not self.is_sealed:
            return True  # from a server, or by way of a proxy, that gives no ETag
        snapshot = decode_snapshot(document)
        with self._taking:
            if self.is_sealed or (self.current is not None and snapshot.version < self.current.version):
                return False
            self.hold(snapshot, "server")
            self._adopted = digest
            self._install()
            self._save(document)
        return True

    def hold(self, snapshot: Snapshot, source: SnapshotSource) -> None:
        self.current, self.source = snapshot, source

    def _save(self, document: bytes) -> None:
        if self._disk is None:
            return
        try:
            self._disk.write(document, is_wanted=lambda: not self.is_sealed)
        except (OSError, ValueError):
            self.cache_failures += 1


class Poller:
    """Asks the server for a newer snapshot every ``interval`` seconds, and tells the news in the thread that looks.

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
        self.failures = 0
        self._store.renew()
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
            reply = self._transport().get("/snapshot", etag=self._etag, most_bytes=_LARGEST)
        except TransportError as error:
            return self._failed("snapshot_unreachable", str(error))
        if reply.status == 200:
            return self._received(reply)
        if reply.status == 304 and self._etag is not None:
            return self._confirm()
        return self._failed("snapshot_refused", str(reply), reply.retry_after)

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
            self._report("changed")
        return pause

    def _confirm(self) -> float:
        self._backoff = Backoff()
        is_news = self.confirmed_at is None or self._is_doubtful
        self.confirmed_at = time.monotonic()
        self.trouble = None
        self._is_doubtful = False
        if is_news:
            self._report("ready")
        self._confirmed.set()
        # A tenth to and fro: many processes that started together drift apart.
        return self._interval * random.uniform(0.9, 1.1)  # noqa: S311

    def _failed(self, kind: str, what: str, retry_after: float = 0.0) -> float:
        if self._store.is_sealed:
            return self._interval
        self.failures += 1
        self.trouble = what
        state = (
            "no snapshot yet" if self._store.current is None else "no newer snapshot, the last good one stays in use"
        )
        self._troubles.warn(kind, "%s: %s", state, what)
        since = self.confirmed_at or self._began_at or 0.0
        if not self._is_doubtful and time.monotonic() - since >= _STALE_INTERVALS * self._interval:
            self._is_doubtful = True
            self._report("error" if self._store.current is None else "stale", what)
        return max(retry_after, min(self._backoff.next(), self._interval))

    def _report(self, kind: Literal["ready", "changed", "stale", "error"], message: str | None = None) -> None:
        current = self._store.current
        if not self._store.is_sealed:
            self._tell(SnapshotNews(kind, None if current is None else current.version, message))
