"""``make bench``: run every benchmark and print what was asked and what was seen.

``make bench ARGS='ingest sealing'`` runs only those.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.processes import tidy_up_when_told_to_end

MODULES = ("inference", "decisions", "sdk_weight", "bulk", "imports", "ingest", "sealing", "results", "many_metrics")


def main() -> int:
    """Run all, or those that were named; the exit status says whether every goal was met."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed beside peers, against goals.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; by default all")
    names = parser.parse_args().modules
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}")
    met = True
    for name in names or MODULES:
        for result in import_module(f"benchmarks.{name}").run():
            met = met and result.met
            print(
                f"{'ok  ' if result.met else 'MISS'}  {result.name}: {result.figure}; goal: {result.goal}", flush=True
            )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
