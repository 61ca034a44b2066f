"""Import and readout of an experiment of 64,000 rows, against the limit of 15 seconds."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Result

ROWS = 64_000
LIMIT_SECONDS = 15.0
ARMS = {"No E-Mail": 0.106, "Mens E-Mail": 0.183, "Womens E-Mail": 0.151}


def run() -> Iterator[Result]:
    """Time both commands as their users run them, interpreter start included."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "mailing.csv")
        _write(table)
        environment = {**os.environ, "ABPLATFORM_HOME": str(Path(folder, "home"))}
        outcomes = ["--conversion", "visit", "--conversion", "bought", "--sum", "spend"]
        extras = ["--dimension", "channel", "--covariate", "history"]
        start = time.perf_counter()
        _command(environment, "import", str(table), "--variant", "arm", "--control", "No E-Mail", *outcomes, *extras)
        _command(environment, "readout", "mailing", "--format", "json")
        seconds = time.perf_counter() - start
    goal = f"under {LIMIT_SECONDS:.0f} s"
    yield Result(f"import and readout of {ROWS:,} rows", f"{seconds:.1f} s", goal, met=seconds < LIMIT_SECONDS)


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


def _command(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "abplatform.cli", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
