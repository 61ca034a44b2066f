"""The statistics page: its code runs as it stands, and every function that it names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
ROOMS = (
    "adjust",
    "balance",
    "bayes",
    "effects",
    "fixed",
    "group_sequential",
    "interaction",
    "multiplicity",
    "power",
    "sequential",
    "shrinkage",
    "simulate",
    "srm",
    "trend",
)
NAMES = sorted(set(re.findall(rf"`((?:{'|'.join(ROOMS)})\.[a-z_]+)", TEXT)))


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs_as_it_stands(block: str) -> None:
    exec(compile(block, str(PAGE), "exec"), {})


@pytest.mark.parametrize("name", NAMES)
def test_every_function_that_is_named_exists(name: str) -> None:
    room, function = name.split(".")
    assert callable(getattr(importlib.import_module(f"abplatform.stats.{room}"), function))


def test_the_page_names_many_functions_and_shows_code() -> None:
    assert len(NAMES) > 40
    assert len(BLOCKS) >= 4
