"""A command that nobody documented does not exist for its users."""

from __future__ import annotations

import click
import pytest

from abplatform.cli.main import cli
from tests.cli.commands import ROOT

CLI_PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
IMPORT_PAGE = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
COST_PAGE = (ROOT / "docs" / "acquisition-cost.md").read_text(encoding="utf-8")
CURVES_PAGE = (ROOT / "docs" / "curves.md").read_text(encoding="utf-8")
READOUT_PAGE = (ROOT / "docs" / "readout.md").read_text(encoding="utf-8")


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_is_documented(name: str) -> None:
    command = _command(name)
    names = [f"{name} {each}" for each in command.commands] if isinstance(command, click.Group) else [name]
    for each in names:
        assert f"| `{each}" in CLI_PAGE


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("import", IMPORT_PAGE),
        ("import-events", IMPORT_PAGE),
        ("pseudonymise", IMPORT_PAGE),
        ("readout", READOUT_PAGE + CLI_PAGE),
        ("assign", CLI_PAGE),
        ("verify", CLI_PAGE),
        ("rerun", CLI_PAGE),
        ("simulate-app", CLI_PAGE),
        ("breakdown", CLI_PAGE),
        ("acquisition-cost", COST_PAGE + CLI_PAGE),
        ("curve", CURVES_PAGE),
    ],
)
def test_every_option_is_documented(name: str, page: str) -> None:
    for parameter in _command(name).params:
        if isinstance(parameter, click.Option):
            assert any(option in page for option in parameter.opts), parameter.opts
