"""Bringing events to the server: one lane per kind, with a thread, retries and an account of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .buffer import Account, EventBuffer
from .config import Config
from .notices import Troubles
from .sender import Sender
from .stats import FlushResult
from .worker import Worker

if TYPE_CHECKING:
    from .transport import Transport

_MOST_WAITING_BYTES = 16 * 1024 * 1024


class Lane:
    """All that one kind of event needs on its way: buffer, sender, thread.

    Args:
        kind: ``exposures`` or ``conversions``, also the path of the call.
        config: of the client.
        transport: gives the way to the server.
        troubles: where failures are reported.
        on_start: called after each start of the thread.

    Attributes:
        buffer: where its events wait.
    """

    def __init__(
        self,
        kind: str,
        *,
        config: Config,
        transport: Callable[[], Transport],
        troubles: Troubles,
        on_start: Callable[[], None],
    ) -> None:
        self.buffer = EventBuffer(max_events=config.max_queue, max_bytes=_MOST_WAITING_BYTES, wake=self._wake)
        self._sender = Sender(f"/{kind}", self.buffer, transport=transport, config=config, troubles=troubles)
        self._worker = Worker(f"abplatform-{kind}", self._sender.step, troubles=troubles, on_start=on_start)

    def renew(self) -> None:
        """Begin anew in a forked child: the parent sends what it had."""
        self.buffer.renew()
        self._sender.renew()
        self._worker.renew()

    def put(self, event: bytes) -> bool:
        """Queue one event; False if it was dropped."""
        return self.buffer.put(event)

    def refuse(self, reason: str) -> None:
        """Count an event that cannot be sent."""
        self.buffer.refuse(reason)

    def hurry(self) -> int:
        """Send what waits now; gives the mark for `wait`."""
        mark = self.buffer.mark()
        if not self.buffer.reached(mark):
            self._sender.hurry()
            self._wake()
        return mark

    def wait(self, mark: int, deadline: float) -> bool:
        """Wait until everything before ``mark`` is settled, at most until ``deadline``."""
        if not self.buffer.reached(mark) and not self._worker.ensure():
            self._send_here(mark, deadline)
        return self.buffer.wait(mark, deadline)

    def seal(self, reason: str = "closed") -> None:
        """Drop what comes from now on, for ``reason``."""
        self.buffer.seal(reason)

    def close(self, deadline: float) -> None:
        """Stop the thread and drop what still waits."""
        self._worker.stop()
        self.buffer.close("undelivered")
        self._worker.join(deadline - time.monotonic())

    def account(self) -> Account:
        """What became of the events."""
        return self.buffer.account()

    def _wake(self) -> bool:
        self._worker.wake()
        return self._worker.ensure()

    def _send_here(self, mark: int, deadline: float) -> None:
        """Send in the calling thread: at the very end of a process no thread can be started."""
        while not self.buffer.reached(mark) and (budget := deadline - time.monotonic()) > 0:
            pause = self._sender.step(budget)
            if pause is not None and pause > 0:
                time.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))


class Delivery:
    """Both lanes together.

    Args:
        config: of the client.
        transport: gives the way to the server.
        troubles: where failures are reported.
        on_start: called after each start of a thread.
    """

    def __init__(
        self,
        config: Config,
        *,
        transport: Callable[[], Transport],
        troubles: Troubles,
        on_start: Callable[[], None],
    ) -> None:
        self.exposures, self.conversions = (
            Lane(kind, config=config, transport=transport, troubles=troubles, on_start=on_start)
            for kind in ("exposures", "conversions")
        )
        self._lanes = (self.exposures, self.conversions)

    def renew(self) -> None:
        """Begin anew in a forked child."""
        for lane in self._lanes:
            lane.renew()

    def seal(self, reason: str) -> None:
        """Drop whatever comes from now on, for ``reason``."""
        for lane in self._lanes:
            lane.seal(reason)

    def flush(self, deadline: float) -> FlushResult:
        """Send what waits now, at most until ``deadline`` (monotonic clock)."""
        before = self.account()
        marks = [lane.hurry() for lane in self._lanes]
        for lane, mark in zip(self._lanes, marks, strict=True):
            lane.wait(mark, deadline)
        return _since(before, self.account())

    def close(self, deadline: float) -> FlushResult:
        """Send what waits, stop the threads, drop what is left."""
        before = self.account()
        self.seal("closed")
        self.flush(deadline)
        for lane in self._lanes:
            lane.close(deadline)
        return _since(before, self.account())

    def account(self) -> Account:
        """What became of all events."""
        total = Account()
        for account in (lane.account() for lane in self._lanes):
            total.produced += account.produced
            total.delivered += account.delivered
            total.rejected += account.rejected
            total.dropped += account.dropped
            total.pending += account.pending
            total.reasons += account.reasons
        return total


def _since(before: Account, after: Account) -> FlushResult:
    return FlushResult(
        delivered=after.delivered - before.delivered,
        rejected=after.rejected - before.rejected,
        dropped=after.dropped - before.dropped,
        pending=after.pending,
    )
