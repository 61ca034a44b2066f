"""The programs that the suite needs beside Python: installed by name as root on Debian, else named.

With ``CI=true`` a missing one is a failure; elsewhere the tests that need it skip, and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """One program: its Debian package, how to see that it is there, and what skips without it."""

    package: str
    present: Callable[[], bool]
    skipped: str


def _on_path(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _postgresql() -> bool:
    return bool(shutil.which("initdb")) or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


PROGRAMS = (
    Program("chromium", _on_path("chromium"), "the readout page in a browser"),
    Program("postgresql", _postgresql, "every test on PostgreSQL"),
    Program("default-jre-headless", _on_path("java"), "Spark"),
    Program("gcc", _on_path("cc", "gcc", "clang"), "power cuts and full disks"),
    Program("libc6-dev", Path("/usr/include/stdio.h").exists, "power cuts and full disks"),
    Program("curl", _on_path("curl"), "the tour of the README"),
    Program("procps", _on_path("ps"), "what the demo leaves behind"),
    Program("nodejs", _on_path("node"), "the assignment vectors in JavaScript"),
    Program("npm", _on_path("npm"), "OpenFeature's JavaScript providers"),
)


def main() -> int:
    """Install what is missing where that is possible; report the rest."""
    missing = [program for program in PROGRAMS if not program.present()]
    if missing and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install([program.package for program in missing])
        missing = [program for program in PROGRAMS if not program.present()]
    for program in missing:
        sys.stderr.write(f"missing: {program.package} (on Debian: apt-get install {program.package}); ")
        sys.stderr.write(f"without it these tests skip: {program.skipped}\n")
    return 1 if missing and os.environ.get("CI") == "true" else 0


def _install(packages: list[str]) -> None:
    sys.stderr.write(f"installing with apt-get: {', '.join(packages)}\n")
    # dpkg wants the sbin folders on its path, which a clean environment may lack.
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": path}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], check=False, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
