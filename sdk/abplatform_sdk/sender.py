"""Sending what waits: batches, retries, and what each answer of the server means."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .buffer import EventBuffer
from .config import Config
from .events import utc_text
from .notices import Troubles
from .reply import Backoff, Reply, TransportError, read_receipt

if TYPE_CHECKING:
    from .transport import Transport

_MOST_BATCH_BYTES = 4 * 1024 * 1024
_MOST_RECEIPT_BYTES = 1024 * 1024
# Enough to halve a full batch down to one event. A server that refuses more than that in a row is not worth a hurry.
_PATIENT_REFUSALS = 10


class Sender:
    """Sends the head of a buffer and settles it; what to do next follows from the answer alone."""

    def __init__(
        self,
        path: str,
        buffer: EventBuffer,
        *,
        transport: Callable[[], Transport],
        config: Config,
        troubles: Troubles,
    ) -> None:
        self._path = path
        self._buffer = buffer
        self._transport = transport
        self._config = config
        self._troubles = troubles
        self.renew()

    def renew(self) -> None:
        self._backoff = Backoff()
        self._limit = self._config.batch_size
        self._refusals = 0
        self._due_at: float | None = None
        self._rest_until = 0.0
        self._told_until = 0.0
        self._busy = threading.Lock()

    def hurry(self) -> None:
        """Send what is urgent now. Only a pause that the server asked for is kept."""
        self._rest_until = 0.0

    def step(self, deadline: float = math.inf) -> float | None:
        """Send one batch if it is time. Gives the seconds until the next step, None if nothing waits.

        Over at ``deadline`` (monotonic clock) at the latest; without one the timeouts decide.
        """
        # One at a time: at the end of a process several threads may flush by themselves.
        if not self._busy.acquire(timeout=min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)):
            return 0.0
        try:
            wait = self._wait(time.monotonic())
            if wait is None or wait > 0:
                return wait
            batch = self._buffer.head(most=self._limit, most_bytes=_MOST_BATCH_BYTES)
            # Nothing is left where all that waited turned out to be invalid.
            pause = self._send(batch, deadline) if batch else 0.0
            if pause > 0:
                self._rest_until = time.monotonic() + pause
            return self._wait(time.monotonic())
        finally:
            self._busy.release()

    def _wait(self, now: float) -> float | None:
        if self._buffer.arm(1) == 0:
            self._due_at = None
            return None
        if self._due_at is None:
            self._due_at = now + self._config.flush_interval
        rest_until = max(self._rest_until, self._told_until)
        enough = min(self._limit, self._config.max_queue)
        waiting = self._buffer.arm(math.inf if rest_until > now else enough)
        if waiting >= enough or not self._buffer.reached(self._buffer.urgent):
            self._due_at = now
        return max(self._due_at, rest_until) - now

    def _send(self, batch: list[bytes], deadline: float) -> float:
        """Try once. Gives the pause before the next try."""
        # `sent_at` is stamped at each attempt: the server measures the error of this clock by it.
        stamp = utc_text(time.time()).encode()
        body = b'{"events":[' + b",".join(batch) + b'],"sent_at":"' + stamp + b'"}'
        try:
            reply = self._transport().post(self._path, body, most_bytes=_MOST_RECEIPT_BYTES, deadline=deadline)
        except TransportError as error:
            return self._retry(str(error))
        if reply.status == 202:
            return self._accepted(reply, len(batch))
        if reply.status in {400, 413, 422}:
            return self._refused(reply.status, len(batch))
        self._told_until = time.monotonic() + reply.retry_after
        return self._retry(str(reply))

    def _accepted(self, reply: Reply, count: int) -> float:
        try:
            rejected = read_receipt(reply.body, count)
        except ValueError as error:
            return self._retry(str(error))
        if rejected:
            self._troubles.warn("rejected", "POST %s: events rejected: %s", self._path, dict(rejected))
        self._buffer.settle(count, rejected)
        self._backoff = Backoff()
        self._refusals = 0
        self._due_at = None
        self._limit = min(self._limit * 2, self._config.batch_size)
        return 0.0

    def _refused(self, status: int, count: int) -> float:
        """The server refuses the batch as a whole: halve it, until the event that is to blame stands alone."""
        self._refusals += 1
        if count > 1:
            self._limit = max(count // 2, 1)
        else:
            self._troubles.warn("refused", "POST %s: an event was refused: status %s", self._path, status)
            self._buffer.settle(1, {f"rejected:HTTP_{status}": 1})
        return 0.0 if self._refusals <= _PATIENT_REFUSALS else self._backoff.next()

    def _retry(self, what: str) -> float:
        self._troubles.warn("undelivered", "events wait for another attempt: %s", what)
        return self._backoff.next()
