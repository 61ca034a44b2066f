"""Run all vectors against an evaluator by its module's name, with the standard library alone.

``python tests/vectors/check_evaluator.py abplatform_sdk._assignment`` prints one line of counts; exit status 1 names
each case that differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main(module: str) -> int:
    """Check the evaluator; the exit status says whether all agree."""
    evaluator = import_module(module)
    counts, differing = {}, []
    for name, check in (("hash", hashes), ("ranges", ranges), ("targeting", targeting), ("evaluations", evaluations)):
        document = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        outcomes = list(check(evaluator, document))
        counts[name] = len(outcomes)
        differing += [f"{name}: {case}" for case, agrees in outcomes if not agrees]
    print(*differing, sep="\n", file=sys.stderr)
    verdict = f"{len(differing)} differ" if differing else "all agree"
    print(", ".join(f"{name} {count}" for name, count in counts.items()) + f": {verdict}")
    return 1 if differing else 0


def hashes(evaluator: Any, document: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Buckets and digests."""
    for case in document["cases"]:
        pair = (case["salt"], case["unit_id"])
        found = (evaluator.bucket(*pair), evaluator.unit_digest(*pair))
        yield case["name"], found == (case["bucket"], case["sha256"])


def ranges(evaluator: Any, document: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Ranges of variants."""
    for case in document["cases"]:
        yield case["name"], [list(each) for each in evaluator.variant_ranges(case["weights"])] == case["ranges"]


def targeting(evaluator: Any, document: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Conditions."""
    for case in document["cases"]:
        matches = evaluator.compile_condition(case["condition"], case.get("groups"))(case["attributes"])
        yield case["name"], matches is case["matches"]


def evaluations(evaluator: Any, document: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Whole evaluations."""
    snapshots = {name: evaluator.decode_snapshot(each) for name, each in document["snapshots"].items()}
    for case in document["cases"]:
        arguments = (case["experiment"], case["unit_id"], case.get("attributes"))
        found = evaluator.evaluate(snapshots.get(case["snapshot"]), *arguments, units=case.get("units"))._asdict()
        found["holdouts"] = [list(check) for check in found["holdouts"]]
        yield case["name"], found == {"experiment": case["experiment"], "holdouts": [], **case["expected"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
