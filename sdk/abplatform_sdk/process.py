"""Forks and the end of a process, also in hosts that do both behind Python's back."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Protocol


class ForkAware(Protocol):
    """Something with locks and threads of its own."""

    def after_fork_in_child(self) -> None:
        """Renew locks, forget threads and whatever belongs to the parent."""


# Held while a thread of ours imports modules, and over each fork: a child that inherits a half-done import
# would wait for ever on the import lock of a thread that it does not have.
importing = threading.RLock()

_members: set[ForkAware] = set()


def join(member: ForkAware) -> None:
    """Tell ``member`` about forks, and keep it alive, until it leaves."""
    _members.add(member)
    _watch_uwsgi()


def leave(member: ForkAware) -> None:
    """Forget ``member``."""
    _members.discard(member)


def close_with_child(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a child that ends without running what atexit holds."""
    # These are other people's modules, and this runs inside a call of the product.
    with suppress(Exception):
        _close_with_multiprocessing(close)
        _close_with_celery(close)


def _in_child() -> None:
    importing.release()
    _renew()


@cache
def _watch_uwsgi() -> None:
    _after_uwsgi_fork(_renew)


def _renew() -> None:
    for member in list(_members):
        member.after_fork_in_child()


def _after_uwsgi_fork(renew: Callable[[], None]) -> None:
    """Run ``renew`` in each process that uWSGI forks: it does so in C, and what Python holds for a fork never runs.

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
            renew()
        if callable(former):
            former()

    uwsgi.post_fork_hook = hook  # type: ignore[attr-defined]


def _close_with_celery(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a Celery pool process, which runs neither exit handlers nor finalizers."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: close(), weak=False, dispatch_uid=close)


def _close_with_multiprocessing(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a multiprocessing child, which runs no exit handlers."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None and module.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=_in_child)
