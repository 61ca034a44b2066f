"""A platform whose settings name Spark gives the results that DuckDB gives, and no further look."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from abplatform.readout.text import as_text
from abplatform.services.adopt import Outcome
from tests.cli.tables import a_platform, a_request, import_table, write_csv
from tests.warehouse.spark_engines import JAVA
from tests.warehouse.sql_engines import need

ASK = """
import sys

import abplatform.wsgi
from abplatform.bootstrap import build_platform
from abplatform.readout.text import as_text
from abplatform.settings import read_settings

with build_platform(read_settings()) as platform:
    assert not {"pyspark", "ibis"} & set(sys.modules), "what answers is loaded when it is first asked"
    print(platform.results("default", "trial").look, len(platform.looks("default", "trial")))
    print(as_text(platform.results("default", "trial", method="fixed")))
"""


def test_results_on_spark_are_those_of_duckdb_and_no_news(tmp_path: Path) -> None:
    need(present=find_spec("pyspark") is not None, how="PySpark is missing; run: pip install 'pyspark>=4.0,<4.1'")
    need(present=bool(shutil.which("java") or os.environ.get("JAVA_HOME")), how="Spark needs Java 17 or later")
    rng, home = random.Random(5), tmp_path / "home"
    rows = [(rng.choice("ab"), rng.randrange(2), f"{rng.expovariate(0.01):.2f}") for _ in range(400)]
    table = write_csv(tmp_path / "trial.csv", ["arm", "bought", "spent"], *rows)
    outcomes = (Outcome(column="bought", kind="conversion"), Outcome(column="spent", kind="sum"))
    with a_platform(home) as platform:
        import_table(platform, a_request(table, outcomes=outcomes))
        assert platform.results("default", "trial").look == 1
        wanted = as_text(platform.results("default", "trial", method="fixed"))

    settings = {"ABPLATFORM_HOME": str(home), "ABPLATFORM_ENGINE_URL": "spark://local[2]"}
    command = [sys.executable, "-c", ASK]
    asked = subprocess.run(command, env=os.environ | JAVA | settings, capture_output=True, text=True, check=False)

    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == f"1 1\n{wanted}\n"
