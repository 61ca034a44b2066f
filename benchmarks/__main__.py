"""``make bench``: run every benchmark and print what was asked and what was seen."""

from __future__ import annotations

import sys

from benchmarks import bulk, decisions, imports, inference, sdk_weight


def main() -> int:
    """Run all; the exit status says whether every goal was met."""
    met = True
    for module in (inference, decisions, sdk_weight, bulk, imports):
        for result in module.run():
            met = met and result.met
            print(f"{'ok  ' if result.met else 'MISS'}  {result.name}: {result.figure}; goal: {result.goal}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
