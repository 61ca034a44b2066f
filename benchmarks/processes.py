"""What processes took of the machine, from ``/proc``, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tidy_up_when_told_to_end() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that servers are stopped and folders removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))


def family(root: int) -> tuple[int, ...]:
    """A process and all that descend from it."""
    children = defaultdict(list)
    for pid, fields in _all().items():
        children[int(fields[1])].append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return tuple(found)


def cpu_seconds(root: int) -> float:
    """Seconds of the processor that a process and its living descendants have taken."""
    known = _all()
    return sum((int(known[pid][11]) + int(known[pid][12])) / _TICKS for pid in family(root) if pid in known)


def peak_megabytes(root: int) -> float:
    """Largest resident sizes of a process and its living descendants, added up."""
    return sum(_peak(pid) for pid in family(root)) / 1024


def _all() -> dict[int, list[str]]:
    """The fields of ``/proc/PID/stat`` behind the name, which may contain anything."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue  # it has just ended
            found[int(folder.name)] = text.rpartition(")")[2].split()
    return found


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
