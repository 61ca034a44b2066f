"""D-6: fsync fails with EIO for a while (embedded default)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from tests.chaos.row import Row, progress
from tests.chaos.server.installation import Installation
from tests.chaos.server.load import Load, sending
from tests.chaos.server.power_cut import on_a_disk
from tests.chaos.server.scene import compare, rows

TIMES = 3
SECONDS = 3.0
MOST_SECONDS = 5.0


def measure() -> Iterator[Row]:
    """Let it fail some times."""
    yield from fail_often(TIMES)


def fail_often(times: int, *, seconds: float = SECONDS) -> Iterator[Row]:
    """Let every fsync fail for a while, then none; what a failed fsync dropped is dropped by a power cut in the end."""
    failing, healed = Counter[int](), list[float]()
    with on_a_disk() as (disk, installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            for number in range(times):
                load.acknowledge_some()
                load.hold()
                disk.switch("sync_fails", on=True)
                failing += load.send_for(seconds)
                disk.switch("sync_fails", on=False)
                load.count_anew()
                healed.append(time_to_heal(installation, load))
                progress(f"failure {number + 1}: {dict(failing)}, healed after {healed[-1]:.2f} s")
            load.acknowledge_some()
            load.hold()
            installation.kill("both")
            disk.cut_power()
            installation.start()
            after_cut = compare(installation, ledger, complete=False)
            load.count_anew()
            load.acknowledge_some()
            load.finish()
        last = compare(installation, ledger, complete=True)
    what = f"sqlite, every fsync fails for {seconds:g} s, {times} times"
    proper = set(failing) <= {503, 507} and failing.total() > 0
    yield Row("D-6", f"{what}: no acknowledgement, only 503", f"{_statuses(failing)}", proper)
    yield Row("D-6", f"{what}, then a power cut: 0 lost, 0 counted twice", str(after_cut), after_cut.sound)
    end = f"{what}, and a power cut, then all delivered again"
    yield from rows("D-6", end, last, load, faults=times + 1, others=[after_cut])
    yield healing("D-6", what, healed)


def time_to_heal(installation: Installation, load: Load) -> float:
    """Seconds until an event is acknowledged again, without a restart; infinite if none is for a minute."""
    began, ledger = time.monotonic(), load.ledger
    before = ledger.statuses[202]
    load.go_on()
    try:
        while ledger.statuses[202] == before:
            if time.monotonic() > began + 60 or not installation.running("serve"):
                return float("inf")
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        load.hold()


def healing(id_: str, what: str, healed: list[float]) -> Row:
    """The row about the time until events are taken again."""
    asked = f"{what}: heals within {MOST_SECONDS:g} s without a restart"
    return Row(id_, asked, f"at most {max(healed):.2f} s", max(healed) <= MOST_SECONDS)


def _statuses(counts: Counter[int]) -> str:
    return ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(counts.items())) or "no requests"
