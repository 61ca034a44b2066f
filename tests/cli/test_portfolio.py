"""``holdout``, ``portfolio`` and ``interactions`` as people meet them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from abplatform.cli.main import run as run_here
from abplatform.domain.events import name_holdout
from abplatform.domain.interactions import Interactions
from abplatform.domain.portfolio import Portfolio
from abplatform.readout.interactions import report_interactions
from abplatform.readout.portfolio import report_portfolio
from tests.api.conftest import Service
from tests.api.documents import holdout_body
from tests.api.portfolios import Unit, bring, crossed, define, run_past, spend, start
from tests.cli.tables import a_platform


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("portfolio") / "home"
    rng = np.random.default_rng(2)
    with a_platform(home) as platform:
        service = Service(platform)
        define(service)
        assert service.admin.post("/holdouts", json=holdout_body(share=0.5, name="<b>Q3</b>")).status_code == 201
        run_past(service, {"one": 0.6, "two": 0.0, "three": -0.1}, ship=["one"])
        start(service, "banner", "price", "colour")
        bring(service, crossed(1_600))
        groups = [("held_out", "open")[number % 2] for number in range(400)]
        bring(service, [Unit(f"h-{n}", {name_holdout("q3"): group}, spend(rng, 9.0)) for n, group in enumerate(groups)])
    return home


@pytest.fixture(autouse=True)
def _here(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(shared))
    monkeypatch.setenv("ABPLATFORM_ENGINE_MEMORY", "256MB")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = run_here(list(arguments))
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "\x1b" not in captured.out
    return captured.out


def test_a_holdout_is_read_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = said(capsys, "holdout", "q3", "--metric", "revenue", "--metric", "buys")
    assert text.startswith("What was shipped outside the holdout q3: <b>Q3</b>\n50.00% of all user_id are held out")
    assert "Health: ok - held_out: 200, open: 200 units analysed; sample ratio as planned (p " in text
    (buys,) = [line for line in text.splitlines() if line.startswith("buys") and " pp" in line]
    assert re.search(r"[+−][\d.]+ pp +\[[+−][\d.]+, [+−][\d.]+ pp\]", buys), "the difference of a rate is in points"
    assert " (1 part)" in text  # the sum of one part
    document = json.loads(said(capsys, "holdout", "q3", "--metric", "revenue", "--method", "fixed", "--format", "json"))
    assert [each["metric"] for each in document["metrics"]] == ["revenue"]
    assert [each["experiment"] for each in document["shipped"]] == ["one"]
    page = tmp_path / "holdout.html"
    assert said(capsys, "holdout", "q3", "--metric", "revenue", "--output", str(page)) == ""
    html = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;Q3&lt;/b&gt;" in html
    assert "<b>Q3" not in html
    assert "script-src 'none'" in html.replace("&#39;", "'")


def test_a_portfolio_is_shown_raw_and_shrunken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = said(capsys, "portfolio", "revenue")
    assert text.startswith("Past experiments on revenue\nExperiments of the project that have used the metric")
    assert "True effects: mean " in text
    assert "As found: from the last look by itself." in text
    assert "The sum as found is too high" in text
    document = json.loads(said(capsys, "portfolio", "revenue", "--format", "json"))
    shipped = document["shipped"]
    assert (shipped["variants"], len(document["effects"])) == (1, 3)
    assert f"+{100 * shipped['naive']:.1f}%" in text
    assert 0 < shipped["expected"] < shipped["naive"]
    unshipped = msgspec.convert(document | {"shipped": shipped | {"variants": 0}}, Portfolio)
    assert not [note for note in report_portfolio(unshipped).notes if note.startswith("The sum")], "there is no sum"
    page = tmp_path / "portfolio.html"
    said(capsys, "portfolio", "revenue", "--output", str(page))
    assert page.read_text(encoding="utf-8").count("<circle") == 6  # three effects, each raw and shrunken


def test_interactions_are_listed_the_surest_first(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "interactions", "banner")
    assert "1 interaction found among 4 tested." in text
    rows = [line.split() for line in text.splitlines() if "treatment × treatment" in line]
    assert rows[0][:2] == ["price", "revenue"]
    document = json.loads(said(capsys, "interactions", "banner", "--with", "colour", "--format", "json"))
    assert {each["other"] for each in document["interactions"]} == {"colour"}
    assert {each["kind"] for each in document["interactions"]} == {"sum", "conversion"}
    rates = [line for line in text.splitlines() if "buys" in line and "treatment × treatment" in line]
    assert all(line.count("%") >= 4 for line in rates)
    assert len(rates) == 2
    unmet = document["experiments"][0] | {"units": 0}
    lone = [each | {"not_computable": "GROUP_TOO_SMALL"} for each in document["interactions"]]
    apart = msgspec.convert(document | {"experiments": [unmet], "interactions": lone}, Interactions)
    assert "Not tested with colour: 0 units met both." in report_interactions(apart).notes
    page = said(capsys, "interactions", "one", "--format", "html")
    assert "No experiment ran at the same time on the same units." in page
    assert " UTC; no event had to be read." in page
    assert "no data yet" not in page, "there are data, which nobody asked for"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("holdout", "q4", "--metric", "revenue"), "q4"),
        (("holdout", "q3", "--metric", "revenu"), "did you mean 'revenue'?"),
        (("holdout", "q3"), "--metric"),
        (("portfolio", "zzz"), "there is no metric 'zzz'; there is "),
        (("portfolio", "revenu"), "did you mean 'revenue'?"),
        (("interactions", "nothing"), "nothing"),
        (("interactions", "banner", "--with", "two"), "did not run at the same time"),
        (("portfolio", "revenue", "--output", "x.csv"), "must end in .txt, .json, .html"),
    ],
)
def test_what_cannot_be_shown_is_said(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(list(arguments)) != 0
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""
