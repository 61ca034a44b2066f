"""Run queries in Spark: each line of stdin is ``{"units": [...], "query": ...}``, each line of stdout its rows."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    builder = import_module("pyspark.sql").SparkSession.builder.master("local[1]")
    for name, value in {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for line in sys.stdin:
        asked = json.loads(line)
        units = session.createDataFrame([(unit,) for unit in asked["units"]], "unit_id string")
        units.createOrReplaceTempView("units")
        rows = [list(row) for row in session.sql(asked["query"]).collect()]
        print(json.dumps(rows), flush=True)
    session.stop()


if __name__ == "__main__":
    main()
