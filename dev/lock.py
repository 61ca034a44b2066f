"""Renew ``constraints.txt``: install the ranges of ``setup.cfg`` into a fresh environment and write down what came."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = "# Exact versions for CI and the demo, written by `make lock`; the ranges stand in setup.cfg.\n"
OURS = ("abplatform", "-e ", "# ")


def main() -> None:
    """Write the lock."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "install", "--quiet", "-e", "./sdk", "-e", ".[dev,docs]"], check=True, cwd=root)
        frozen = subprocess.run(
            [*pip, "freeze", "--all", "--exclude", "pip"], check=True, capture_output=True, text=True
        ).stdout
    lines = [line for line in frozen.splitlines() if not line.startswith(OURS)]
    (root / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
