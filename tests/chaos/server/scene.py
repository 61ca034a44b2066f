"""The experiment that the senders' events belong to, and the comparison of what was counted with their ledger."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from abplatform.assignment.codec import decode_snapshot
from abplatform.assignment.evaluate import evaluate
from abplatform.settings import read_settings
from tests.chaos.row import Figures, Row
from tests.chaos.server.audit import audit
from tests.chaos.server.installation import Installation
from tests.chaos.server.ledger import EXPERIMENT, KINDS, VARIANTS, Ledger
from tests.chaos.server.load import FEWEST, Load
from tests.chaos.server.metrics import METRICS
from tests.chaos.server.postgres import running_postgres
from tests.cli.commands import environment

# Answers that a sender may get; 0 is none.
PROPER = {0, 202, 429, 503, 507}
DATABASES = ("sqlite", "postgresql")
_EXPERIMENT = {
    "key": EXPERIMENT,
    "name": "What withstands chaos",
    "variants": [{"key": key} for key in VARIANTS],
    "control": VARIANTS[0],
    "metrics": [{"metric": key, "role": "secondary" if number else "primary"} for number, key in enumerate(METRICS)],
    "dimensions": ["channel"],
    "plan": {"planned_units": 100_000},
}


@dataclass(frozen=True)
class Account:
    """What the comparison found.

    Attributes:
        lost: acknowledged events that the lake does not have.
        twice: events that it has more than once.
        foreign: events that nobody sent.
        altered: events of which any field is another than the sender first said.
        exact: whether units and sums of the results are the ledger's; None where it was not asked.
        events: number of events in the lake.
    """

    lost: int
    twice: int
    foreign: int
    altered: int
    exact: bool | None
    events: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.foreign or self.altered) and self.exact is not False

    def __str__(self) -> str:
        sums = {None: "", True: ", results equal the ledger", False: ", RESULTS DIFFER"}[self.exact]
        return (
            f"{self.events:,} events, {self.lost} lost, {self.twice} twice, {self.foreign} never sent, "
            f"{self.altered} altered{sums}"
        )


def define(installation: Installation) -> Ledger:
    """Make and start the experiment; the senders' ledger."""
    for key, metric in METRICS.items():
        installation.call("POST", "/metrics", metric.definition(key))
    installation.call("POST", "/experiments", _EXPERIMENT)
    installation.call("POST", f"/experiments/{EXPERIMENT}/start")
    snapshot = decode_snapshot(installation.call("GET", "/snapshot"))

    def variant_of(unit: str) -> str:
        return str(evaluate(snapshot, EXPERIMENT, unit, {}).variant)

    return Ledger(variant_of)


def compare(installation: Installation, ledger: Ledger, *, complete: bool) -> Account:
    """Compare what is counted with the ledger; the platform must be running.

    Args:
        installation: what was sent to.
        ledger: of all senders.
        complete: all that was sent is acknowledged: then the results must be exact.
    """
    acknowledged = ledger.acknowledged_now()
    results = installation.call("GET", f"/experiments/{EXPERIMENT}/results")
    settings = read_settings(environment(installation.home, **installation.settings))
    found = [audit(settings, ledger, kind, acknowledged[kind]) for kind in KINDS]
    events, lost, twice, foreign, altered = map(sum, zip(*found, strict=True))
    return Account(lost, twice, foreign, altered, _is_exact(results, ledger) if complete else None, events)


def _is_exact(results: dict[str, Any], ledger: Ledger) -> bool:
    units, sums = ledger.expected()
    counted = {
        metric["metric"]: {each["variant"]: Decimal(each["sum"]) for each in metric["variants"]}
        for metric in results["metrics"]
    }
    analysed = [{each["variant"]: each["units"] for each in metric["variants"]} for metric in results["metrics"]]
    health = results["health"]
    clean = health["multi_variant_units"] == health["mismatched_exposures"] == 0 and results["stale"] is None
    every = all(each == units for each in (health["units"], *analysed))
    return clean and every and units.keys() == set(VARIANTS) and counted == sums


@contextmanager
def a_scene(
    url: str = "", *, home: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Installation, Ledger]]:
    """A running platform with the experiment, in a new folder.

    Args:
        url: of its database; without one it is the embedded default.
        home: its folder, if it is not to be a new one.
        settings: environment of its processes.
    """
    folder = Path(tempfile.mkdtemp(prefix="abplatform-chaos-"))
    own = home or folder / "home"
    try:
        with Installation(own, log=folder / "log", database_url=url, extra=settings) as installation:
            installation.make()
            installation.start()
            yield installation, define(installation)
    finally:
        shutil.rmtree(folder)


@contextmanager
def a_database(name: str) -> Iterator[str]:
    """Address of an empty database: nothing for the embedded one, else on a PostgreSQL server of its own."""
    if name == "postgresql":
        with running_postgres() as server:
            yield server.url("postgres")
    else:
        yield ""


def rows(
    id_: str, what: str, account: Account, load: Load, *, faults: int, others: Sequence[Account], retried: bool = True
) -> Iterator[Row]:
    """What every scenario asks in the end.

    Args:
        id_: of the requirement.
        what: the scenario.
        account: when all was delivered.
        load: that was on it.
        faults: how many there were.
        others: comparisons made before.
        retried: whether the faults must have made clients send again.
    """
    ledger = load.ledger
    worst = [max(getattr(each, name) for each in (account, *others)) for name in ("lost", "twice", "altered")]
    figures = Figures(what, faults, ledger.total(), *worst)
    # What was acknowledged, was so once, and there is nothing else.
    whole = account.sound and account.exact is True and account.events == ledger.total()
    yield Row(id_, f"{what}: 0 lost, 0 counted twice, 0 altered, sums equal the ledger", str(account), whole, figures)
    statuses = ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(ledger.statuses.items()))
    surprises = f"; {len(ledger.surprises)} surprises: {ledger.surprises[:3]}" if ledger.surprises else ""
    proper = set(ledger.statuses) <= PROPER and not ledger.surprises
    yield Row(id_, f"{what}: only 202, 429, 503, or no answer", statuses + surprises, proper)
    # The check of the check: nothing can be lost where nothing was acknowledged.
    enough = len(load.between) == faults + 1 and min(load.between) >= FEWEST
    asked = f"{what}: {FEWEST} events acknowledged or more before the first, between each two, and after the last"
    yield Row(id_, asked, f"at least {min(load.between, default=0)}, {len(load.between)} times", enough)
    yield _traffic(id_, what, ledger, retried)


def _traffic(id_: str, what: str, ledger: Ledger, retried: bool) -> Row:
    """The row about what clients did beside sending each event once."""
    seen = ledger.traffic
    holds = seen.repeated > 0 and seen.changed > 0 and seen.most_at_once > 1 and (seen.retried > 0 or not retried)
    measured = (
        f"{seen.retried:,} events sent again unacknowledged, {seen.repeated:,} with one or twice in a batch, "
        f"{seen.changed:,} ids with another body, up to {seen.most_at_once} requests at once"
    )
    return Row(id_, f"{what}: clients try again, repeat and contradict themselves, several at once", measured, holds)
