"""A background thread that starts on first use, and again after a fork."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from .notices import Troubles

_PAUSE_AFTER_ERROR = 5.0


class Worker:
    """One daemon thread that calls ``step`` again and again.

    Args:
        name: of the thread.
        step: one piece of work; gives the seconds until the next one, None for "when woken".
        troubles: where an error of ``step`` is reported; it does not end the thread.
        on_start: called after each start of a thread, in the thread that caused it.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        troubles: Troubles,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._step = step
        self._troubles = troubles
        self._on_start = on_start
        self._stopping = False
        self.renew()

    def renew(self) -> None:
        """Forget the thread and the locks: in a forked child they belong to the parent."""
        self._lock = threading.RLock()
        # Released by a call that the thread has not heard yet. An Event would have a lock inside, on which a signal
        # handler that calls in the middle of a call would wait for ever.
        self._call = threading.Lock()
        self._call.acquire()
        self._thread: threading.Thread | None = None

    def ensure(self) -> bool:
        """Start the thread unless it runs. False if there is none to be had, as at the end of the process."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        with self._lock:
            if self._stopping:
                return False
            if self._thread is not None and self._thread.is_alive():
                return True
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        self._on_start()
        return True

    def wake(self) -> None:
        """Let the next step begin now."""
        with suppress(RuntimeError):  # called already
            self._call.release()

    def stop(self) -> None:
        """End the thread after its current step, for good."""
        self._stopping = True
        self.wake()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread, at most ``timeout`` seconds."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(timeout, 0.0))

    def _run(self) -> None:
        while not self._stopping:
            try:
                delay = self._step()
            except (Exception, SystemExit) as error:  # noqa: BLE001 (neither a defect of ours nor a listener ends it)
                self._troubles.warn("internal", "%s: %s: %s", self._name, type(error).__name__, error)
                delay = _PAUSE_AFTER_ERROR
            self._call.acquire(timeout=-1 if delay is None else max(delay, 0.0))
