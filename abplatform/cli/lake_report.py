"""What the commands of the lake say, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from abplatform.cli.tables import print_table
from abplatform.readout.numbers import count, plural, visible

if TYPE_CHECKING:
    from abplatform.domain.events import EventKind
    from abplatform.services.tend import Tended
    from abplatform.warehouse.overview import Overview
    from abplatform.warehouse.recount import Recount

_MOST_ORPHANS = 10


def table_name(project: str, kind: EventKind) -> str:
    """A table as Iceberg names it."""
    from abplatform.warehouse.layout import TABLE_NAMES

    return f"{visible(project)}.{TABLE_NAMES[kind]}"


def print_overviews(found: Mapping[tuple[str, EventKind], Overview], *, as_json: bool) -> None:
    """Print what the tables hold."""
    if as_json:
        click.echo(json.dumps([_document(*key, overview) for key, overview in found.items()], indent=2))
        return
    if not found:
        return
    tables = list(found.values())
    print_table(
        "Tables of the lake",
        ("Table", [table_name(*key) for key in found]),
        ("Events", [count(each.rows) for each in tables]),
        ("Files", [count(each.files) for each in tables]),
        ("Size", [size(each.size) for each in tables]),
        ("Days", [count(each.days) for each in tables]),
        ("First day", [str(each.first_day or "-") for each in tables]),
        ("Last day", [str(each.last_day or "-") for each in tables]),
        ("Kept states", [count(each.snapshots) for each in tables]),
        ("Named", [count(len(each.tags)) for each in tables]),
        ("Last commit (UTC)", [_minute(each.committed_at) for each in tables]),
    )


def print_recount(project: str, kind: EventKind, found: Recount) -> bool:
    """Print what the check of a table found, and tell whether all is well."""
    what = f"{plural(found.rows, 'event')}; {plural(found.files, 'file')}, earlier states included"
    verdict = f"{count(len(found.findings))} wrong" if found.findings else "all as the manifests say"
    click.echo(f"{table_name(project, kind)}: {what}: {verdict}")
    for finding in found.findings:
        click.echo(f"  {visible(finding.location)} {visible(finding.problem)}")
    if found.orphans:
        total = size(sum(file.size for file in found.orphans))
        click.echo(f"  {plural(len(found.orphans), 'file')} that nothing names ({total}); the worker removes them:")
        for file in found.orphans[:_MOST_ORPHANS]:
            click.echo(f"    {visible(file.location)}")
        if len(found.orphans) > _MOST_ORPHANS:
            click.echo(f"    and {count(len(found.orphans) - _MOST_ORPHANS)} more")
    if found.young:
        click.echo(f"  {plural(found.young, 'young file')} that nothing names yet: a commit may be under way")
    return not found.findings


def print_tended(project: str, kind: EventKind, done: Tended | None) -> None:
    """Print what was done to a table."""
    name = table_name(project, kind)
    if done is None:
        click.echo(f"{name}: a worker is at it now")
    elif not done.changed:
        click.echo(f"{name}: nothing to do")
    for line in () if done is None else _deeds(done):
        click.echo(f"{name}: {line}")


def size(value: int) -> str:
    """Bytes for people: 1.5 MB."""
    amount, unit = float(value), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def _deeds(done: Tended) -> list[str]:
    deeds = []
    if done.dropped.files:
        deeds.append(f"deleted {plural(done.dropped.rows, 'event')} of {plural(done.dropped.days, 'day')}: too old")
    if done.named:
        deeds.append("named the states that looks need, and no others")
    if done.compacted.files:
        merged = f"{plural(done.compacted.files, 'file')} ({size(done.compacted.size)})"
        deeds.append(f"merged {merged} into {count(done.compacted.merged)}")
    if done.expired.snapshots:
        deeds.append(
            f"forgot {plural(done.expired.snapshots, 'earlier state')}, removed {plural(done.expired.files, 'file')}"
        )
    if done.swept:
        deeds.append(f"removed {plural(done.swept, 'file')} that nothing named")
    return deeds


def _document(project: str, kind: EventKind, overview: Overview) -> dict[str, object]:
    return {
        "project": project,
        "kind": kind,
        "events": overview.rows,
        "files": overview.files,
        "bytes": overview.size,
        "days": overview.days,
        "first_day": None if overview.first_day is None else overview.first_day.isoformat(),
        "last_day": None if overview.last_day is None else overview.last_day.isoformat(),
        "snapshots": overview.snapshots,
        "tags": list(overview.tags),
        "committed_at": None if overview.committed_at is None else overview.committed_at.isoformat(),
    }


def _minute(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
