"""Bringing events to the server: one lane per kind, with a thread, retries and an account of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .buffer import EventBuffer
from .config import Config
from .counts import Account, FlushResult
from .notices import Troubles
from .process import Worker
from .sender import Sender

if TYPE_CHECKING:
    from .transport import Transport

_MOST_WAITING_BYTES = 16 * 1024 * 1024
_QUEUE_FULL = "; queue_full: raise max_queue, lower flush_interval, or look whether the server is reachable"


class Lane:
    """All that one kind of event needs on its way: buffer, sender, thread. ``kind`` is also the path of the call."""

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
        self.buffer.renew()
        self._sender.renew()
        self._worker.renew()

    def hurry(self) -> int:
        """Send what waits now; gives the mark for `wait`."""
        mark = self.buffer.mark()
        if not self.buffer.reached(mark):
            self._sender.hurry()
            self._wake()
        return mark

    def wait(self, mark: int, deadline: float) -> bool:
        if not self.buffer.reached(mark) and not self._worker.ensure():
            self._send_here(mark, deadline)
        return self.buffer.wait(mark, deadline)

    def close(self, deadline: float) -> None:
        self._worker.stop()
        self.buffer.close("undelivered")
        self._worker.join(deadline - time.monotonic())

    def _wake(self) -> bool:
        self._worker.wake()
        return self._worker.ensure()

    def _send_here(self, mark: int, deadline: float) -> None:
        """Send in the calling thread: at the very end of a process no thread can be started."""
        while not self.buffer.reached(mark) and time.monotonic() < deadline:
            pause = self._sender.step(deadline)
            if pause is not None and pause > 0:
                time.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))


class Delivery:
    """Both lanes together; ``on_start`` is called after each try to start a thread."""

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
        self._troubles = troubles
        self._drops_reported = 0

    def renew(self) -> None:
        self._drops_reported = 0
        for lane in self._lanes:
            lane.renew()

    def seal(self, reason: str) -> None:
        for lane in self._lanes:
            lane.buffer.seal(reason)

    def flush(self, deadline: float) -> FlushResult:
        """Send what waits now, at most until ``deadline`` (monotonic clock)."""
        before = self.account()
        marks = [lane.hurry() for lane in self._lanes]
        for lane, mark in zip(self._lanes, marks, strict=True):
            lane.wait(mark, deadline)
        return _since(before, self.account())

    def close(self, deadline: float) -> FlushResult:
        before = self.account()
        self.seal("closed")
        self.flush(deadline)
        for lane in self._lanes:
            lane.close(deadline)
        self.report_drops("closed, ")
        return _since(before, self.account())

    def report_drops(self, when: str = "") -> None:
        """Log what was dropped since it was last said, and why: the request path never logs."""
        account = self.account()
        reasons = dict(account.reasons)
        dropped = account.dropped - reasons.get("offline", 0)  # those were never to be sent
        if dropped > self._drops_reported:
            advice = _QUEUE_FULL if "queue_full" in reasons else ""
            if self._troubles.warn(f"{when}dropped", "%sevents dropped so far: %s%s", when, reasons, advice):
                self._drops_reported = dropped

    def account(self) -> Account:
        accounts: tuple[Any, Any] = self.exposures.buffer.account(), self.conversions.buffer.account()
        return Account(*(one + other for one, other in zip(*accounts, strict=True)))


def _since(before: Account, after: Account) -> FlushResult:
    delivered, rejected, dropped = (now - then for then, now in zip(before[1:4], after[1:4], strict=True))
    return FlushResult(delivered, rejected, dropped, after.pending)
