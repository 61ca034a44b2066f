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
TOUR = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Five minutes with a live one")[2]
DEMO_METRICS = (PURCHASE, COMPLAINT, DEPOSIT)
SNIPPETS = re.findall(r"```(bash|python)\n(.*?)```", TOUR, flags=re.DOTALL)


def test_the_tour_of_the_readme_runs_and_finds_what_it_plants(tmp_path: Path) -> None:
    assert [language for language, _ in SNIPPETS] == ["bash", "python", "bash"]
    with serving(tmp_path / "home") as server:
        for document in DEMO_METRICS:
            server.call("POST", "/metrics", document)  # the tour works beside the demo's data
        variables = environment(tmp_path / "home", ABP_KEY=server.key("admin"))
        printed = []
        functions = re.search(r"^api\(\) .*$", SNIPPETS[0][1], flags=re.MULTILINE)
        assert functions
        for position, (language, code) in enumerate(SNIPPETS):
            text = code.replace("http://localhost:8080", server.url)
            # Each block is a shell of its own here: the function that the first one defines comes along.
            head = functions.group().replace("http://localhost:8080", server.url) + "\n" if position else ""
            text = text.replace(".venv/bin/abplatform", f"{sys.executable} -m abplatform.cli")
            command = ["bash", "-euc", head + text] if language == "bash" else [sys.executable, "-c", text]
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


@pytest.mark.parametrize(
    "page", re.findall(r"\((docs/[\w./-]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
)
def test_every_page_that_the_readme_names_exists(page: str) -> None:
    assert (ROOT / page).is_file()
