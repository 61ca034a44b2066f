"""How this process was called, so that the commands that it prints can be copied."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "abplatform"


def program() -> str:
    """What to type for this program here: its bare name where the shell finds the same one, else its path."""
    called = Path(sys.argv[0])
    if called.name != _NAME or not called.is_file():
        return _NAME
    found = shutil.which(_NAME)
    if found is not None and Path(found).samefile(called):
        return _NAME
    # Not resolved: a virtual environment's folder may itself be a link.
    path = called.absolute()
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
