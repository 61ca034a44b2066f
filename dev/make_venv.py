"""Make the virtual environment, or say in one line what is missing for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(folder: str) -> int:
    """Make ``folder`` a virtual environment of this Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file has to say so on the older Python that runs it
        version = ".".join(map(str, sys.version_info[:2]))
        return _refuse(f"Python 3.11 or newer is needed, this is {version}; run: make PYTHON=python3.12 ...")
    if importlib.util.find_spec("ensurepip") is None and not _install_venv_module():
        return _refuse("this Python cannot make virtual environments; on Debian: apt-get install python3-venv")
    made = subprocess.run([sys.executable, "-m", "venv", folder], check=False)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        return _refuse("making the virtual environment failed; on Debian: apt-get install python3-venv")
    pip = [str(Path(folder, "bin", "python")), "-m", "pip", "--disable-pip-version-check"]
    return subprocess.run([*pip, "install", "--quiet", "--upgrade", "pip"], check=False).returncode


def _install_venv_module() -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment)
    return (
        subprocess.run(["apt-get", "install", "-y", "-qq", "python3-venv"], check=False, env=environment).returncode
        == 0
    )


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"make: {sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
