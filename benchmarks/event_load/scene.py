"""The real ``abplatform serve`` with an experiment that everybody is in, and what it has stored when it is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import parquet

from abplatform.bootstrap import build_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.settings import read_settings
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.payload import unpack
from abplatform.warehouse.tables import inbox_batch
from benchmarks.event_load.bodies import EVENT, EXPERIMENT, VARIANTS
from benchmarks.event_load.fingerprints import ID_BYTES, fingerprint, join
from benchmarks.processes import cpu_seconds
from tests.databases import PostgresDatabases, PostgresServer, find_postgres
from tests.e2e.server import COMMAND, Server, environment, run_command, serving

# Long enough that no round begins while a server is measured.
_NEVER = "3600"
_METRIC = {"key": "purchase", "name": "Purchase", "kind": "conversion", "event": EVENT}
_EXPERIMENT = {
    "key": EXPERIMENT,
    "name": "Load of the event path",
    "variants": [{"key": key} for key in VARIANTS],
    "control": VARIANTS[0],
    "metrics": [{"metric": "purchase", "role": "primary"}],
    "plan": {"planned_units": 1_000_000},
    "dimensions": ["channel"],
}


@dataclass(frozen=True)
class Stored:
    """Where the events are when all processes are gone: in the lake, and in the inbox without a commit of the lake.

    Attributes:
        fingerprint: of the ids of all.
    """

    lake: int
    inbox: int
    fingerprint: int


class Scene:
    """A running server with an experiment.

    Args:
        server: the ``abplatform serve``.
        database: the process of its database server, if it has one.
        worker: the ``abplatform worker`` beside it, if there is one.
    """

    def __init__(
        self, server: Server, *, database: int | None = None, worker: subprocess.Popen[bytes] | None = None
    ) -> None:
        address = urlsplit(server.url)
        self.host, self.port = str(address.hostname), int(address.port or 0)
        self._server, self._worker = server, worker
        others = (database, None if worker is None else worker.pid)
        self._others = [pid for pid in others if pid is not None]
        server.call("POST", "/metrics", _METRIC, role="experimenter")
        server.call("POST", "/experiments", _EXPERIMENT, role="experimenter")
        server.call("POST", f"/experiments/{EXPERIMENT}/start", role="experimenter")
        self.key = server.key("sdk")
        self.salt = str(server.call("GET", "/snapshot", role="sdk")["experiments"][EXPERIMENT]["salt"])

    def cpu(self) -> float:
        """Seconds of the processor that all processes of the platform have taken."""
        return sum(cpu_seconds(pid) for pid in (self._server.process.pid, *self._others))

    def kill(self) -> None:
        """End server and worker at once, as a crash would: what was acknowledged must be on disk.

        A worker that went on would move events from the inbox to the lake while they are counted.
        """
        os.killpg(self._server.process.pid, signal.SIGKILL)
        self._server.process.wait()
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def stored(self) -> Stored:
        """Count what is on disk; the server must be gone."""
        settings = read_settings(environment(self._server.home, **self._server.settings))
        with build_platform(settings) as platform, platform.database.connect() as connection:
            lake = inbox = 0
            prints = []
            for kind in KINDS:
                table = platform.lake.find(DEFAULT_PROJECT, kind)
                for file in table.files() if table else ():
                    lake += file.rows
                    prints.append(_fingerprint(parquet.read_table(file.path, columns=["event_id"])))
                waiting = sa.select(inbox_batch.c.claim, inbox_batch.c.payload).where(inbox_batch.c.kind == kind)
                done: dict[str | None, bool] = {None: False}
                for row in connection.execute(waiting):
                    if row.claim not in done:
                        done[row.claim] = table is not None and table.find_seal(row.claim) is not None
                    if not done[row.claim]:
                        facts = unpack(kind, row.payload)
                        inbox += facts.num_rows
                        prints.append(_fingerprint(facts))
        return Stored(lake, inbox, join(*prints))


def _fingerprint(facts: pa.Table) -> int:
    """Of the ids of facts, which are those of the load."""
    ids = facts["event_id"].cast(pa.binary(ID_BYTES)).combine_chunks()
    start, length = ids.offset * ID_BYTES, len(ids) * ID_BYTES
    return fingerprint(np.frombuffer(ids.buffers()[1], np.uint8)[start : start + length]) if length else 0


@contextmanager
def open_scene(database: str, *, workers: int, sealing: bool) -> Iterator[Scene]:
    """Start everything in a new folder, and remove it all in the end.

    Args:
        database: ``sqlite`` (the embedded default) or ``postgresql`` (a durable server of our own).
        workers: server processes.
        sealing: whether the worker seals meanwhile: inside the server on the embedded default, else beside it.
    """
    folder = Path(tempfile.mkdtemp(prefix="abplatform-bench-"))
    settings = {"ABPLATFORM_WORKERS": str(workers)} | ({} if sealing else {"ABPLATFORM_SEAL_INTERVAL": _NEVER})
    try:
        if database == "sqlite":
            with serving(folder / "home", **settings) as server:
                yield Scene(server)
        else:
            with run_postgresql() as (url, pid):
                settings |= {
                    "ABPLATFORM_DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://"),
                    "ABPLATFORM_PSEUDONYM_KEY": "a secret of the benchmark, long enough",
                    "ABPLATFORM_LAKE_URL": (folder / "home" / "lake").as_uri(),
                }
                run_command(folder / "home", "db", "upgrade", **settings)
                with serving(folder / "home", **settings) as server, _worker(folder, settings, sealing) as own:
                    yield Scene(server, database=pid, worker=own)
    finally:
        shutil.rmtree(folder)


@contextmanager
def run_postgresql() -> Iterator[tuple[str, int]]:
    """A durable PostgreSQL server: SQLAlchemy address of an empty database, and the process that all descend from."""
    server = PostgresServer(find_postgres())
    try:
        server.start(durable=True)
        yield PostgresDatabases(server).empty(), server.pid
    finally:
        server.stop()


@contextmanager
def _worker(folder: Path, settings: Mapping[str, str], wanted: bool) -> Iterator[subprocess.Popen[bytes] | None]:
    """The worker beside a server on PostgreSQL, which has none inside."""
    if not wanted:
        yield None
        return
    with (folder / "worker.log").open("wb") as log:
        own = environment(folder / "home", **settings)
        process = subprocess.Popen([*COMMAND, "worker"], env=own, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
