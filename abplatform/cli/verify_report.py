"""What a verification found, for people: counts, and a few examples under their pseudonyms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.tables import print_table
from abplatform.readout.numbers import count, visible

if TYPE_CHECKING:
    from abplatform.domain.experiment import Experiment
    from abplatform.services.verify import ListedUnits
    from abplatform.warehouse.audit import VariantCounts


def print_variants(experiment: Experiment, variants: Sequence[VariantCounts]) -> bool:
    """Print the exposures of a phase by variant, and tell whether all agree with what was drawn."""
    ended = experiment.phase_ended_at
    status = experiment.status if ended is None else f"ended {ended:%Y-%m-%d %H:%M} UTC"
    click.echo(f"{experiment.key}, phase {experiment.phase}, {status}")
    if not variants:
        click.echo("no exposures")
        return True

    def numbers(title: str, read: Callable[[VariantCounts], int]) -> tuple[str, list[str]]:
        return title, [count(read(each)) for each in variants]

    print_table(
        "Exposures by variant",
        ("Variant", [visible(each.variant) for each in variants]),
        numbers("Exposures", lambda each: each.exposures),
        numbers("Another variant drawn", lambda each: each.other),
        numbers("No variant drawn", lambda each: each.undrawn),
        numbers("Not drawn here", lambda each: each.unchecked),
        numbers("Units", lambda each: each.units),
        numbers("Units in two variants", lambda each: each.units_in_several),
    )
    wrong = sum(each.other + each.undrawn for each in variants)
    total = sum(each.exposures for each in variants)
    checked = total - sum(each.unchecked for each in variants)
    click.echo(f"\n{count(wrong)} of {count(checked)} exposures disagree with the draws")
    return wrong == 0


def print_units(path: Path, listed: ListedUnits, *, names: Mapping[str, str]) -> bool:
    """Print how exposed units compare with those of a table, and tell whether all agree.

    Args:
        path: the table.
        listed: what was found.
        names: raw ids of disagreeing units by pseudonym; empty to show pseudonyms.
    """
    counts = listed.counts
    rows = [
        ("rows", listed.rows),
        ("rows without an id", listed.without_id),
        ("units that agree", counts.agreeing),
        ("units that disagree", counts.disagreeing),
        ("units without an exposure", counts.unexposed),
        ("exposed units that are not in the table", counts.unlisted),
    ]
    click.echo(f"\nUnits of {visible(path.name)}, drawn anew")
    for name, number in rows:
        click.echo(f"{count(number):>14}  {name}")
    if counts.examples:
        click.echo("\nUnits that disagree, the first by pseudonym:")
    for unit, variants, drawn in counts.examples:
        met = ", ".join(map(visible, variants))
        click.echo(f"  {visible(names.get(unit, unit))}: exposed to {met}; drawn: {visible(drawn) or 'no variant'}")
    if not counts.agreeing + counts.disagreeing and counts.unlisted:
        click.echo("No exposed unit is in the table: are these the right column and the right unit type?", err=True)
        return False
    return counts.disagreeing == 0
