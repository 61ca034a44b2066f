"""Run the commands of the guides, and write what they print into the pages: ``python -m tests.docs.guides``.

A page is run in an empty folder from top to bottom. A text block has what the bash block before it printed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from abplatform.cli.main import run

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "guides"
PAGES = sorted(FOLDER.glob("*.md"))
_BLOCK = re.compile(r"```bash\n(?P<commands>.*?)```\n\n```text\n(?P<printed>.*?)```", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?")


def mask(text: str) -> str:
    """Times are those of the run: the story ends when it is told."""
    return _TIME.sub(lambda found: re.sub(r"\d", "0", found.group()), text)


def run_page(page: str) -> str:
    """The page with what its commands print now, in the present folder; equal texts but for times stay as they are."""

    def fill(block: re.Match[str]) -> str:
        printed = "".join(map(_run, block["commands"].splitlines()))
        kept = block["printed"] if mask(block["printed"]) == mask(printed) else printed
        return f"```bash\n{block['commands']}```\n\n```text\n{kept}```"

    return _BLOCK.sub(fill, page)


@contextlib.contextmanager
def empty_folder(folder: Path) -> Iterator[None]:
    """Be in a folder with no settings, and afterwards as before."""
    before, here = dict(os.environ), Path.cwd()
    for name in [name for name in os.environ if name.startswith("ABPLATFORM_")]:
        del os.environ[name]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def _run(line: str) -> str:
    words = shlex.split(line)
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        os.environ[name] = value
        return ""
    return run_here(words[1:]) if words[0] == "abplatform" else _run_python(words)


def run_here(arguments: Sequence[str]) -> str:
    """In this process, since starting one takes longer than most commands."""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        status = run(arguments)
    if status:
        raise RuntimeError(f"abplatform {' '.join(arguments)}: {said.getvalue()}")
    return printed.getvalue()


def _run_python(words: Sequence[str]) -> str:
    if words[0] != "python":
        raise ValueError(f"{words[0]} is no command that guides may have")
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Write all pages again; read the diff."""
    for path in PAGES:
        with tempfile.TemporaryDirectory() as folder, empty_folder(Path(folder)):
            path.write_text(run_page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
