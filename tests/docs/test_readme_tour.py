"""The tour in the README, run as it stands against the real server."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from abplatform.cli.demo import insurance
from abplatform.cli.demo.definition import COMPLAINT, DEPOSIT, PURCHASE, RATE_DISPLAY
from tests.e2e.server import environment, serving

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = README.partition("## Five minutes with a live one")[2]
DEMO_METRICS = (PURCHASE, COMPLAINT, DEPOSIT)
SNIPPETS = re.findall(r"```(bash|python)\n(.*?)```", TOUR, flags=re.DOTALL)


def test_the_tour_of_the_readme_runs_and_finds_what_it_plants(tmp_path: Path) -> None:
    assert [language for language, _ in SNIPPETS] == ["bash", "python", "bash"]
    with serving(tmp_path / "home") as server:
        for document in DEMO_METRICS:
            server.call("POST", "/metrics", document)  # the tour works beside the demo's data
        variables = environment(tmp_path / "home", ABP=server.url, KEY=server.key("admin"))
        printed = []
        functions = re.search(r"^api\(\) .*$", SNIPPETS[0][1], flags=re.MULTILINE)
        assert functions
        program = f'abplatform() {{ {sys.executable} -m abplatform.cli "$@"; }}\n'
        for position, (language, code) in enumerate(SNIPPETS):
            # Each block is a shell of its own here: the function that the first one defines comes along.
            head = program + (functions.group() + "\n" if position else "")
            command = ["bash", "-euc", head + code] if language == "bash" else [sys.executable, "-c", code]
            done = subprocess.run(
                command,
                env=variables | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk'}"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
            printed.append(done.stdout)
    results = json.loads(printed[-1][printed[-1].index('{"') :])
    assert (tmp_path / "rate-copy.html").stat().st_size > 100_000
    assert results["health"]["ok"] is True
    assert sum(results["health"]["units"].values()) == 4000
    (comparison,) = results["metrics"][0]["comparisons"]
    # Salts are random, so the estimate is: five standard errors are missed once in 1.7 million runs (normal tails).
    error = math.sqrt(sum(each["sd"] ** 2 / each["units"] for each in results["metrics"][0]["variants"]))
    assert abs(comparison["absolute"]["estimate"] - 0.10) < 5 * error, "the planted effect"
    assert comparison["verdict"] == "better"
    assert results["decision"]["recommendation"] == "ship"
    assert "rate-copy" in printed[-1]


def test_the_tour_uses_no_name_of_the_demo() -> None:
    """Who has run the demo in the same home would meet its definitions."""
    keys = set(re.findall(r'"key": "([^"]+)", "name"', TOUR))
    events = set(re.findall(r'"event": "([^"]+)"', TOUR)) | set(re.findall(r'client\.track\("([^"]+)"', TOUR))
    assert keys == {"first-purchase", "rate-copy"}
    assert events == {"first-purchase"}
    adopted = insurance.import_requests(Path("table.csv"))
    theirs = {RATE_DISPLAY, *(metric["key"] for metric in DEMO_METRICS)}
    theirs |= {request.key for request in adopted}
    theirs |= {outcome.column for request in adopted for outcome in request.outcomes}
    assert not (keys | events) & (theirs | {metric["event"] for metric in DEMO_METRICS})


def test_the_readme_lists_every_page() -> None:
    listed = set(re.findall(r"^\| \[docs/([\w-]+\.md)\]", README, flags=re.MULTILINE))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}


def test_commands_are_written_for_one_shell() -> None:
    """`abplatform` in PATH, the server in ABP, a key in KEY: on all pages."""
    pages = {page: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    assert [
        page.name for page, text in pages.items() if re.search(r"(?<!/opt/abplatform/)\.venv/bin/abplatform", text)
    ] == []
    assert [
        page.name for page, text in pages.items() if re.search(r"\bABP_KEY\b|pip install 'abplatform\[", text)
    ] == []
    assert "export PATH=$PWD/.venv/bin:$PATH" in README


@pytest.mark.parametrize("page", re.findall(r"\((docs/[\w./-]+\.md)\)", README))
def test_every_page_that_the_readme_names_exists(page: str) -> None:
    assert (ROOT / page).is_file()
