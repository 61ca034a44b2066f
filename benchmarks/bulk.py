"""How many ids a second of one core are assigned at once, in memory and through files, beside a plain loop."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from abplatform.assignment import decode_snapshot, variant_ranges
from abplatform.cli.assign import write_answers
from abplatform.services.assign_units import Plan, assign_units, open_table
from abplatform.services.evaluate_rows import Mask, Positions, Rows, evaluate_rows
from abplatform.warehouse.buckets import has_datafusion
from benchmarks.timing import Result, medians

UNITS = 1_000_000
BATCH = 131_072
LEAST = 3.0
KEY = "rate-display"
# As long as the server makes them.
SALT = "0123456789abcdef" * 2


def a_plan() -> Plan:
    """A 50/50 experiment that everybody is in."""
    control, treatment = variant_ranges([1, 1])
    rule = {
        "status": "running",
        "hash_version": 1,
        "unit_type": "user_id",
        "phase": 1,
        "salt": SALT,
        "layer": {"salt": "layer", "slots": [[0, 1_000_000]]},
        "variants": [{"key": "control", "range": control}, {"key": "treatment", "range": treatment}],
        "control": "control",
    }
    head = {"schema_version": 1, "version": 1, "project": "default", "unit_type": "user_id"}
    snapshot = decode_snapshot({**head, "experiments": {KEY: rule}})
    return Plan(experiment=KEY, snapshot=snapshot, conditions={KEY: {}}, texts={KEY: frozenset()})


def run() -> Iterator[Result]:
    """Compare assignment at once with a loop over SHA-256 and two comparisons.

    Seconds are those of the processor, all threads together: what else the machine does is not counted.
    """
    ids = pa.table({"unit_id": [f"user-{number}" for number in range(UNITS)]})
    with tempfile.TemporaryDirectory() as folder:
        peers = {"loop": _loop(ids), "memory": _in_memory(ids)}
        peers |= {format_: _through_files(ids, format_, Path(folder)) for format_ in ("parquet", "csv")}
        seconds = medians(peers, clock=time.process_time)
    rates = {name: UNITS / each / 1e6 for name, each in seconds.items()}
    library = "DataFusion" if has_datafusion() else "hashlib; the extra bulk is not installed"
    loop = f"a plain loop over hashlib: {rates['loop']:.1f} M"
    for name, work in (
        ("memory", f"ids assigned at once ({library})"),
        ("parquet", "the same from Parquet to Parquet"),
    ):
        figure = f"{rates[name]:.1f} M a second and core ({loop})"
        yield Result(work, figure, f"at least {LEAST:.0f} M", met=rates[name] >= LEAST)
    figure = f"{rates['csv']:.1f} M a second and core"
    yield Result("the same from CSV to CSV", figure, "above the plain loop", met=rates["csv"] > rates["loop"])


def _loop(ids: pa.Table) -> Callable[[], None]:
    texts, prefix = ids.column(0).to_pylist(), f"{len(SALT)}:{SALT}".encode()

    def work() -> None:
        for unit in texts:
            digest = hashlib.sha256(prefix + unit.encode()).hexdigest()
            bool(int(digest[:13], 16) % 1_000_000 < 500_000)

    return work


def _in_memory(ids: pa.Table) -> Callable[[], None]:
    plan, batches = a_plan(), [batch.column(0) for batch in ids.to_batches(BATCH)]

    def work() -> None:
        for units in batches:
            evaluate_rows(plan.snapshot, KEY, Rows(len(units), {"user_id": units}, _everybody))

    return work


def _everybody(_: str, positions: Positions) -> Mask:
    return np.ones(len(positions), dtype=np.bool_)


def _through_files(ids: pa.Table, format_: str, folder: Path) -> Callable[[], None]:
    plan, table = a_plan(), folder / f"units.{format_}"
    if format_ == "csv":
        csv.write_csv(ids, table)
    else:
        pq.write_table(ids, table)

    def work() -> None:
        rows = assign_units(plan, open_table(plan, table, "unit_id"))
        with (folder / f"answers.{format_}").open("wb") as stream:
            write_answers(rows, stream, format_)

    return work
