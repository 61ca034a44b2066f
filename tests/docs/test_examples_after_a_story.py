"""Examples of the pages of reference, as printed: they run after one story, in one home, against its server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.docs.guides import empty_folder, run_here
from tests.e2e.server import Server, serving

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Templates before metrics, whose page makes another version of one of them.
PAGES = (
    "acquisition-cost.md",
    "behaviours.md",
    "curves.md",
    "http-api.md",
    "portfolio.md",
    "templates.md",
    "metrics.md",
)
BLOCK = re.compile(r"^```(?P<language>bash|sh)\n(?P<commands>.*?)^```", re.MULTILINE | re.DOTALL)
# Bash does not say by itself that a command within a block failed, nor curl that it was refused.
HEAD = f"""set -eo pipefail
abplatform() {{ {sys.executable} -m abplatform.cli "$@"; }}
curl() {{ command curl -sS --fail-with-body "$@"; }}
"""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [found["commands"] for found in BLOCK.finditer(text) if found["language"] == language]


def run_shell(commands: str) -> str:
    """What it prints, run in the present folder; a refusal fails."""
    done = subprocess.run(
        ["bash", "-c", HEAD + commands],
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def run_block(commands: str) -> str:
    """The same; lines that start with the program run in this process, since starting one takes longer than most."""
    printed = []
    for ours, group in groupby(commands.splitlines(), lambda line: line.startswith("abplatform ")):
        lines = list(group)
        if ours:
            printed += [run_here(shlex.split(line, comments=True)[1:]) for line in lines]
        else:
            printed.append(run_shell("\n".join(lines)))
    return "".join(printed)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of a reader who has told the story before."""
    home = tmp_path_factory.mktemp("story") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABPLATFORM_HOME", str(home))
        run_here(["simulate-app", "rate-display"])
    with serving(home) as running:
        yield running


@pytest.fixture(autouse=True)
def _reader(server: Server, tmp_path: Path) -> Iterator[None]:
    with empty_folder(tmp_path):
        os.environ["ABPLATFORM_HOME"] = str(server.home)
        yield


@pytest.mark.timeout(120)
def test_examples_run_after_the_story(server: Server) -> None:
    os.environ.update(ABP=server.url, KEY=server.key("admin"))
    printed = {page: "".join(map(run_block, blocks(page, "bash"))) for page in PAGES}
    assert all(printed.values()), "each page has some, and each says something"
    # What the pages say of the numbers.
    assert re.search(r"^7 +control .* 13\.95%", printed["curves.md"], re.MULTILINE)
    assert re.search(r"^30 +control .* 18\.77%", printed["curves.md"], re.MULTILINE)
    assert re.search(r"^all with a cost +control .* 71\.93 ", printed["acquisition-cost.md"], re.MULTILINE)
    assert re.search(r"^ +treatment .* 55\.65 ", printed["acquisition-cost.md"], re.MULTILINE)
    assert "made app-purchase" in printed["templates.md"]
    assert all(Path(name).is_file() for name in ("classes.csv", "curve.html", "portfolio.html"))


@pytest.mark.timeout(120)
def test_the_step_from_the_readout_to_the_decision_is_one_to_type(server: Server) -> None:
    serve, decide = blocks("guides/index.md", "sh")
    home, address = "export ABPLATFORM_HOME=rate-display\n", "http://localhost:8080"
    assert serve == f"{home}abplatform serve\n", "which the fixture has done"
    assert home in decide
    assert address in decide
    readout = run_shell(decide.replace(home, "").replace(address, server.url))
    assert "purchases up, complaints within the margin" in readout.partition("Rate display (rate-display)")[2]
