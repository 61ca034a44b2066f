"""Process hosts that fork, or end their processes, behind Python's back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress


def after_uwsgi_fork(renew: Callable[[], None]) -> None:
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


def close_with_celery(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a Celery pool process, which runs neither exit handlers nor finalizers."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: close(), weak=False, dispatch_uid=close)


def close_with_multiprocessing(close: Callable[[], object]) -> None:
    """Run ``close`` at the end of a multiprocessing child, which runs no exit handlers."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None and module.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)
