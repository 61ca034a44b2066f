"""Fill in what can be computed in the vectors, without the code that they test.

``python tests/vectors/regenerate.py`` (``make vectors``), then read the diff. Buckets come from coreutils'
``sha256sum`` over the documented bytes, ranges from textbook largest remainder on fractions. Expected
matches, reasons and variants are written and reviewed by hand.
"""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUCKETS = 1_000_000
# How many levels of a member are spread over lines.
EXPANDED = {"cases": 1, "snapshots": 3}


def regenerate() -> None:
    """Rewrite hash.json, ranges.json and evaluations.json with their computed parts."""
    for name in FILLED:
        (HERE / f"{name}.json").write_text(regenerated(name), encoding="utf-8")


def regenerated(name: str) -> str:
    """Return the text that a vector file should have, given its inputs."""
    document = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    FILLED[name](document)
    return _dump(document)


def _fill_hash(document: dict[str, Any]) -> None:
    for case in document["cases"]:
        case["bucket"] = bucket(case["salt"], case["unit_id"])
        case["sha256"] = sha256(case["salt"], case["unit_id"])


def _fill_ranges(document: dict[str, Any]) -> None:
    for case in document["cases"]:
        case["ranges"] = ranges(case["weights"])


def _fill_evaluations(document: dict[str, Any]) -> None:
    """Give each case the buckets that decide it, for the reader's eye."""
    for case in document["cases"]:
        checks, reason = case["expected"].get("holdouts", []), case["expected"]["reason"]
        if reason not in {"ASSIGNED", "NOT_IN_COVERAGE"} and not checks:
            continue
        snapshot = document["snapshots"][case["snapshot"]]
        rule = snapshot["experiments"][case["experiment"]]
        unit = case["units"][rule["unit_type"]] if rule["unit_type"] in case.get("units", {}) else case["unit_id"]
        case["buckets"] = {"layer": bucket(rule["layer"]["salt"], unit), "variant": bucket(rule["salt"], unit)}
        if checks:
            case["buckets"]["holdouts"] = {key: bucket(snapshot["holdouts"][key]["salt"], unit) for key, _ in checks}


def bucket(salt: str, unit_id: str) -> int:
    """Compute a bucket with sha256sum."""
    return int(sha256(salt, unit_id)[:13], 16) % BUCKETS


@cache
def sha256(salt: str, unit_id: str) -> str:
    """Compute a digest with sha256sum."""
    message = f"{len(salt.encode())}:{salt}{unit_id}".encode()
    return subprocess.run(["sha256sum"], input=message, capture_output=True, check=True).stdout[:64].decode()


def ranges(weights: list[int | float]) -> list[list[int]]:
    """Compute ranges by largest remainder."""
    total = sum(map(Fraction, weights))
    quotas = [Fraction(weight) / total * BUCKETS for weight in weights]
    sizes = [int(quota) for quota in quotas]
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index] - quotas[index], index))
    for index in order[: BUCKETS - sum(sizes)]:
        sizes[index] += 1
    return [[sum(sizes[:index]), sum(sizes[: index + 1])] for index in range(len(sizes))]


def _dump(document: dict[str, Any]) -> str:
    """Write one case, or one experiment of a snapshot, a line: a diff then names what changed."""
    members = [f"  {_line(name)}: {_lines(value, EXPANDED.get(name, 0), 1)}" for name, value in document.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def _lines(value: Any, levels: int, depth: int) -> str:
    if not levels or not isinstance(value, (dict, list)) or not value:
        return _line(value)
    indent = "  " * depth
    if isinstance(value, dict):
        items = [f"{_line(key)}: {_lines(item, levels - 1, depth + 1)}" for key, item in value.items()]
    else:
        items = [_lines(item, levels - 1, depth + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "".join(f"\n{indent}  {item}," for item in items)[:-1] + f"\n{indent}{closing}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


FILLED = {"hash": _fill_hash, "ranges": _fill_ranges, "evaluations": _fill_evaluations}

if __name__ == "__main__":
    regenerate()
