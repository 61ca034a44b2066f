"""``abplatform project``: what holds for the whole project."""

from __future__ import annotations

from pathlib import Path

import pytest

from abplatform.cli.main import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder that nothing is in yet."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))


def test_the_time_zone_is_set_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["project", "set", "--time-zone", "Asia/Shanghai"]) == 0
    said = capsys.readouterr().out
    assert said == "key: default\nname: Default\nunit_type: user_id\ntime_zone: Asia/Shanghai\n"
    assert run(["project", "set", "--name", "存款"]) == 0
    capsys.readouterr()
    assert run(["project", "show"]) == 0
    assert capsys.readouterr().out == said.replace("Default", "存款")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show"], 1, "there is no data in "),
        (["set"], 2, "say what to change: --time-zone or --name"),
        (["set", "--time-zone", "Asia/Shangai"], 2, "did you mean 'Asia/Shanghai'?"),
        (["set", "--name", ""], 2, "name: must be 1 to 200 characters"),
    ],
)
def test_a_refusal_is_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    assert run(["project", *arguments]) == status
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
