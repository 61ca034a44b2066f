"""The demo from beginning to end, in a home that has been used before."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from abplatform.bootstrap import Platform
from abplatform.cli.demo import insurance
from abplatform.cli.demo.customers import BASE_RATE, EFFECT, purchase_rate
from abplatform.domain.metric import Metric, Window
from abplatform.services.define import create_experiment, create_metric
from tests.builders import NOW, an_experiment
from tests.cli.commands import COMMAND, ROOT, environment, run
from tests.cli.tables import a_platform

# One in some hundred draws of the variants misses the planted effect: intervals promise no more, and it is no fault of
# the demo. What customers do is fixed by their names; so that this run misses always or never, the salts are, too.
FIXED_SALTS = """
import hashlib
import secrets
import sys

draw = secrets.token_hex


def token_hex(size=None):
    if size != 16:  # no salt
        return draw(size)
    return hashlib.shake_256(sys._getframe(1).f_code.co_qualname.encode()).hexdigest(size)


secrets.token_hex = token_hex
"""


def test_the_insurance_experiment_gives_the_published_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cai, de Janvry and Sadoulet (2015): .413 of 727 and .518 of 683 households, 85 and 81 village groups."""
    with a_platform(tmp_path / "home") as platform:
        insurance.show(platform)
        scorecard = platform.results("default", "rice-insurance")
        second = platform.results("default", "rice-insurance-intensive")
    control, treatment = scorecard.metrics[0].variants
    assert (control.units, control.clusters, round(control.mean or 0, 3)) == (727, 85, 0.413)
    assert (treatment.units, treatment.clusters, round(treatment.mean or 0, 3)) == (683, 81, 0.518)
    assert scorecard.metrics[0].comparisons[0].verdict == "better"
    assert [arm.units for arm in second.metrics[0].variants] == [717, 693]
    assert second.metrics[0].comparisons[0].verdict == "inconclusive"
    printed = capsys.readouterr().out
    assert "Rice insurance: is buying the default?" in printed
    assert "727 in 85 clusters" in printed


def test_the_planted_effect_is_relative() -> None:
    assert purchase_rate("treatment") / purchase_rate("control") == pytest.approx(1 + EFFECT)
    assert purchase_rate(None) == BASE_RATE


@pytest.mark.timeout(300)
def test_the_demo_runs_again_where_its_names_are_taken(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_platform(home) as platform:
        insurance.show(platform)
        _take_names(platform)
    (tmp_path / "sitecustomize.py").write_text(FIXED_SALTS)
    done = run(home, "demo", PYTHONPATH=os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "sdk"))))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "rice-insurance is there already: reading it again" in done.stdout
    looks = [int(number) for number in re.findall(r"^look (\d+): +[1-9]", done.stdout, flags=re.MULTILINE)]
    assert looks == list(range(looks[0], looks[0] + len(looks)))
    assert len(looks) >= 2
    assert "look 1:      0" not in done.stdout
    assert "defined and started rate-display-2 over HTTP" in done.stdout
    assert "20,000 customers came through 4 processes" in done.stdout
    assert re.search(r"The interval \[\S+, \S+\] covers the effect that was planted, \+22\.0%\.", done.stdout)
    assert re.search(r"^purchase-2 +control", done.stdout, flags=re.MULTILINE)
    page = home / "readouts" / "rate-display-2.html"
    assert f"wrote {page}" in done.stdout
    assert "over the looks" in page.read_text(encoding="utf-8")
    with a_platform(home) as platform:
        scorecard = platform.results("default", "rate-display-2")
        with platform.uow.reading() as work:
            assert work.experiments.get("default", "rate-display-2").status == "running"
            demo_keys = [key for key in work.keys.all("default") if "demo" in str(key)]
    assert sum(scorecard.health.units.values()) == 20_000
    assert scorecard.health.ok
    assert scorecard.health.mismatched_exposures == 0, "the server draws what the SDK drew"
    assert len(demo_keys) == 3
    assert all("revoked_at=None" not in str(key) for key in demo_keys)


def test_a_server_that_is_gone_is_one_line_with_its_log(tmp_path: Path) -> None:
    """Its log is where the demo says, and the demo does not wait for the customers."""
    home = tmp_path / "home"
    demo = subprocess.Popen(
        [*COMMAND, "demo"],
        env=environment(home, PYTHONUNBUFFERED="1", TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        assert any(line.startswith("look ") for line in demo.stdout), "customers are coming"
        os.kill(_server_of(demo.pid), signal.SIGKILL)
        _, said = demo.communicate(timeout=30)
    finally:
        demo.kill()
        demo.wait(20)
    assert demo.returncode == 1
    error = said.splitlines()[-1]
    assert error == f"Error: the demo's server does not answer any more; see its log: {home / 'demo-server.log'}"
    assert (home / "demo-server.log").is_file()
    assert "Traceback" not in said


def _server_of(demo: int) -> int:
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(demo)], capture_output=True, text=True, check=True)
    (line,) = [line for line in listed.stdout.splitlines() if line.endswith("abplatform.cli serve")]
    return int(line.split()[0])


def _take_names(platform: Platform) -> None:
    with platform.uow.begin() as work:
        other = Metric(
            key="purchase", name="Purchase", kind="conversion", event="order", window=Window(end=timedelta(days=1))
        )
        create_metric(work, "default", other, now=NOW)
        create_experiment(work, "default", an_experiment("rate-display"), now=NOW)
