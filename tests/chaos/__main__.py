"""``make chaos``: what SDK and event path withstand, one line for each requirement; exit status 1 if one is missed.

Names of subjects as arguments measure those only. A subject that breaks off, or cannot be measured, is a miss. Who
knows that one cannot be measured on a machine says so: ``--not-here full_tmpfs`` leaves it out, and the report tells.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator

from tests.chaos import abuse, delivery, endings, faults, forks, outage
from tests.chaos.row import Figures, Measure, Row, draw_table
from tests.chaos.server import failing_disk, full_disk, kills, power_cut, restarts, sealing_steps, stalled

SUBJECTS: dict[str, Measure] = {
    "faults": faults.measure,
    "outage": outage.measure,
    "delivery": delivery.measure,
    "endings": endings.measure,
    "forks": forks.measure,
    "abuse": abuse.measure,
    "kills": kills.measure,
    "power_cut": power_cut.measure,
    "failing_disk": failing_disk.measure,
    "full_disk": full_disk.fill_simulated,
    "full_tmpfs": full_disk.fill_tmpfs,
    "restarts": restarts.measure,
    "sealing_steps": sealing_steps.measure,
    "stalled": stalled.measure,
}


def main(arguments: list[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="what SDK and event path withstand")
    parser.add_argument("subjects", nargs="*", help=f"some of {', '.join(SUBJECTS)}; by default all")
    parser.add_argument("--not-here", action="append", default=[], choices=SUBJECTS, help="cannot be measured here")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.subjects if name not in SUBJECTS]:
        parser.error(f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    began, misses, count, figures = time.monotonic(), 0, 0, list[Figures]()
    for subject in [name for name in chosen.subjects or SUBJECTS if name not in chosen.not_here]:
        begun = time.monotonic()
        for row in measure(subject):
            print(row, flush=True)
            misses += not row.holds
            count += 1
            figures += [] if row.figures is None else [row.figures]
        print(f"      {subject}: {time.monotonic() - begun:.0f} s", flush=True)
    if figures:
        print(draw_table(figures))
    for name in chosen.not_here:
        print(f"NOT MEASURED, as --not-here asked: {name}")
    print(f"{count - misses} of {count} hold, {time.monotonic() - began:.0f} s")
    return 1 if misses or not count else 0


def measure(subject: str) -> Iterator[Row]:
    """The rows of a subject; if it breaks off, one more, that does not hold."""
    rows = 0
    try:
        for row in SUBJECTS[subject]():
            rows += 1
            yield row
    except Exception as error:  # noqa: BLE001 (whatever it was, the other subjects are still measured)
        traceback.print_exc()
        yield Row("-", f"{subject} is measured to its end", f"NOT MEASURED: {error}", holds=False)
    else:
        if not rows:
            yield Row("-", f"{subject} is measured", "NOT MEASURED: no rows", holds=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
