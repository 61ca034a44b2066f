"""Import and readout of a finished experiment, and how fast events are imported beside DuckDB on the same files."""

from __future__ import annotations

import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from benchmarks.timing import Result

ROWS = 64_000
LIMIT_SECONDS = 15.0
ARMS = {"No E-Mail": 0.106, "Mens E-Mail": 0.183, "Womens E-Mail": 0.151}

EVENTS = 1_000_000
UNITS = 100_000
DAYS = 365
MOST_TIMES_PEER = {"csv, sorted": 5.0, "parquet, sorted": 10.0, "csv, any order": 6.0}
PEER_ROUNDS = 3

# The same work without promises: ids hashed without a key, cells cast, a file per day; no row is refused by itself,
# nothing is compared with what is there, nothing is safe from a power cut.
_PEER = """
    COPY (
        SELECT sha256(who) AS unit, CAST("at" AS TIMESTAMPTZ) AS timestamp, CAST(amount AS DECIMAL(20, 6)) AS value,
               product, CAST(CAST("at" AS TIMESTAMPTZ) AS DATE) AS day
        FROM {read} ORDER BY day
    ) TO '{folder}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY day)
"""


def run() -> Iterator[Result]:
    """Time the commands as their users run them, interpreter start included."""
    with tempfile.TemporaryDirectory() as folder:
        yield _import_experiment(Path(folder))
        yield from _import_events(Path(folder))


def _import_experiment(folder: Path) -> Result:
    table = folder / "mailing.csv"
    _write(table)
    environment = _home(folder / "home")
    outcomes = ["--conversion", "visit", "--conversion", "bought", "--sum", "spend"]
    extras = ["--dimension", "channel", "--covariate", "history"]
    start = time.perf_counter()
    _command(environment, "import", str(table), "--variant", "arm", "--control", "No E-Mail", *outcomes, *extras)
    _command(environment, "readout", "mailing", "--format", "json")
    seconds = time.perf_counter() - start
    goal = f"under {LIMIT_SECONDS:.0f} s"
    return Result(f"import and readout of {ROWS:,} rows", f"{seconds:.1f} s", goal, met=seconds < LIMIT_SECONDS)


def _import_events(folder: Path) -> Iterator[Result]:
    """A year of conversions into new lakes. Seconds are those of the processor, all threads of a process together."""
    for name, file in _write_events(folder).items():
        peer = statistics.median(
            _time_peer(file, folder / f"peer {round_} of {file.name}") for round_ in range(PEER_ROUNDS)
        )
        ours = _time_import(file, folder / f"home of {file.name}")
        most = MOST_TIMES_PEER[name]
        figure = f"{EVENTS / ours:,.0f} rows a second and core, {ours / peer:.1f}x the time of DuckDB"
        yield Result(f"events imported ({name})", figure, f"at most {most:.0f}x", met=ours / peer <= most)


def _write_events(folder: Path) -> dict[str, Path]:
    chance = np.random.default_rng(5)
    moments = np.sort(chance.integers(0, DAYS * 86_400, EVENTS)) + 1_735_689_600  # 2025-01-01
    times = pc.strftime(pa.array(moments).cast(pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    whole, cents = (pa.array(chance.integers(0, most, EVENTS)).cast(pa.string()) for most in (100_000, 100))
    amounts = pc.binary_join_element_wise(whole, pc.utf8_lpad(cents, 2, "0"), ".").cast(pa.decimal128(20, 2))
    table = pa.table(
        {
            "who": pc.binary_join_element_wise("C", pa.array(chance.integers(0, UNITS, EVENTS)).cast(pa.string()), ""),
            "at": times,
            "amount": amounts,
            "product": pa.array(["loan", "card", "fund"]).take(pa.array(chance.integers(0, 3, EVENTS))),
        }
    )
    files = {name: folder / f"{name.replace(', ', ' ')}.{name.partition(',')[0]}" for name in MOST_TIMES_PEER}
    arrow_csv.write_csv(table, files["csv, sorted"])
    parquet.write_table(table, files["parquet, sorted"])
    arrow_csv.write_csv(table.take(pa.array(chance.permutation(EVENTS))), files["csv, any order"])
    return files


def _time_import(file: Path, home: Path) -> float:
    """Seconds of the command; all rows must have been taken."""
    mapping = ["--unit", "who", "--timestamp", "at", "--value", "amount", "--property", "product=product"]
    before = os.times()
    said = _command(_home(home), "import-events", str(file), *mapping, "--event-name", "bad_debt")
    after = os.times()
    if said.strip() != f"read {EVENTS:,} good rows of {file.name}: {EVENTS:,} new, 0 there already":
        raise RuntimeError(said)
    return after.children_user + after.children_system - before.children_user - before.children_system


def _time_peer(file: Path, folder: Path) -> float:
    """Seconds that DuckDB takes; all rows must have been written."""
    read = f"read_csv('{file}', all_varchar = true)" if file.suffix == ".csv" else f"read_parquet('{file}')"
    start = time.process_time()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_PEER.format(read=read, folder=folder))
    seconds = time.process_time() - start
    written = sum(parquet.read_metadata(part).num_rows for part in folder.rglob("*.parquet"))
    if written != EVENTS:
        raise RuntimeError(f"DuckDB wrote {written:,} rows")
    return seconds


def _home(folder: Path) -> dict[str, str]:
    return {**os.environ, "ABPLATFORM_HOME": str(folder)}


def _write(table: Path) -> None:
    chance = random.Random(2008)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "visit", "bought", "spend", "channel", "history"])
        for _ in range(ROWS):
            arm, rate = chance.choice(list(ARMS.items()))
            visit = chance.random() < rate
            bought = visit and chance.random() < 0.06
            spend = f"{chance.lognormvariate(4, 0.8):.2f}" if bought else "0"
            channel = chance.choice(["Web", "Phone", "Multichannel"])
            writer.writerow([arm, int(visit), int(bought), spend, channel, f"{chance.lognormvariate(5, 1):.2f}"])


def _command(environment: dict[str, str], *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "abplatform.cli", *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
