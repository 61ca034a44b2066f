"""``make chaos``: what SDK and event path withstand, one line for each requirement; exit status 1 if one is missed.

Names of subjects as arguments measure those only.
"""

from __future__ import annotations

import sys
import time

from tests.chaos import abuse, delivery, endings, faults, forks, outage
from tests.chaos.row import Measure
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
    "full_disk": full_disk.measure,
    "restarts": restarts.measure,
    "sealing_steps": sealing_steps.measure,
    "stalled": stalled.measure,
}


def main(chosen: list[str]) -> int:
    """Measure, and print."""
    if unknown := [name for name in chosen if name not in SUBJECTS]:
        print(f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}", file=sys.stderr)
        return 2
    began, misses, count = time.monotonic(), 0, 0
    for subject in chosen or SUBJECTS:
        for row in SUBJECTS[subject]():
            print(row, flush=True)
            misses += not row.holds
            count += 1
    print(f"{count - misses} of {count} hold, {time.monotonic() - began:.0f} s")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
