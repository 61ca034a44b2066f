"""``abplatform metrics``, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from abplatform.bootstrap import Platform
from abplatform.cli.main import run as run_here
from abplatform.cli.session import open_platform, usable_settings
from abplatform.domain.metric import Measure
from abplatform.domain.templates import TEMPLATES
from abplatform.services import define
from tests.builders import NOW, a_conversion_fact, a_metric
from tests.facts import keep

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def platform(metadata_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """An installation that the commands of the test find."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ABPLATFORM_DATABASE_URL", metadata_url.replace("postgresql+psycopg://", "postgresql://"))
    monkeypatch.setenv("ABPLATFORM_LAKE_URL", (tmp_path / "lake").as_uri())
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "k" * 32)
    with open_platform(usable_settings()) as platform:
        yield platform


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives its exit status, the lines of stdout, and stderr."""

    def command(*arguments: str) -> tuple[int, list[str], str]:
        capfd.readouterr()
        status = run_here(["metrics", *arguments])
        out, err = capfd.readouterr()
        return status, out.splitlines(), err

    return command


def test_a_set_is_installed_listed_and_left_as_it_is(platform: Platform, run: Run) -> None:
    status, lines, err = run("install", "finance-growth", "--lang", "zh")
    assert status == 0
    assert len(lines) == len(TEMPLATES)
    assert "made complaint: 投诉率" in lines
    assert err == "which of their events arrive: abplatform metrics check\n"

    status, lines, _ = run("install", "finance-growth", "--only", "complaint", "--only", "churn")
    assert (status, lines) == (0, ["unchanged complaint: 投诉率", "unchanged churn: 流失率"])

    status, lines, _ = run("list")
    assert status == 0
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert rows.keys() >= TEMPLATES.keys()
    assert rows["next-day-retention"].split()[-5:] == ["more", "P1D", "to", "P2D", "(calendar)"]
    assert rows["complaint"].split()[-3:] == ["conversion", "less", "P30D"]
    documents = json.loads("\n".join(run("list", "--format", "json")[1]))
    assert {each["key"]: each["kind"] for each in documents} == {
        each.key: each.metric.kind for each in TEMPLATES.values()
    }


def test_what_cannot_be_installed_is_refused_in_one_line_and_nothing_is_made(platform: Platform, run: Run) -> None:
    with platform.uow.begin() as work:
        define.create_metric(work, "default", a_metric("churn"), now=NOW)
    for arguments, status, said in (
        (["--only", "chrun"], 2, "Error: --only.0: there is no template 'chrun'; did you mean 'churn'?\n"),
        (["--only", "refund", "--only", "refund"], 2, "Error: --only.1: 'refund' stands here more than once\n"),
        (["--prefix", "App"], 2, "prefix: makes no key"),
        (["--project", "elsewhere"], 1, "elsewhere"),
        ([], 1, "counts something else under 'churn'; nothing was made: install under another prefix"),
    ):
        got, lines, err = run("install", "finance-growth", *arguments)
        assert (got, lines) == (status, [])
        assert said in err
        assert err.count("\n") == 1
    with platform.uow.reading() as work:
        assert [stored.key for stored in work.metrics.all("default")] == ["churn"]


def test_a_project_without_metrics_has_nothing_to_check(platform: Platform, run: Run) -> None:
    hint = "the project has no metrics; to begin with some: abplatform metrics install SET\n"
    assert run("list") == (0, [], hint)
    assert run("check") == (0, [], hint)
    assert run("check", "--format", "json") == (0, ["[]"], hint)
    status, _, err = run("check", "--only", "nope")
    assert (status, err) == (1, "Error: there is no metric 'nope'\n")


def test_what_both_parts_of_a_metric_lack_is_said_once(platform: Platform, run: Run) -> None:
    orders = {"event": "order", "value": "fee", "denominator": Measure(event="order")}
    with platform.uow.begin() as work:
        define.create_metric(work, "default", a_metric("fee-per-order", kind="ratio", **orders), now=NOW)
    _, lines, _ = run("check")
    said = [line for line in lines if line.startswith("fee-per-order:")]
    assert said == ["fee-per-order: no event 'order' came in the last 30 days"]


def test_what_is_missing_is_named_after_what_waits_was_sealed(platform: Platform, run: Run) -> None:
    now = platform.now()
    recent, old = now - timedelta(days=2), now - timedelta(days=40)
    facts = [
        a_conversion_fact("1", event="registered", value=None, properties={}, timestamp=recent),
        a_conversion_fact("2", event="complaint", value=None, properties={}, timestamp=old),
        a_conversion_fact("3", event="revenue", value=Decimal(5), properties={"contribution": '"4"'}, timestamp=recent),
    ]
    keep(platform.inbox, "default", "conversion", facts, received_at=now)
    only = ["--only", "registration", "--only", "complaint", "--only", "arpu", "--only", "ltv-365"]
    assert run("install", "finance-growth", *only)[0] == 0

    status, lines, err = run("check")

    assert (status, err) == (1, "")
    rows = {line.split()[0]: line.split()[1:] for line in lines if "  " in line}
    when = [f"{recent:%Y-%m-%d}", f"{recent:%H:%M}"]
    assert rows["registration"] == ["registered", "1", "1", *when, "-"]
    assert rows["complaint"] == ["complaint", "0", "0", "-", "1"]
    assert rows["arpu"] == ["revenue", "1", "1", *when, "-"]
    assert lines[-2:] == [
        "complaint: no event 'complaint' came in the last 30 days",
        "ltv-365: of no event 'revenue' that counts was its property 'contribution' a number in the last 30 days",
    ]

    status, lines, _ = run("check", "--only", "complaint", "--days", "50", "--format", "json")
    assert status == 0
    assert json.loads("\n".join(lines)) == [
        {
            "metric": "complaint",
            "event": "complaint",
            "where": {},
            "events": 1,
            "matching": 1,
            "last": old.isoformat(),
            "properties": {},
            "problems": [],
        }
    ]
    status, lines, _ = run("check", "--only", "complaint", "--days", "1", "--format", "json")
    assert status == 1
    (found,) = json.loads("\n".join(lines))
    assert found["problems"] == [
        {"code": "EVENT_NOT_SEEN", "property": None, "detail": "no event 'complaint' came in the last day"}
    ]
