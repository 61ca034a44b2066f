"""The rice-insurance field experiment of Cai, de Janvry and Sadoulet (2015), as the package ``causaldata`` ships it.

Farmers were offered weather insurance. ``default``, randomised by village group (``address``), says whether buying
was the default; ``intensive``, randomised by household, whether the session explained more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.import_ import FaultPrinter, adopt
from abplatform.cli.readout import print_text
from abplatform.domain.access import DEFAULT_PROJECT

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.services.adopt import ImportRequest


def show(platform: Platform) -> None:
    """Import the experiment's two questions, unless they are there already, and print both readouts."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "social_insure.csv")
        rows = _write_table(table)
        click.echo(f"{rows:,} households, from Cai, de Janvry and Sadoulet (American Economic Journal: Applied, 2015)")
        for request in _requests(table):
            _import_once(platform, request)
    for request in _requests(table):
        click.echo()
        print_text(platform.results(DEFAULT_PROJECT, request.key))


def _write_table(path: Path) -> int:
    from causaldata import social_insure

    frame = social_insure.load_pandas().data
    frame.to_csv(path, index=False)
    return len(frame)


def _requests(table: Path) -> tuple[ImportRequest, ...]:
    from abplatform.services.adopt import ImportRequest, Outcome

    outcomes = (Outcome(column="takeup_survey", kind="conversion"),)
    covariates = ("age", "ricearea_2010")
    return (
        ImportRequest(
            path=table,
            key="rice-insurance",
            name="Rice insurance: is buying the default?",
            variant="default",
            control="0",
            outcomes=outcomes,
            cluster="address",
            covariates=covariates,
        ),
        ImportRequest(
            path=table,
            key="rice-insurance-intensive",
            name="Rice insurance: does the session explain more?",
            variant="intensive",
            control="0",
            outcomes=outcomes,
            covariates=covariates,
        ),
    )


def _import_once(platform: Platform, request: ImportRequest) -> None:
    from abplatform.errors import AlreadyExists

    try:
        report = adopt(platform, request, on_fault=FaultPrinter(), progress=lambda _share: None)
    except AlreadyExists:
        click.echo(f"{request.key} is there already: reading it again")
        return
    split = ", ".join(f"{request.variant}={variant} {units:,}" for variant, units in report.units.items())
    click.echo(f"imported {request.key}: {split}")
