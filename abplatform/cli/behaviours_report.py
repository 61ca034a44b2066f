"""What the commands of behaviours say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from abplatform.cli.tables import print_table
from abplatform.domain.behaviour import RecencyBins
from abplatform.readout.numbers import count, duration, plural, visible

if TYPE_CHECKING:
    from abplatform.domain.behaviour import Behaviour
    from abplatform.services.export_classes import Exported, ExportRequest
    from abplatform.storage.behaviours import StoredBehaviour

_CLASSES_SHOWN = 20


def print_behaviours(found: Sequence[StoredBehaviour]) -> None:
    """Print the behaviours of a project."""
    if found:
        print_table(
            "Behaviours",
            ("Behaviour", [visible(each.key) for each in found]),
            ("Name", [visible(each.behaviour.name) for each in found]),
            ("Kind", [each.behaviour.kind for each in found]),
            ("Version", [count(each.version) for each in found]),
            ("As of (UTC)", [f"{each.as_of:%Y-%m-%d %H:%M}" for each in found]),
        )


def print_recency(behaviour: Behaviour) -> None:
    """Say on stderr where recency is cut, in days and hours: the document has the exact durations."""
    bins = behaviour.bins.get("recency")
    if isinstance(bins, RecencyBins) and bins.edges:
        edges = ", ".join(duration(edge.total_seconds()) for edge in bins.edges)
        click.echo(f"recency is cut at {edges}", err=True)


def print_exported(request: ExportRequest, exported: Exported) -> None:
    """Say on stderr how many rows got which class: without an id, for people and for logs."""
    stored = request.stored
    what = f"version {stored.version} of {visible(stored.key)} as of {request.time.isoformat()}"
    click.echo(f"wrote {plural(exported.rows, 'row')} to {visible(str(request.output))}: {what}", err=True)
    most = exported.classes.most_common(_CLASSES_SHOWN)
    for name, rows in most:
        click.echo(f"{rows:>14,}  {visible(name) or '(no class)'}", err=True)
    if len(exported.classes) > len(most):
        click.echo(f"and {len(exported.classes) - len(most):,} more classes", err=True)
