"""``abplatform worker``."""

from __future__ import annotations

import click

from abplatform.cli.session import log_to_stderr, open_platform, stop_when_told


@click.command("worker")
def command() -> None:
    """Seal incoming events into the lake, and tidy the lake up, until stopped (SIGTERM or Ctrl-C).

    Any number of workers may run: a lease lets one of them act at a time.
    """
    log_to_stderr()
    stop = stop_when_told()
    with open_platform() as platform:
        platform.work(stop=stop)
