"""The public vectors, run against the evaluator under both its names, by Node, and in SQL."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from types import ModuleType
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from abplatform.assignment.operators import BUILDERS
from abplatform.assignment.targeting import LISTS, NESTING
from tests.assignment.documents import ROOT, VECTORS, read_vectors
from tests.databases import PostgresDatabases
from tests.vectors.regenerate import regenerated

HASH = read_vectors("hash")
RANGES = read_vectors("ranges")
TARGETING = read_vectors("targeting")
EVALUATIONS = read_vectors("evaluations")
REASONS = (
    "NOT_READY UNKNOWN_EXPERIMENT NO_UNIT ERROR NOT_RUNNING FORCED HOLDOUT NOT_TARGETED PREREQUISITE SHIPPED "
    "NOT_IN_COVERAGE ASSIGNED"
)


def by_name(document: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in document["cases"]])


@pytest.fixture(params=["abplatform.assignment", "abplatform_sdk._assignment"])
def evaluator(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@by_name(HASH)
def test_buckets_agree_with_the_vectors(evaluator: ModuleType, case: dict[str, Any]) -> None:
    assert evaluator.bucket(case["salt"], case["unit_id"]) == case["bucket"]
    assert evaluator.unit_digest(case["salt"], case["unit_id"]) == case["sha256"]


@by_name(RANGES)
def test_ranges_agree_with_the_vectors(evaluator: ModuleType, case: dict[str, Any]) -> None:
    assert evaluator.variant_ranges(case["weights"]) == tuple(map(tuple, case["ranges"]))


@by_name(TARGETING)
def test_targeting_agrees_with_the_vectors(evaluator: ModuleType, case: dict[str, Any]) -> None:
    matches = evaluator.compile_condition(case["condition"], case.get("groups"))
    assert matches(case["attributes"]) is case["matches"]


@by_name(EVALUATIONS)
def test_evaluations_agree_with_the_vectors(evaluator: ModuleType, case: dict[str, Any]) -> None:
    name = case["snapshot"]
    snapshot = None if name is None else evaluator.decode_snapshot(EVALUATIONS["snapshots"][name])
    arguments = (case["experiment"], case["unit_id"], case.get("attributes"))
    evaluation = evaluator.evaluate(snapshot, *arguments, units=case.get("units"))
    found = evaluation._asdict() | {"holdouts": [list(check) for check in evaluation.holdouts]}
    assert found == {"experiment": case["experiment"], "holdouts": [], **case["expected"]}


@pytest.mark.parametrize("document", [HASH, RANGES, TARGETING, EVALUATIONS], ids=lambda document: document["about"])
def test_vector_files_are_versioned_sourced_and_name_each_case_once(document: dict[str, Any]) -> None:
    assert document["version"] == 1
    assert document["source"]
    assert max(Counter(case["name"] for case in document["cases"]).values()) == 1


def test_every_operator_has_three_vectors() -> None:
    uses = Counter(key for case in TARGETING["cases"] for key in set(keys_within(case["condition"])))
    assert {name: uses[name] for name in {*BUILDERS, *LISTS, *NESTING} if uses[name] < 3} == {}


def test_every_reason_has_a_vector() -> None:
    assert {case["expected"]["reason"] for case in EVALUATIONS["cases"]} == set(REASONS.split())


@pytest.mark.parametrize("name", ["hash", "ranges", "evaluations"])
def test_computed_parts_of_the_vectors_are_those_of_sha256sum_and_exact_fractions(name: str) -> None:
    find_program("sha256sum", "coreutils")
    assert (VECTORS / f"{name}.json").read_text(encoding="utf-8") == regenerated(name)


def test_node_agrees_with_the_vectors() -> None:
    node = find_program("node", "nodejs")
    answer = subprocess.run([node, VECTORS / "read_vectors.mjs"], capture_output=True, text=True, check=False)
    drawn = sum("buckets" in case for case in EVALUATIONS["cases"])
    expected = f"hash {len(HASH['cases'])}, ranges {len(RANGES['cases'])}, evaluations {drawn}: all agree\n"
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, expected, "")


def test_documented_sql_gives_the_buckets_in_duckdb() -> None:
    with duckdb.connect() as connection:
        connection.execute(documented_sql("duckdb"))
        for case in HASH["cases"]:
            found = connection.execute("SELECT bucket(?, ?)", [case["salt"], case["unit_id"]]).fetchall()
            assert found == [(case["bucket"],)], case["name"]


def test_documented_sql_gives_the_buckets_in_postgresql(postgres_databases: PostgresDatabases) -> None:
    url = postgres_databases.empty()
    engine = sa.create_engine(url)
    # PostgreSQL's text cannot hold NUL.
    cases = [case for case in HASH["cases"] if "\0" not in case["unit_id"]]
    assert len(cases) == len(HASH["cases"]) - 1
    with engine.begin() as connection:
        connection.execute(sa.text(documented_sql("postgresql")))
        query = sa.text("SELECT bucket(:salt, :unit_id)")
        buckets = [connection.scalar(query, {"salt": case["salt"], "unit_id": case["unit_id"]}) for case in cases]
    engine.dispose()
    postgres_databases.drop(url)
    assert buckets == [case["bucket"] for case in cases]


def test_largest_remainder_in_duckdb_gives_the_ranges_of_integer_weights() -> None:
    cases = [case for case in RANGES["cases"] if all(isinstance(weight, int) for weight in case["weights"])]
    assert len(cases) >= 15
    query = """
        WITH given AS (SELECT unnest($1)::HUGEINT AS weight, generate_subscripts($1, 1) AS place),
        quotas AS (SELECT place, weight * 1000000 // sum(weight) OVER () AS whole,
                          weight * 1000000 % sum(weight) OVER () AS remainder FROM given),
        sizes AS (SELECT place, whole + (row_number() OVER (ORDER BY remainder DESC, place)
                                         <= 1000000 - sum(whole) OVER ())::INT AS size FROM quotas)
        SELECT (sum(size) OVER (ORDER BY place) - size)::INT, (sum(size) OVER (ORDER BY place))::INT
        FROM sizes ORDER BY place
    """
    # HUGEINT keeps products and sums exact. Floats would not stay so in SQL; Node checks those.
    with duckdb.connect() as connection:
        for case in cases:
            ranges = connection.execute(query, [case["weights"]]).fetchall()
            assert [list(row) for row in ranges] == case["ranges"], case["name"]


def test_draws_in_duckdb_give_the_evaluations() -> None:
    drawn = [case for case in EVALUATIONS["cases"] if "buckets" in case]
    with duckdb.connect() as connection:
        connection.execute(documented_sql("duckdb"))
        for case in drawn:
            rule = EVALUATIONS["snapshots"][case["snapshot"]]["experiments"][case["experiment"]]
            unit = case.get("units", {}).get(rule["unit_type"], case["unit_id"])
            layer, variant = connection.execute(
                "SELECT bucket($layer, $unit), bucket($salt, $unit)",
                {"layer": rule["layer"]["salt"], "salt": rule["salt"], "unit": unit},
            ).fetchall()[0]
            assert (layer, variant) == (case["buckets"]["layer"], case["buckets"]["variant"]), case["name"]


def find_program(name: str, package: str) -> str:
    """The path of a program; without it the test skips, and fails where CI=true."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"{name} is missing, so the vectors go unchecked here (Debian: apt-get install {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def keys_within(node: object) -> list[str]:
    if isinstance(node, dict):
        return [key for name, item in node.items() for key in (name, *keys_within(item))]
    return [key for item in node for key in keys_within(item)] if isinstance(node, list) else []


def documented_sql(dialect: str) -> str:
    page = (ROOT / "docs" / "assignment.md").read_text(encoding="utf-8")
    (sql,) = re.findall(rf"```sql {dialect}\n(.*?)```", page, re.DOTALL)
    return str(sql)


def test_documented_snapshot_is_one() -> None:
    page = (ROOT / "docs" / "assignment.md").read_text(encoding="utf-8")
    (document,) = re.findall(r'```json\n(\{"schema_version".*?)```', page, re.DOTALL)
    snapshot = importlib.import_module("abplatform.assignment").decode_snapshot(json.dumps(json.loads(document)))
    assert set(snapshot.experiments) == {"rate-display"}
