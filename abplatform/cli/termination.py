"""Commands that have something to finish when they are told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """The process was told to end; its exit status is 128 and the number of the signal, as shells have it."""


@contextmanager
def end_when_told() -> Iterator[None]:
    """While the context lasts, SIGTERM and SIGHUP end the work as Ctrl-C does: by an exception.

    What is open is closed, and the audit trail says how it ended. For commands alone, which own the main thread.
    """
    # What is ignored stays ignored, as under nohup.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise Terminated(128 + number)
