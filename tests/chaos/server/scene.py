"""The experiment that the senders' events belong to, and the comparison of what was counted with their ledger."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from abplatform.assignment.codec import decode_snapshot
from abplatform.assignment.evaluate import evaluate
from abplatform.bootstrap import build_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.events import EventKind
from abplatform.settings import read_settings
from tests.chaos.row import Row
from tests.chaos.server.installation import Installation
from tests.chaos.server.ledger import EVENT, EXPERIMENT, KINDS, METRIC, Ledger
from tests.chaos.server.postgres import running_postgres
from tests.cli.commands import environment

# Answers that a sender may get; 0 is none.
PROPER = {0, 202, 429, 503, 507}
DATABASES = ("sqlite", "postgresql")
_METRIC = {"key": METRIC, "name": "Amount", "kind": "sum", "event": EVENT}
_EXPERIMENT = {
    "key": EXPERIMENT,
    "name": "What withstands chaos",
    "variants": [{"key": "control"}, {"key": "treatment"}],
    "control": "control",
    "metrics": [{"metric": METRIC, "role": "primary"}],
    "plan": {"planned_units": 100_000},
}


@dataclass(frozen=True)
class Account:
    """What the comparison found.

    Attributes:
        lost: acknowledged events that the lake does not have.
        twice: events that it has more than once.
        foreign: events that nobody sent.
        altered: events of which another body than the first was kept.
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
    installation.call("POST", "/metrics", _METRIC)
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
    lost = twice = foreign = altered = events = 0
    for kind in KINDS:
        found = _sealed(installation, kind)
        counts = Counter(id_ for id_, _ in found)
        lost += len(acknowledged[kind] - counts.keys())
        twice += sum(count > 1 for count in counts.values())
        foreign += len(counts.keys() - ledger.sent[kind].keys())
        altered += sum(ledger.sent[kind][id_].value != value for id_, value in found if id_ in ledger.sent[kind])
        events += len(found)
    return Account(lost, twice, foreign, altered, _is_exact(results, ledger) if complete else None, events)


def _is_exact(results: dict[str, Any], ledger: Ledger) -> bool:
    units, sums = ledger.expected()
    (metric,) = results["metrics"]
    counted = {each["variant"]: Decimal(each["sum"]) for each in metric["variants"]}
    health = results["health"]
    clean = health["multi_variant_units"] == health["mismatched_exposures"] == 0
    return clean and health["units"] == units and counted == sums


def _sealed(installation: Installation, kind: EventKind) -> list[tuple[str, Decimal]]:
    """Ids and values in the lake."""
    settings = read_settings(environment(installation.home, **installation.settings))
    columns = ["event_id", "value"] if kind == "conversion" else ["event_id"]
    while True:
        with build_platform(settings) as platform:
            paths = [file.path for file in platform.lake.files(DEFAULT_PROJECT, kind)]
        try:
            tables = [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
        except FileNotFoundError:
            continue  # The worker has rewritten it meanwhile.
        break
    found: list[tuple[str, Decimal]] = []
    for table in tables:
        ids = table["event_id"].to_pylist()
        values = table["value"].to_pylist() if kind == "conversion" else [Decimal(0)] * len(ids)
        found += zip(ids, values, strict=True)
    return found


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


def rows(id_: str, what: str, account: Account, ledger: Ledger) -> Iterator[Row]:
    """What every scenario asks in the end."""
    yield Row(id_, f"{what}: 0 lost, 0 counted twice, sums equal the ledger", str(account), account.sound)
    statuses = ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(ledger.statuses.items()))
    surprises = f"; {len(ledger.surprises)} surprises: {ledger.surprises[:3]}" if ledger.surprises else ""
    proper = set(ledger.statuses) <= PROPER and not ledger.surprises
    yield Row(id_, f"{what}: only 202, 429, 503, or no answer", statuses + surprises, proper)
