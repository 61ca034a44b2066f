"""Forks and the end of a process, as far as a client has to know about them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Protocol

from .hosts import after_uwsgi_fork, close_with_celery, close_with_multiprocessing


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
    close_with_multiprocessing(close)
    close_with_celery(close)


def _in_child() -> None:
    importing.release()
    _renew()


@cache
def _watch_uwsgi() -> None:
    after_uwsgi_fork(_renew)


def _renew() -> None:
    for member in list(_members):
        member.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=_in_child)
