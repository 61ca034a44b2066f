"""``abplatform curve`` on a real lake: text, JSON and a page whose plots are drawn in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from abplatform.cli.main import run
from abplatform.domain.events import ConversionFact, ExposureFact
from tests.builders import (
    NOW,
    a_conversion_fact,
    a_metric,
    a_metric_use,
    an_exposure_fact,
    an_external_experiment,
)
from tests.services.growing import of_time, put
from tests.warehouse.looking import a_platform, begin

AT = NOW - timedelta(days=40)
METRICS = (a_metric("opened"), a_metric("balance", name="Assets", kind="sum", event="paid"))


def facts() -> Iterator[ExposureFact | ConversionFact]:
    """100 units an arm who came 40 days before; each pays its number on days 0 and 9, the treatment 10 more."""
    for variant in ("control", "treatment"):
        for number in range(100):
            unit = f"{variant} {number}"
            yield an_exposure_fact(unit, experiment="imported", variant=variant, unit=unit, **of_time(AT))
            for day in (0, 9):
                paid = number + (10 if variant == "treatment" else 0)
                yield a_conversion_fact(
                    f"{unit} {day}", event="paid", unit=unit, value=paid, **of_time(AT + timedelta(days=day))
                )
            if number < 20:
                yield a_conversion_fact(f"o {unit}", event="opened", unit=unit, **of_time(AT + timedelta(days=5)))


@pytest.fixture(scope="module", name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shared") / "home"
    with a_platform(home) as platform:
        uses = (a_metric_use("opened"), a_metric_use("balance", role="secondary", mde=None))
        begin(platform, an_external_experiment(metrics=uses), metrics=METRICS)
        put(platform, facts())
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(home))
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "a pseudonym key for tests, 32+ characters")


def test_the_table_has_a_row_for_each_day_and_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "imported", "balance", "--days", "7,30", "--method", "fixed"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("balance by days since exposure: imported\n")
    rows = [line.split() for line in said.splitlines() if "control" in line or "treatment" in line]
    # The mean of 0 to 99 is 49.5: once until day 7, twice until day 30.
    assert rows[0][:5] == ["7", "control", "100", "100.00%", "49.50"]
    assert rows[1][:4] == ["treatment", "100", "100.00%", "59.50"]
    assert {"+20.2%", "+10.00"} <= set(rows[1])
    assert rows[2][:5] == ["30", "control", "100", "100.00%", "99.00"]
    assert "95% confidence interval" in said
    assert "verdict" not in said, "a curve has none"
    assert "\x1b" not in said


def test_days_between_are_named_by_both_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "imported", "opened", "--days", "1,7,30", "--view", "daily"]) == 0
    said = capsys.readouterr().out
    rates = [line.split() for line in said.splitlines() if " control " in line]
    assert [(" ".join(row[:3]), row[6]) for row in rates] == [
        ("0 to 1", "0.00%"),
        ("1 to 7", "20.00%"),
        ("7 to 30", "0.00%"),
    ]


def test_json_is_the_document_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "imported", "balance", "--format", "json", "--days", "30", "--cohort", "same"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["metric"], document["cohort"], document["points"][0]["variants"][1]["sum"]) == (
        "balance",
        "same",
        str(2 * (4950 + 1000)),
    )


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (("balance", "--days", "seven"), "must be whole numbers with commas between, such as 7,30,90, not 'seven'"),
        (("balance", "--days", "7,1"), "days.1: must be after the day before it (7), not 1"),
        (("balance", "--view", "weekly"), "'weekly' is not one of"),
        (("paid",), "metric: imported does not use a metric 'paid'; there is "),
        (("balnce",), "metric: imported does not use a metric 'balnce'; did you mean 'balance'?"),
    ],
)
def test_what_does_not_fit_is_said(call: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "imported", *call]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""


def test_a_page_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "curve.html"
    assert run(["curve", "imported", "balance", "--output", str(page)]) == 0
    assert capsys.readouterr().err == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure") == 2
    assert "default-src &#39;none&#39;" in text
    assert '<th scope="row">30</th>' in text
