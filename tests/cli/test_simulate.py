"""``abplatform simulate``: what it prints, what it refuses, that equal seeds give equal output."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from abplatform.cli.main import run as run_here
from tests.cli.commands import COMMAND, ROOT, environment, run

FAST = ["--repetitions", "200"]


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, dict[str, float]]]:
    assert run_here(["simulate", *FAST, "--format", "json", *arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def test_an_a_a_test_counts_false_alarms_with_their_monte_carlo_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["simulate", *FAST, "--method", "naive", "--seed", "7"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("A/A: both arms alike\n")
    for shown in (r"seed +7\b", r"looks +20\b", r"repetitions +200\b", r"method +naive\b"):
        assert re.search(shown, text)
    (line,) = re.findall(r"false alarms +(\S+) +(\S+)\n", text)
    # 20 looks at 5%: .248 (Armitage, McPherson and Rowe, 1969), error sqrt(.248 * .752 / 200) = .031.
    assert float(line[0]) == pytest.approx(0.248, abs=4 * 0.031)
    assert float(line[1]) == pytest.approx(0.031, abs=0.005)
    assert max(len(row) for row in text.splitlines()) <= 80


def test_an_a_b_test_shows_power_sign_and_the_winners_curse(capsys: pytest.CaptureFixture[str]) -> None:
    document = simulated(capsys, "--effect", "0.2", "--method", "naive")
    results = document["results"]
    assert results["power"]["value"] > 0.5
    assert results["wrong_sign"]["value"] < 0.2
    assert document["true_effect"] == pytest.approx(0.05 * 0.2)
    assert results["mean_winning_estimate"]["value"] > document["true_effect"]
    assert all(figure["error"] > 0 for figure in results.values())
    assert [look["units"] for look in document["decided_by_look"]] == list(range(1_000, 20_001, 1_000))
    assert document["decided_by_look"][-1]["share"] == pytest.approx(
        results["power"]["value"] + results["wrong_sign"]["value"]
    )


def test_sequential_errs_less_than_naive_peeking(capsys: pytest.CaptureFixture[str]) -> None:
    rates = [
        simulated(capsys, "--method", method)["results"]["false_alarms"]["value"] for method in ("sequential", "naive")
    ]
    assert rates[0] <= 0.05 < rates[1]


def test_equal_seeds_give_equal_output_and_others_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    one, two, other = (simulated(capsys, "--method", "naive", "--seed", seed)["results"] for seed in ("3", "3", "4"))
    assert one == two != other


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "normal", "--mean", "10", "--sd", "3", "--every", "999"],
        ["--data", "lognormal", "--sd", "2", "--cap", "p99", "--split", "90/10", "--units", "2000"],
        ["--data", "revenue", "--rate", "0.1", "--cap", "5", "--method", "fixed"],
        ["--method", "bayesian", "--prior-scale", "0.1", "--loss-threshold", "0.01", "--effect", "-0.5"],
        ["--method", "group_sequential", "--spending", "pocock", "--looks", "5"],
        ["--no-guard", "--alpha", "0.2", "--looks", "1"],
        ["--units", "2", "--repetitions", "2"],
        ["--data", "lognormal", "--sd", "10", "--mean", "1e12", "--effect", "1e6", "--split", "5000/1"],
        ["--data", "normal", "--sd", "1e-12", "--mean", "1e12", "--effect", "1e-9"],
        ["--rate", "1e-9", "--alpha", "1e-9"],
    ],
)
def test_every_kind_of_data_method_and_schedule_runs(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    document = simulated(capsys, *arguments)
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    for name in ("data", "method", "split"):
        assert document["simulation"][name] == given.get(f"--{name}", document["simulation"][name])
    assert 0 <= document["decided_by_look"][-1]["share"] <= 1


def test_a_cap_may_be_a_quantile_of_the_amounts_above_0(capsys: pytest.CaptureFixture[str]) -> None:
    document = simulated(capsys, "--data", "revenue", "--mean", "50", "--sd", "1.5", "--cap", "p99", "--looks", "1")
    # exp(ln 50 - 1.5^2 / 2 + 1.5 * 2.3263)
    assert document["simulation"]["cap"] == pytest.approx(531.9, abs=0.1)


def test_numbers_keep_the_digits_that_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["simulate", *FAST, "--rate", "0.9999999999", "--split", "1.00000001/1"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"rate +0\.9999999999\n", text)
    assert re.search(r"split +1\.00000001/1\n", text)
    assert run_here(["simulate", *FAST, "--effect", "-0.9999999999"]) == 0
    assert capsys.readouterr().out.startswith("A/B: relative effect -0.9999999999\n")


def test_units_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for method, shown in (("fixed", r"20,000 +0"), ("naive", r"[\d,]+ +\d+")):
        assert run_here(["simulate", *FAST, "--method", method]) == 0
        assert re.search(rf"mean units at stopping +{shown}\n", capsys.readouterr().out)


def test_what_the_engine_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise ValueError("m2 must be finite")

    monkeypatch.setattr("abplatform.stats.simulate.simulate", refuse)
    assert run_here(["simulate", *FAST]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("Error: these numbers cannot be simulated: m2 must be finite")
    assert said.out == ""


def test_facts_are_those_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    facts = simulated(capsys)["simulation"]
    assert {"rate", "guard", "looks", "seed", "repetitions", "split"} <= facts.keys()
    assert not {"mean", "sd", "cap", "every", "prior_scale", "loss_threshold"} & facts.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "hope"], "--method"),
        (["--cap", "p99"], "--cap goes with --data lognormal or revenue only"),
        (["--data", "normal", "--rate", "0.1"], "--rate goes with --data bernoulli or revenue only"),
        (["--mean", "2"], "--mean goes with"),
        (["--sd", "2"], "--sd goes with"),
        (["--data", "lognormal", "--cap", "-1"], "'--cap'"),
        (["--data", "lognormal", "--cap", "p100"], "'--cap'"),
        (["--data", "lognormal", "--cap", "nan"], "'--cap'"),
        (["--data", "lognormal", "--cap", "p999"], "a value from 1e-12 to 1e+12 or a quantile between p0 and p100"),
        (["--data", "lognormal", "--cap", "1e-300"], "'1e-300' is not a value from 1e-12 to 1e+12"),
        (["--data", "lognormal", "--cap", "1e-160", "--method", "bayesian"], "'1e-160' is not a value from 1e-12"),
        (["--data", "lognormal", "--cap", "p1e-300", "--sd", "9"], "--cap: p1e-300 is "),
        (["--data", "lognormal", "--cap", "p99.9999999", "--mean", "1e12"], "--cap: p99.9999999 is "),
        (["--method", "fixed", "--no-guard"], "--guard/--no-guard goes with --method sequential only"),
        (["--prior-scale", "1"], "--prior-scale goes with --method bayesian only"),
        (["--spending", "pocock"], "--spending goes with --method group_sequential only"),
        (["--loss-threshold", "0.1"], "--loss-threshold goes with --method bayesian only"),
        (["--method", "bayesian", "--alpha", "0.5"], "--alpha"),
        (["--looks", "5", "--every", "5"], "--looks and --every exclude each other"),
        (["--looks", "21000"], "--looks: must not exceed --units (20,000)"),
        (["--every", "20001"], "--every: must not exceed --units"),
        (["--units", "1000000", "--looks", "100001"], "--looks"),
        (["--units", "1000000", "--every", "9"], "--every: would make more than 100,000 looks"),
        (["--rate", "0.6", "--effect", "0.7"], "--effect: would make the rate of the treatment 1 or more"),
        (["--effect", "-1"], "'--effect'"),
        (["--effect", "nan"], "'--effect'"),
        (["--rate", "nan"], "'--rate'"),
        (["--data", "normal", "--sd", "inf"], "'--sd'"),
        (["--data", "lognormal", "--sd", "11"], "--sd: of a logarithm must be at most 10"),
        (["--alpha", "1e-300"], "'--alpha'"),
        (["--split", "50"], "'--split'"),
        (["--split", "0/100"], "'--split'"),
        (["--split", "nan/1"], "'--split'"),
        (["--units", "1"], "'--units'"),
        (["--repetitions", "1"], "'--repetitions'"),
        (["--seed", "-1"], "'--seed'"),
    ],
)
def test_a_refusal_names_the_option(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert run_here(["simulate", *arguments]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert said.out == ""


def test_it_needs_no_data_and_makes_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run(home, "simulate", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert not home.exists()


LONG = ("simulate", "--data", "lognormal", "--units", "100000", "--repetitions", "100000")


def test_a_terminal_sees_a_bar_and_ctrl_c_ends_it_with_one_line(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *LONG],
        env=environment(tmp_path / "home", TERM="xterm", COLUMNS="100"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = _read_until(ours, b"%")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    seen += _read_until(ours, b"interrupted")
    os.close(ours)
    assert b"simulating" in seen
    assert b"Error: interrupted" in seen
    assert b"Traceback" not in seen
    assert (process.returncode, out) == (130, b"")


def _read_until(terminal: int, mark: bytes) -> bytes:
    """What the terminal shows up to a mark, or until the other side has gone."""
    seen, end = b"", time.monotonic() + 60
    while mark not in seen and time.monotonic() < end:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    return seen
