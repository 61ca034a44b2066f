"""A lake with experiments of several sizes, made without a server, and what is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from abplatform.domain.aggregates import AggregationRequest, KeptUnits
from abplatform.domain.events import EventKind
from abplatform.domain.metric import Metric, Window
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.unit_files import new_folder
from benchmarks.facts import (
    VARIANTS,
    Chance,
    Integers,
    People,
    conversions,
    draw_people,
    exposures,
    moments_of_day,
    time_ordered_ids,
)

EXPERIMENT = "rate-display"
EVENT = "purchase"
FIRST_DAY = date(2026, 11, 1)
DAYS = 14
# A third are exposures; every unit has ten of them, and twenty conversions.
EVENTS_PER_UNIT = 30
# Every so many-th exposure has another one beside it, of the treatment: some units of control leave the analysis.
_MIXED = 400
_WEEK = Window(end=timedelta(days=7))


def open_lake(folder: Path) -> Lake:
    """The lake in a folder."""
    return Lake((folder / "lake").as_uri(), f"sqlite:///{folder / 'catalog.db'}")


def project_of(events: int) -> str:
    """The project that has so many events."""
    return f"events-{events}"


def request_for(events: int, days: int = DAYS) -> AggregationRequest:
    """Three metrics with CUPED, after so many days: bought within a week, spent within a week, on deposits ever."""
    deposits = {"product": "deposit"}
    start = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    return AggregationRequest(
        project=project_of(events),
        experiment=EXPERIMENT,
        phase=1,
        variants=VARIANTS,
        metrics=(
            Metric(key="bought", name="Bought", kind="conversion", event=EVENT, window=_WEEK),
            Metric(key="spent", name="Spent", kind="sum", event=EVENT, window=_WEEK),
            Metric(key="deposits", name="Deposits", kind="sum", event=EVENT, where=deposits),
        ),
        adjusted=("bought", "spent", "deposits"),
        since=start,
        as_of=start + timedelta(days=days),
    )


def fill(folder: Path, sizes: Sequence[int]) -> None:
    """Write experiments of so many events each, the two kinds at the same time."""
    folder.mkdir(exist_ok=True)
    open_lake(folder).close()
    # Not fork: this process has threads.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for task in [processes.submit(_fill, folder, kind, tuple(sizes)) for kind in ("exposure", "conversion")]:
            task.result()


def keep(folder: Path, events: int, engine: Engine) -> KeptUnits:
    """Keep what is known of each unit of the experiment that has so many events."""
    with closing(open_lake(folder)) as lake:
        return engine.keep(lake, request_for(events), None, folder=new_folder(lake, project_of(events)))


def add_day(folder: Path, events: int, share: float) -> int:
    """Add a day with so many events for each one that the experiment has; gives how many."""
    added = 0
    with closing(open_lake(folder)) as lake:
        for kind in KINDS:
            chance = np.random.default_rng((events, len(kind), DAYS))
            people = _draw_people(events)
            facts = _day(kind, people, DAYS, round(events * _share(kind) * share), chance)
            append_facts(lake, project_of(events), kind, facts)
            added += facts.num_rows
    return added


def _fill(folder: Path, kind: EventKind, sizes: Sequence[int]) -> None:
    with closing(open_lake(folder)) as lake:
        for events in sizes:
            chance = np.random.default_rng((events, len(kind)))
            people = _draw_people(events)
            for day in range(DAYS):
                facts = _day(kind, people, day, int(events * _share(kind) / DAYS), chance)
                append_facts(lake, project_of(events), kind, facts)


def _draw_people(events: int) -> People:
    # The same units for both kinds.
    return draw_people(events // EVENTS_PER_UNIT, np.random.default_rng(events))


def _share(kind: EventKind) -> float:
    return (1 if kind == "exposure" else 2) / 3


def _day(kind: EventKind, people: People, day: int, number: int, chance: Chance) -> pa.Table:
    when = moments_of_day(FIRST_DAY + timedelta(days=day), number, chance)
    chance.shuffle(when)
    # Sorting rows that are nearly in order costs the set-up less.
    who = np.sort(chance.integers(0, len(people), number))
    return _facts(kind, people, who, when, chance)


def _facts(kind: EventKind, people: People, who: Integers, when: Integers, chance: Chance) -> pa.Table:
    ids = time_ordered_ids(when, chance)
    if kind == "conversion":
        return conversions(EVENT, people, who, when, ids)
    seen = exposures(EXPERIMENT, people, who, when, ids)
    treated = People(people.units, pa.repeat(pa.scalar(VARIANTS[1]), len(people)))
    who, when = who[::_MIXED], when[::_MIXED]
    return pa.concat_tables([seen, exposures(EXPERIMENT, treated, who, when, time_ordered_ids(when, chance))])
