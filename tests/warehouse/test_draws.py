"""The SQL that is printed for each engine, on the public vectors and on whole experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from abplatform.assignment import bucket
from abplatform.warehouse.draws import ENGINES, DrawnExperiment, draw_query
from tests.assignment.documents import ROOT, read_vectors
from tests.warehouse.spark_engines import ask_spark
from tests.warehouse.sql_engines import (
    Ask,
    ask_bigquery,
    ask_clickhouse,
    ask_duckdb,
    ask_postgresql,
)

CASES = read_vectors("hash")["cases"]
# What a literal of some engine could take for something else.
HOSTILE = (
    "it's",
    "''",
    "a\\b",
    "a\\'b",
    "\\",
    "\\n",
    "\\u0041",
    "${env:HOME}",
    "$1",
    "{x}",
    "%s",
    ":x",
    "?",
    "--",
    "/*",
    '"',
)
MULTILINE = ("two\nlines", "\r\n")
Open = Callable[[Sequence[str | None]], AbstractContextManager[Ask]]


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> tuple[str, Open]:
    """An engine's name, and how to open it on some units."""
    plain: dict[str, Open] = {"duckdb": ask_duckdb, "bigquery": ask_bigquery, "clickhouse": ask_clickhouse}
    name: str = request.param
    if name == "postgresql":
        databases = request.getfixturevalue("postgres_databases")
        return name, lambda units: ask_postgresql(units, databases)
    if name == "spark":
        process = request.getfixturevalue("spark_on_threads")
        return name, lambda units: ask_spark(units, process)
    return name, plain[name]


def usable(name: str, units: Sequence[str | None]) -> list[str | None]:
    """PostgreSQL's text cannot hold NUL."""
    return [unit for unit in units if name != "postgresql" or "\0" not in (unit or "")]


def buckets(name: str, ask: Ask, salts: Sequence[str]) -> dict[str, dict[str, int]]:
    """The bucket of each unit under each salt, two salts to a query."""
    found: dict[str, dict[str, int]] = {}
    for layer, variant in zip(salts[::2], [*salts[1::2], salts[-1]][: len(salts[::2])], strict=True):
        everybody = (0, 1_000_000)
        experiment = DrawnExperiment(
            layer_salt=layer, slots=(everybody,), variant_salt=variant, variants=[("all", everybody)]
        )
        rows = ask(draw_query(name, experiment))
        found[layer] = {unit: int(drawn) for unit, drawn, *_ in rows}
        found[variant] = {unit: int(drawn) for unit, _, drawn, *_ in rows}
    return found


def test_buckets_are_those_of_the_vectors(engine: tuple[str, Open]) -> None:
    name, open_ = engine
    units = usable(name, sorted({case["unit_id"] for case in CASES}))
    cases = [case for case in CASES if case["unit_id"] in units]
    assert len(cases) >= len(CASES) - 1
    with open_(units) as ask:
        found = buckets(name, ask, sorted({case["salt"] for case in cases}))
    drawn = {case["name"]: found[case["salt"]][case["unit_id"]] for case in cases}
    assert drawn == {case["name"]: case["bucket"] for case in cases}


def test_a_salt_is_a_text_whatever_it_looks_like(engine: tuple[str, Open]) -> None:
    name, open_ = engine
    texts = [*HOSTILE, *MULTILINE]
    with open_(texts) as ask:
        found = buckets(name, ask, texts)
    assert found == {salt: {unit: bucket(salt, unit) for unit in texts} for salt in texts}


def test_a_query_draws_a_whole_experiment(engine: tuple[str, Open]) -> None:
    name, open_ = engine
    keys = [*HOSTILE, "利率", "🏦"]
    width = 1_000_000 // len(keys)
    bounds = [width * place for place in range(len(keys))]
    variants = list(zip(keys, zip(bounds, [*bounds[1:], 1_000_000], strict=True), strict=True))
    variants.insert(3, ("nobody's", (bounds[3], bounds[3])))
    experiment = DrawnExperiment(
        layer_salt="利'率\\", slots=((0, 100_000), (500_000, 900_000)), variant_salt="${x}", variants=variants
    )
    units = [f"user-{number}" for number in range(500)]
    with open_([*units, None]) as ask:
        rows = {unit: rest for unit, *rest in ask(draw_query(name, experiment))}
    assert rows.pop(None) == [None, None, None, None]
    assert {
        unit: [int(layer), int(variant), bool(is_in), key] for unit, (layer, variant, is_in, key) in rows.items()
    } == {unit: expected(experiment, unit) for unit in units}
    assert {key for _, _, _, key in rows.values()} == {None, *keys}


def expected(experiment: DrawnExperiment, unit: str) -> list[Any]:
    layer, variant = bucket(experiment.layer_salt, unit), bucket(experiment.variant_salt, unit)
    is_in = any(low <= layer < high for low, high in experiment.slots)
    key = next(key for key, (low, high) in experiment.variants if low <= variant < high)
    return [layer, variant, is_in, key if is_in else None]


def test_without_slots_nobody_is_in(engine: tuple[str, Open]) -> None:
    name, open_ = engine
    experiment = DrawnExperiment(
        layer_salt="layer", slots=(), variant_salt="salt", variants=[("control", (0, 1_000_000))]
    )
    with open_(["u-1"]) as ask:
        [(unit, _, _, is_in, variant)] = ask(draw_query(name, experiment))
    assert (unit, bool(is_in), variant) == ("u-1", False, None)


@pytest.mark.parametrize("name", ENGINES)
def test_the_page_shows_the_bucket_of_each_engine(name: str) -> None:
    page = (ROOT / "docs" / "assignment.md").read_text(encoding="utf-8")
    everybody = (0, 1_000_000)
    experiment = DrawnExperiment(
        layer_salt="rate-display", slots=(everybody,), variant_salt="", variants=[("all", everybody)]
    )
    [line] = [line for line in draw_query(name, experiment).splitlines() if line.endswith(" AS layer_bucket,")]
    expression = line.strip().removesuffix(" AS layer_bucket,").replace("|", "\\|")
    assert f"| `{name}` | `{expression}` |" in page
