"""``abplatform breakdown``: the API's document, a text, a page, and refusals that help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from abplatform.bootstrap import Platform
from abplatform.cli.main import run
from tests.cli.tables import a_platform, a_request, import_table, write_csv


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """An imported experiment of 1,200 units in three cities."""
    folder = tmp_path_factory.mktemp("breakdown")
    rows = [("ab"[n % 2], n % 5 == 0 or n % 14 == 1, ("Wuhan", "Xi'an", "")[n % 3]) for n in range(1200)]
    table = write_csv(folder / "table.csv", ("arm", "bought", "city"), *((arm, int(did), at) for arm, did, at in rows))
    with a_platform(folder / "home") as platform:
        import_table(platform, a_request(table, dimensions=("city",)))
        yield platform


@pytest.fixture(autouse=True)
def _home(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(platform.settings.home))


def without_time(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(text)
    return {name: value for name, value in document.items() if name != "computed_at"}


def test_json_is_the_document_of_the_api(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["breakdown", "trial", "--by", "city", "--method", "fixed", "--format", "json"]) == 0
    printed = capsys.readouterr().out
    found = platform.explorer.breakdown("default", "trial", by="city", method="fixed")
    assert without_time(printed) == without_time(msgspec.json.encode(found).decode())
    assert run(["breakdown", "trial", "--differences", "--phase", "1", "--format", "json"]) == 0
    searched = platform.explorer.differences("default", "trial")
    assert without_time(capsys.readouterr().out) == without_time(msgspec.json.encode(searched).decode())


def test_text_goes_to_stdout_and_a_page_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["breakdown", "trial", "--by", "city", "--metric", "bought"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Results by city: trial\n")
    assert all(name in printed for name in ("Wuhan", "Xi'an", "(none)", "Adjusted p"))
    page = tmp_path / "city.html"
    assert run(["breakdown", "trial", "--by", "city", "--output", str(page)]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run(["breakdown", "trial", "--differences"]) == 0
    assert "Where the effect differs: trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--by"),
        (["--by", "city", "--differences"], "it has no --by"),
        (["--differences", "--metric", "bought"], "--metric"),
        (["--differences", "--method", "fixed"], "--method"),
        (["--by", "town"], "by: must be one of city, exposure_day, exposure_week, exposure_month; of attributes only"),
        (["--by", "city", "--phase", "2"], "phase"),
        (["--by", "city", "--metric", "sold"], "metric: trial does not use a metric 'sold'; there is 'bought'"),
    ],
)
def test_what_does_not_fit_is_refused(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["breakdown", "trial", *options]) != 0
    assert said in capsys.readouterr().err
