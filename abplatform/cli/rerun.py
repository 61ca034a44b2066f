"""``abplatform rerun``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT

if TYPE_CHECKING:
    from abplatform.domain.evidence import Evidence
    from abplatform.domain.reproduction import Value
    from abplatform.services.rerun import Rerun

_VERDICTS = {True: "", False: "differs", None: "not recorded then"}


@click.command("rerun")
@click.argument("experiment")
@click.option("--look", type=click.IntRange(min=1), required=True, metavar="N", help="Number of the look.")
@click.option("--phase", type=click.IntRange(min=1), metavar="N", help="Another phase than the current one.")
@click.option("--engine", metavar="URL", help="Another engine than the platform's, as in ABPLATFORM_ENGINE_URL.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(experiment: str, *, look: int, phase: int | None, engine: str | None, format_: str) -> int:
    """Compute a look at EXPERIMENT again from the events that it saw, and compare number by number.

    Counts and sums must be equal, second moments within 1e-12. The exit status is 1 if any number differs. Numbers
    that a later version added are shown, and not compared. Nothing is recorded.
    """
    changes = {} if engine is None else {"ABPLATFORM_ENGINE_URL": engine}
    with open_existing_platform(**changes) as platform:
        found = platform.rerun(DEFAULT_PROJECT, experiment, look=look, phase=phase)
    if format_ == "json":
        _print_json(found)
    else:
        _print_text(found)
    return 0 if found.agrees else 1


def _print_text(found: Rerun) -> None:
    from abplatform.readout.numbers import count, visible

    click.echo(f"{found.experiment}, phase {found.phase}, look {found.look}")
    click.echo(f"as of {found.was.request.as_of:%Y-%m-%d %H:%M:%S} UTC; {_state(found.was)}")
    click.echo(f"was: {_program(found.was)}; is: {_program(found.now)}")
    rows = [("number", "was", "is", "")]
    rows += [(visible(each.name), _show(each.was), _show(each.now), _VERDICTS[each.agrees]) for each in found.numbers]
    first, second, third = (max(len(row[place]) for row in rows) for place in range(3))
    click.echo()
    for name, was, now, verdict in rows:
        click.echo(f"{name:<{first}}  {was:>{second}}  {now:>{third}}  {verdict}".rstrip())
    verdicts = [each.agrees for each in found.numbers]
    new = verdicts.count(None)
    click.echo(f"\n{count(verdicts.count(False))} of {count(len(verdicts) - new)} numbers differ")
    if new:
        click.echo(f"{count(new)} more were not recorded by version {visible(found.was.version)}: nothing to compare")


def _print_json(found: Rerun) -> None:
    import msgspec

    document = {
        "experiment": found.experiment,
        "phase": found.phase,
        "look": found.look,
        "agrees": found.agrees,
        "cut_off": found.was.cut_off,
        "engine": found.now.engine,
        "version": found.now.version,
        "numbers": found.numbers,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _program(evidence: Evidence) -> str:
    return f"{evidence.engine}, abplatform {evidence.version}"


def _state(evidence: Evidence) -> str:
    cut_off = evidence.cut_off
    return f"states of the lake: exposures {cut_off.exposures or 'none'}, conversions {cut_off.conversions or 'none'}"


def _show(value: Value) -> str:
    return "" if value is None else str(value)
