"""D-5: the disk is full for a while (embedded default): simulated, and a small file system that is really full."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos.row import Row, progress
from tests.chaos.server.failing_disk import healing, time_to_heal
from tests.chaos.server.installation import Installation
from tests.chaos.server.ledger import EXPERIMENT, Ledger
from tests.chaos.server.load import sending
from tests.chaos.server.power_cut import on_a_disk
from tests.chaos.server.scene import a_scene, compare, rows

TIMES = 3
SECONDS = 3.0
LONGEST_ROOM = 60.0
MEGABYTES = 96
STALE = "stale"
RESULTS = f"/api/v1/experiments/{EXPERIMENT}/results"
READS = ("/healthz", "/api/v1/snapshot", "/api/v1/experiments", f"{RESULTS}/looks")


def fill_simulated(*, times: int = TIMES, seconds: float = SECONDS) -> Iterator[Row]:
    """A disk on which no file can grow."""
    with on_a_disk() as (disk, installation, ledger):

        def set_full(full: bool) -> None:
            disk.switch("full", on=full)

        yield from fill("simulated", installation, ledger, set_full, times=times, seconds=seconds)


def fill_tmpfs() -> Iterator[Row]:
    """Fill a file system that is really full; where none can be mounted, that is a miss."""
    try:
        with _small_file_system() as folder, a_scene(home=folder / "home") as (installation, ledger):
            yield from fill("tmpfs", installation, ledger, lambda full: _fill_up(folder / "filler", full))
    except PermissionError as error:
        yield Row("D-5", "tmpfs, full", f"NOT MEASURED: {error}", holds=False)


def fill(
    name: str,
    installation: Installation,
    ledger: Ledger,
    set_full: Callable[[bool], object],
    *,
    times: int = TIMES,
    seconds: float = SECONDS,
) -> Iterator[Row]:
    """Let the disk be full for a while, then have room."""
    full, reads, results, healed = Counter[int](), Counter[str](), Counter[str](), list[float]()
    with sending(installation.port, installation.key, ledger) as load:
        for number in range(times):
            load.acknowledge_some()
            load.hold()
            look = installation.call("GET", RESULTS.removeprefix("/api/v1"))
            # Something has come since, so that a look of now would be another one.
            load.send_for(1)
            set_full(True)
            full += load.send_for(seconds)
            # Files that cannot grow may have room inside for a while: until it is used up, nothing has to be refused.
            until = time.monotonic() + LONGEST_ROOM
            while not full[503] + full[507] and time.monotonic() < until:
                full += load.send_for(1)
            reads += Counter(f"{path} {installation.ask('GET', path)[0]}" for path in READS)
            results[_describe(look, *installation.ask("GET", RESULTS))] += 1
            set_full(False)
            load.count_anew()
            healed.append(time_to_heal(installation, load))
            progress(
                f"{name}, full {number + 1} of {times}: {dict(full)}, {dict(reads)}, healed after {healed[-1]:.2f} s"
            )
        load.acknowledge_some()
        load.hold()
        during = compare(installation, ledger, complete=False)
        load.finish()
    last = compare(installation, ledger, complete=True)
    what = f"sqlite, {name} disk full for {seconds:g} s, {times} times"
    refused = full[503] + full[507]
    proper = refused > 0 and set(full) <= {202, 429, 503, 507}
    yield Row("D-5", f"{what}: refused with 503 or 507", f"{dict(full)}", proper)
    yield Row("D-5", f"{what}: 0 false acknowledgements", str(during), during.sound)
    bad = {read: count for read, count in reads.items() if not read.endswith(" 200")}
    yield Row("D-5", f"{what}: health, definitions, looks and the snapshot are read", f"not: {bad or 'none'}", not bad)
    yield Row(
        "D-5", f"{what}: results are those of the last look, and say so", f"{dict(results)}", set(results) == {STALE}
    )
    yield from rows("D-5", f"{what}, then all delivered again", last, load, faults=times, others=[during])
    yield healing("D-5", what, healed)


def _describe(look: dict[str, Any], status: int, answer: Any) -> str:
    """What results on a full disk are, beside the last look before."""
    if status != 200:
        return f"{status}"
    since = (answer["stale"] or {}).get("since")
    numbers = answer["metrics"] == look["metrics"] and answer["health"]["units"] == look["health"]["units"]
    return STALE if since == look["computed_at"] and numbers else f"stale since {since}, same numbers: {numbers}"


@contextmanager
def _small_file_system() -> Iterator[Path]:
    """A tmpfs.

    Raises:
        PermissionError: where mounting is not allowed.
    """
    with tempfile.TemporaryDirectory(prefix="abplatform-small-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionError(f"a tmpfs cannot be mounted here ({done.stderr.strip()})")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _fill_up(filler: Path, full: bool) -> None:
    if not full:
        filler.unlink()
        return
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
