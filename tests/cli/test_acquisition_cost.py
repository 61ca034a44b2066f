"""``abplatform acquisition-cost`` on a real lake: a table of costs in, text, JSON and a page out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from abplatform.bootstrap import Platform
from abplatform.cli.main import run
from abplatform.domain.events import ConversionFact, ExposureFact
from tests.builders import NOW, a_conversion_fact, a_metric, a_metric_use, an_exposure_fact, an_external_experiment
from tests.services.growing import of_time, put
from tests.warehouse.looking import a_platform, begin

AT = NOW - timedelta(days=40)
WON = {("douyin", "control"): 20, ("douyin", "treatment"): 25, ("wechat", "control"): 50, ("wechat", "treatment"): 40}
CALL = ("acquisition-cost", "imported", "--by", "channel", "--metric", "opened")


def facts() -> Iterator[ExposureFact | ConversionFact]:
    """100 units in each variant of each channel, and some that no channel is known of."""
    for (channel, variant), won in (WON | {("", "control"): 0, ("", "treatment"): 0}).items():
        for number in range(100):
            unit = f"{channel} {variant} {number}"
            attributes = {"channel": json.dumps(channel)} if channel else {}
            yield an_exposure_fact(
                unit, experiment="imported", variant=variant, unit=unit, attributes=attributes, **of_time(AT)
            )
            if number < won:
                yield a_conversion_fact(unit, event="opened", unit=unit, **of_time(AT + timedelta(hours=1)))


@pytest.fixture(scope="module", name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shared") / "home"
    with a_platform(home) as platform:
        fill(platform)
    return home


def fill(platform: Platform) -> None:
    metric = a_metric("opened", name="Account <b>opened</b>")
    begin(platform, an_external_experiment(metrics=(a_metric_use("opened"),)), metrics=[metric])
    put(platform, facts())


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(home))
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "a pseudonym key for tests, 32+ characters")


@pytest.fixture(name="costs")
def _costs(tmp_path: Path) -> Path:
    return write(tmp_path, "cost,channel,agency\n6000.50,douyin,A\n2000,wechat,B\n")


def write(folder: Path, text: str) -> Path:
    path = folder / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table_has_a_row_for_each_channel_and_variant(costs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*CALL, "--costs", str(costs), "--method", "fixed"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Cost per opened by channel: imported\n")
    rows = [line.split() for line in said.splitlines() if "control" in line or "treatment" in line]
    # 6,000.50 over 200 units, of which 20 and 25 of 100 are won; 2,000 over 200, of which 50 and 40 are.
    douyin = next(row for row in rows if row[0] == "douyin")
    assert douyin[1:8] == ["control", "6,000.50", "30.00", "100", "20", "20.00%", "150.01"]
    treatment = next(row for row in rows if row[0] == "treatment" and "120.01" in row)
    assert "−20.0%" in treatment
    wechat = next(row for row in rows if row[0] == "wechat")
    assert wechat[2:8] == ["2,000.00", "10.00", "100", "50", "50.00%", "20.00"]
    assert "all with a cost" in said
    assert "Without a cost, and in no number here: (none) (200 units)." in said
    assert "\x1b" not in said


def test_json_is_the_document_of_the_api(costs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*CALL, "--costs", str(costs), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["channel"] for each in document["channels"]] == ["douyin", "wechat"]
    assert (document["total"]["cost"], document["method"]) == ("8000.5", "sequential")
    assert document["total"]["variants"][0]["cost"]["estimate"] == pytest.approx(8000.5 / 400 / (70 / 200))


def test_a_page_needs_nothing_else_and_runs_nothing(
    costs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "costs.html"
    assert run([*CALL, "--costs", str(costs), "--output", str(page)]) == 0
    assert capsys.readouterr().err == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "script-src &#39;none&#39;" in text
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert text.count('<th scope="row">douyin</th>') == 2


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("channel,spent\ndouyin,1\n", "it lacks cost"),
        ("channel;cost\ndouyin;1\n", "channel and cost, with a comma between; it lacks channel, cost"),
        ("", "it lacks channel, cost"),
        ("channel,cost\n,1\n", "line 2: channel must not be empty"),
        ("channel,cost\ndouyin,1\ndouyin,2\n", "line 3: 'douyin' has a cost already"),
        ('channel,cost\ndouyin,"12,000"\n', "line 2: cost must be a number such as 120000.00, not '12,000'"),
        ("channel,cost\ndouyin\n", "line 2: cost must be a number such as 120000.00, not ''"),
        ('channel,cost\n"douyin,1\n', "is not a CSV file in UTF-8"),
        ("channel,cost\n", "costs: must name 1 to 1000 channels"),
        ("channel,cost\ndouyin,-1\n", "costs.douyin: must be from 0 to 10^15"),
        ("channel,cost\ndoyin,1\n", "did you mean 'douyin'?"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, complaint: str
) -> None:
    assert run([*CALL, "--costs", str(write(tmp_path, table))]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""


def test_a_table_from_a_spreadsheet_may_begin_with_a_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "costs.csv"
    path.write_bytes("\ufeffchannel,cost\r\ndouyin,6000.50\r\n(none),0\r\n".encode())
    assert run([*CALL, "--costs", str(path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(each["channel"], each["cost"]) for each in document["channels"]] == [("douyin", "6000.5"), ("(none)", "0")]
    path.write_bytes(b"channel,cost\n\xff,1\n")
    assert run([*CALL, "--costs", str(path)]) == 2
    assert "is not a CSV file in UTF-8" in capsys.readouterr().err
