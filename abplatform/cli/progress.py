"""A bar on stderr while a person watches; nothing where stderr is a file or a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(description: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show a bar for as long as the context lasts, and give the function that says how much is done.

    Args:
        description: what is being done; plain text.
        total: how much there is to do.
    """
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    parts = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, width=min(100, shutil.get_terminal_size().columns))
    with Progress(*parts, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def counting_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """The same, for work that says how much of it each step does.

    Args:
        description, total: see `progress_bar`.
    """
    done = 0
    with progress_bar(description, total) as show:

        def count(items: int) -> None:
            nonlocal done
            done += items
            show(done)

        yield count
