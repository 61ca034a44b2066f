"""Running the command as its users do, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "abplatform.cli")


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The process's environment with these settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ABPLATFORM_")}
    path = os.pathsep.join((str(ROOT), str(ROOT / "sdk")))
    return inherited | {"ABPLATFORM_HOME": str(home), "PYTHONPATH": path} | settings


def run(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home, **settings),
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
