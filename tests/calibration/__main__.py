"""``make calibration``: run every simulation in full and write the page; exit status 1 if a line does not hold."""

from __future__ import annotations

import sys
import time
from multiprocessing import Pool
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal

from abplatform.cli.progress import progress_bar
from tests.calibration.claims import Check, Row
from tests.calibration.page import as_page
from tests.calibration.sections import SECTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"


def main() -> int:
    """Run all, write the page, and say which lines do not hold."""
    checks = [check for section in SECTIONS for check in section.checks]
    try:
        rows = _run(checks)
    except KeyboardInterrupt:
        print("interrupted; the page is as it was", file=sys.stderr)
        return 130
    results = {section: {check: rows[check] for check in section.checks} for section in SECTIONS}
    PAGE.write_text(as_page(results), encoding="utf-8")
    broken = [row for found in rows.values() for row in found if not row.holds]
    for row in broken:
        print(f"DOES NOT HOLD: {row.what}: {row.measured.value:.4f}; asked: {row.claim.text}")
    print(f"wrote {PAGE.relative_to(Path.cwd())}" if PAGE.is_relative_to(Path.cwd()) else f"wrote {PAGE}")
    return 1 if broken else 0


def _run(checks: list[Check]) -> dict[Check, list[Row]]:
    """Run checks in as many processes as there are cores, saying when each is done."""
    began, done = time.monotonic(), {}
    # Ctrl-C is for this process alone, which then ends the others.
    with (
        Pool(initializer=signal, initargs=(SIGINT, SIG_IGN)) as pool,
        progress_bar("calibrating", len(checks)) as report,
    ):
        for check, rows in pool.imap_unordered(_rows, checks):
            done[check] = rows
            report(len(done))
            print(f"{time.monotonic() - began:6.0f} s  {check.name}: {_summary(rows)}", flush=True)
    return done


def _rows(check: Check) -> tuple[Check, list[Row]]:
    return check, check.full()


def _summary(rows: list[Row]) -> str:
    holding = sum(row.holds for row in rows)
    return "holds" if holding == len(rows) else f"{len(rows) - holding} of {len(rows)} lines do NOT hold"


if __name__ == "__main__":
    sys.exit(main())
