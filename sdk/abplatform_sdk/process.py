"""Threads, forks and the end of a process, also in hosts that do these behind Python's back."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from .notices import Troubles

if TYPE_CHECKING:
    from .client import Client

_PAUSE_AFTER_ERROR = 5.0

# Held while a thread of ours imports modules, and over each fork: a child that inherits a half-done import
# would wait for ever on the import lock of a thread that it does not have.
importing = threading.RLock()

_members: dict[Client, float] = {}
# Those that are closed still have locks.
_all: weakref.WeakSet[Client] = weakref.WeakSet()


class Worker:
    """One daemon thread that calls ``step`` again and again.

    Args:
        step: one piece of work; gives the seconds until the next one, None for "when woken".
        on_start: called after each try to start a thread.
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
        self._is_starting = False

    def ensure(self) -> bool:
        """Start the thread unless it runs. False if there is none to be had, as at the end of the process."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        with self._lock:
            # A signal handler may ask in the middle of the start below.
            if self._stopping or self._is_starting:
                return False
            if self._thread is not None and self._thread.is_alive():
                return True
            try:
                self._is_starting = True
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            except RuntimeError:
                self._thread = None
            finally:
                self._is_starting = False
        self._on_start()
        return self._thread is not None

    def wake(self) -> None:
        with suppress(RuntimeError):  # called already
            self._call.release()

    def stop(self) -> None:
        """End the thread after its current step, for good."""
        self._stopping = True
        self.wake()

    def join(self, timeout: float) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(max(timeout, 0.0))

    def _run(self) -> None:
        # Another one has its place if a signal handler broke off the start of this one.
        while not self._stopping and self._thread is threading.current_thread():
            try:
                delay = self._step()
            except (Exception, SystemExit) as error:  # noqa: BLE001 (neither a defect of ours nor a listener ends it)
                self._troubles.warn("internal", "%s: %s: %s", self._name, type(error).__name__, error)
                delay = _PAUSE_AFTER_ERROR
            self._call.acquire(timeout=-1 if delay is None else max(delay, 0.0))


def register(member: Client, close_timeout: float) -> None:
    """Tell ``member`` about forks, and close it at the end of the process in so many seconds."""
    _members[member] = close_timeout
    _all.add(member)
    _watch()


def unregister(member: Client) -> None:
    """Leave ``member`` open at the end of the process."""
    _members.pop(member, None)


def close_with_child() -> None:
    """Close all at the end of a child that ends without running what atexit holds."""
    # These are other people's modules, and this runs inside a call of the product.
    with suppress(Exception):
        _close_with_multiprocessing(os.getpid())
        _close_with_celery()


def _close_all() -> None:
    """Close all members within the longest of their times, none in more than its own.

    All send at once. Those that cannot start a thread do so one by one: each has a share of the time, then the rest.
    """
    began = time.monotonic()
    ends = {member: began + close_timeout for member, close_timeout in _members.copy().items()}
    last = max(ends.values(), default=began)

    def run(call: Callable[[float], object], end: float, share: float) -> None:
        now = time.monotonic()
        with suppress(Exception):  # one that fails does not keep the others open
            call(max(min(end - now, (last - now) * share), 0.0))

    for member, end in ends.items():
        run(member.flush, end, 0.0)
    for index, (member, end) in enumerate(ends.items()):
        run(member.flush, end, 1 / (len(ends) - index))
    for member, end in ends.items():
        run(member.close, end, 1.0)


def _in_child() -> None:
    importing.release()
    _renew()


@cache
def _watch() -> None:
    atexit.register(_close_all)
    _after_uwsgi_fork()


def _renew() -> None:
    for member in list(_all):
        member.after_fork_in_child()


def _after_uwsgi_fork() -> None:
    """Renew all in each process that uWSGI forks: it does so in C, and what Python holds for a fork never runs.

    Without it a worker would believe in threads that only the master has: it would keep an old snapshot and send
    nothing, without a word.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    with suppress(Exception):
        # When it is first imported it replaces the one hook there is: let it do so before us.
        __import__("uwsgidecorators")
    former = getattr(uwsgi, "post_fork_hook", None)
    parent = os.getpid()

    def hook() -> None:
        if os.getpid() != parent:  # without a master the parent is a worker too, and hears of it
            _renew()
        if callable(former):
            former()

    uwsgi.post_fork_hook = hook  # type: ignore[attr-defined]


def _close_with_celery() -> None:
    """Close all at the end of a Celery pool process, which runs neither exit handlers nor finalizers."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: _close_all(), weak=False, dispatch_uid=_close_all)


@cache
def _close_with_multiprocessing(_pid: int) -> None:
    """Close all at the end of a multiprocessing child, which runs no exit handlers."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None and module.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=_in_child)
