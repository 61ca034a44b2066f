"""A durable PostgreSQL server that can be restarted under its clients."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.databases import PostgresServer, find_postgres

# As `tests.databases.KEEPER`, but a server that ends is started again until the pipe closes.
RESTARTER = """
    exec 3<&0
    { cat <&3 >/dev/null; touch over; kill -INT "$(head -n 1 data/postmaster.pid)"; } &
    until [ -e over ]; do "$@" 3<&- </dev/null || sleep 0.1; done
    rm -rf data
"""


class RestartedPostgres(PostgresServer):
    """A server that `crash` and `restart` end, and that comes back by itself."""

    keeper = RESTARTER

    def restart(self) -> float:
        """Restart it as an operator does (open transactions are rolled back); returns seconds until it answers."""
        return self._end_with(signal.SIGINT)

    def crash(self) -> float:
        """End all its processes at once, as a failure does; returns seconds until it answers again."""
        return self._end_with(signal.SIGQUIT)

    def _end_with(self, number: signal.Signals) -> float:
        began = time.monotonic()
        before = self._postmaster()
        os.kill(before, number)
        while self._postmaster_or_none() in {before, None}:
            time.sleep(0.01)
        self._wait_until_it_answers()
        return time.monotonic() - began

    def _postmaster(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def _postmaster_or_none(self) -> int | None:
        try:
            return self._postmaster()
        except (FileNotFoundError, IndexError):
            return None


@contextmanager
def running_postgres() -> Iterator[RestartedPostgres]:
    """A durable server of its own."""
    server = RestartedPostgres(find_postgres())
    try:
        server.start(durable=True)
        yield server
    finally:
        server.stop()
