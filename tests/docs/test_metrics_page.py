"""The page of metrics: its examples are metrics of every kind, its table has their fields, its filters are filters."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abplatform.api.schemas.metric import MetricSchema
from abplatform.domain.metric import AGGREGATIONS, KINDS, Metric
from abplatform.domain.metric_check import BELOW_THE_LINE, MOST_STEPS, check_metric
from abplatform.domain.property_filter import check_filter
from abplatform.errors import InvalidInput
from abplatform.services.make_version import MOST_VERSIONS

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
KINDS_SECTION = PAGE.partition("## Kinds")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", KINDS_SECTION.partition("|---|")[2], re.MULTILINE))
EXAMPLES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", KINDS_SECTION, re.DOTALL)
]
IN_ANY = {"key", "name", "kind", "event", "where", "window", "direction", "minimum_age"}


def load(body: dict[str, Any]) -> Metric:
    metric: Metric = MetricSchema().load(body)
    return metric


def named_fields(row: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\(.*?\)", "", row))) - {"event", "where", "units", "events"}


def test_every_kind_has_a_row_and_an_example() -> None:
    assert tuple(ROWS) == KINDS
    assert {example["kind"] for example in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["key"])
def test_an_example_is_a_sound_metric_with_the_fields_of_its_row(example: dict[str, Any]) -> None:
    check_metric(load(example))
    assert example.keys() - IN_ANY <= named_fields(ROWS[example["kind"]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_in_the_row_of_a_kind_exactly_if_it_is_taken(kind: str) -> None:
    body = next(example for example in EXAMPLES if example["kind"] == kind)
    others = {name: value for example in EXAMPLES for name, value in example.items() if name not in IN_ANY}
    others |= {"quantile": 0.25, "value": "amount", "aggregation": "last", "over": "events"}
    refused = set()
    for name, value in others.items():
        try:
            check_metric(replace(load(body), **{name: getattr(load(body | {name: value}), name)}))
        except InvalidInput as refusal:
            refused |= {path for path, said in refusal.errors.items() if "belongs to metrics of the kind" in str(said)}
    assert named_fields(ROWS[kind]) == others.keys() - refused


def test_the_numbers_and_choices_are_those_of_the_code() -> None:
    for kind, options in AGGREGATIONS.items():
        listed = {"sum": ROWS["sum"], "ratio": ROWS["ratio"], "quantile": ROWS["quantile"]}[kind]
        assert f"`aggregation` ({', '.join(f'`{option}`' for option in options)})" in listed
    assert f"2 to {MOST_STEPS} steps" in KINDS_SECTION
    assert f"at most {MOST_VERSIONS}." in PAGE
    assert BELOW_THE_LINE[0] == "count"


def test_the_filter_of_the_page_is_one() -> None:
    block = PAGE.partition("## Filters on properties")[2].partition("```json\n")[2].partition("```")[0]
    assert check_filter(json.loads(block)) == {}
