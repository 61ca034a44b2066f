"""Forks and the end of a process, as far as a client has to know about them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
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


def leave(member: ForkAware) -> None:
    """Forget ``member``."""
    _members.discard(member)


def close_with_child(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a multiprocessing child: it ends without running what atexit holds."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None and module.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)


def _in_child() -> None:
    importing.release()
    for member in list(_members):
        member.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=_in_child)
