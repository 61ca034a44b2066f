"""Starts the bare servers of `benchmarks.event_load.bare`, each in a new folder."""

from __future__ import annotations

import http.client
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.event_load.scene import run_postgresql
from benchmarks.processes import cpu_seconds

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
_COUNTS = {"batches": "SELECT sum(count) FROM inbox", "rows": "SELECT count(*) FROM event"}
_COUNTS["copy"] = _COUNTS["rows"]


class Bare:
    """A running bare server."""

    host, key, salt = "127.0.0.1", "none", "none"

    def __init__(self, form: str, address: str, workers: int, others: tuple[int, ...] = ()) -> None:
        self.port = _free_port()
        self._form, self._address, self._others = form, address, others
        command = [sys.executable, "-m", "benchmarks.event_load.bare", form, str(self.port), str(workers), address]
        self._process = subprocess.Popen(command, cwd=ROOT)
        self._wait()

    def cpu(self) -> float:
        """Seconds of the processor that its processes and the database server have taken."""
        return sum(cpu_seconds(pid) for pid in (self._process.pid, *self._others))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def stored(self) -> int:
        """Number of events that it has kept."""
        if self._form == "copy":
            import psycopg

            with psycopg.connect(self._address) as database:
                row = database.execute(_COUNTS[self._form]).fetchone()
        else:
            connection = sqlite3.connect(self._address)
            row = connection.execute(_COUNTS[self._form]).fetchone()
            connection.close()
        return int(row[0] or 0) if row else 0

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=2)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.05)
            else:
                return
            finally:
                connection.close()
        self.stop()
        raise TimeoutError(f"the bare server ({self._form}) did not start")


@contextmanager
def open_bare(form: str, *, workers: int) -> Iterator[Bare]:
    """Start a bare server of a form, and remove what it wrote in the end."""
    folder = Path(tempfile.mkdtemp(prefix="abplatform-bench-"))
    try:
        if form == "copy":
            with run_postgresql() as (url, pid):
                yield from _running(form, url.replace("postgresql+psycopg://", "postgresql://"), workers, (pid,))
        else:
            yield from _running(form, str(folder / "events.db"), workers)
    finally:
        shutil.rmtree(folder)


def _running(form: str, address: str, workers: int, others: tuple[int, ...] = ()) -> Iterator[Bare]:
    server = Bare(form, address, workers, others)
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
