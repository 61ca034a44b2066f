"""The rice-insurance field experiment of Cai, de Janvry and Sadoulet (2015), as the package ``causaldata`` ships it.

Farmers were offered weather insurance. ``default``, randomised by village group (``address``), says whether buying
was the default; ``intensive``, randomised by household, whether the session explained more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.import_ import adopt
from abplatform.cli.import_report import FaultList, split
from abplatform.cli.readout import print_text
from abplatform.domain.access import DEFAULT_PROJECT

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.services.adopt import ImportRequest

# The package has 0 and 1: did a household sign to buy, or not to buy; was its session the longer one.
_ARMS = {
    "default": {0: "opt in", 1: "opt out"},
    "intensive": {0: "simple session", 1: "intensive session"},
}


def show(platform: Platform) -> None:
    """Import the experiment's two questions, unless they are there already, and print both readouts."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "social_insure.csv")
        rows = _write_table(table)
        click.echo(f"{rows:,} households, from Cai, de Janvry and Sadoulet (American Economic Journal: Applied, 2015)")
        for request in import_requests(table):
            _import_once(platform, request)
    for request in import_requests(table):
        click.echo()
        print_text(platform.results(DEFAULT_PROJECT, request.key))


def _write_table(path: Path) -> int:
    from causaldata import social_insure

    frame = social_insure.load_pandas().data
    for column, names in _ARMS.items():
        frame[column] = frame[column].map(names)
    frame.to_csv(path, index=False)
    return len(frame)


def import_requests(table: Path) -> tuple[ImportRequest, ...]:
    """Both questions that the table answers, as imports."""
    from abplatform.services.adopt import ImportRequest, Outcome

    outcomes = (Outcome(column="takeup_survey", kind="conversion"),)
    covariates = ("age", "ricearea_2010")
    return (
        ImportRequest(
            path=table,
            key="rice-insurance",
            name="Rice insurance: is buying the default?",
            variant="default",
            control=_ARMS["default"][0],
            outcomes=outcomes,
            cluster="address",
            covariates=covariates,
        ),
        ImportRequest(
            path=table,
            key="rice-insurance-intensive",
            name="Rice insurance: does the session explain more?",
            variant="intensive",
            control=_ARMS["intensive"][0],
            outcomes=outcomes,
            covariates=covariates,
        ),
    )


def _import_once(platform: Platform, request: ImportRequest) -> None:
    from abplatform.errors import AlreadyExists

    try:
        report = adopt(platform, request, on_fault=FaultList(), progress=lambda _share: None)
    except AlreadyExists:
        click.echo(f"{request.key} is there already: reading it again")
        return
    click.echo(f"imported {request.key} ({split(report.units)})")
