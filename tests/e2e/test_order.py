"""I-1, I-2: however a set of events is ordered, split, repeated and sealed, each counts once, and the first is kept."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.events import EventKind
from abplatform.services import define, live
from abplatform.services.aggregate import aggregate
from abplatform.services.ingest import Intake
from abplatform.services.seal import seal_project
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from tests.builders import NOW, a_metric, an_experiment, later

SECRET = b"a pseudonym key for tests, 32+ characters"
RECEIVED = later(days=25)
REVENUE = a_metric("revenue", kind="sum", event="purchase", window=None)
VARIANTS = ("control", "treatment")


class Exposure(NamedTuple):
    """An exposure as it is sent; ids and units are few, so that they are used again with other bodies."""

    number: int
    unit: str
    variant: str
    day: int


class Conversion(NamedTuple):
    """A conversion as it is sent."""

    number: int
    unit: str
    millionths: int
    day: int


Event = Exposure | Conversion
KINDS: dict[type[Event], EventKind] = {Exposure: "exposure", Conversion: "conversion"}
UNITS = st.sampled_from("abcdefghij")
DAYS = st.integers(0, 20)
EXPOSURES = st.builds(Exposure, st.integers(0, 15), UNITS, st.sampled_from(VARIANTS), DAYS)
CONVERSIONS = st.builds(Conversion, st.integers(0, 30), UNITS, st.integers(-(10**15), 10**15), DAYS)


class Request(NamedTuple):
    """Events that are delivered together; ``seals``: all that waits is sealed after them."""

    events: Sequence[Event]
    seals: bool


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Request]]:
    """One set of events, delivered in three ways: each with an order, splits and repetitions of its own."""
    said = draw(st.lists(EXPOSURES | CONVERSIONS, min_size=1, max_size=60))
    return [list(_split(draw, draw(st.permutations(said + _repeated(draw, said))))) for _ in range(3)]


def _repeated(draw: st.DrawFn, said: list[Event]) -> list[Event]:
    return draw(st.lists(st.sampled_from(said), max_size=20))


def _split(draw: st.DrawFn, events: list[Event]) -> Iterator[Request]:
    while events:
        size = draw(st.sampled_from((1, 2, 7, 40)))
        yield Request(events[:size], draw(st.sampled_from((True, False, False, False))))
        events = events[size:]


@dataclass
class Model:
    """What must be counted, by the plainest means: lists and exact fractions."""

    exposures: dict[int, Exposure] = field(default_factory=dict)
    conversions: dict[int, Conversion] = field(default_factory=dict)
    again: Counter[tuple[str, str]] = field(default_factory=Counter)

    def hear(self, event: Event) -> None:
        """The next event, in the order of acceptance: the first of each id is kept."""
        kept: dict[int, Any] = self.exposures if isinstance(event, Exposure) else self.conversions
        if event.number in kept:
            same = kept[event.number] == event
            self.again[KINDS[type(event)], "duplicates" if same else "conflicts"] += 1
        else:
            kept[event.number] = event

    def arms(self) -> tuple[Counter[str], Counter[str], dict[str, list[Fraction]]]:
        """By variant: analysed units, units left out since they met both, and a sum for each analysed unit."""
        met: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for exposure in self.exposures.values():
            met[exposure.unit].append((exposure.day, exposure.number, exposure.variant))
        analysed, left_out, sums = Counter[str](), Counter[str](), defaultdict[str, list[Fraction]](list)
        for unit, exposures in met.items():
            day, _, variant = min(exposures)
            if len({each for _, _, each in exposures}) > 1:
                left_out[variant] += 1
                continue
            analysed[variant] += 1
            # Conversions lie half a second behind the exposures of their day.
            bought = [c.millionths for c in self.conversions.values() if c.unit == unit and c.day >= day]
            sums[variant].append(Fraction(sum(bought), 10**6))
        return analysed, left_out, sums


@dataclass
class Place:
    """A platform in which every delivery has a project to itself."""

    uow: UnitOfWork
    database: sa.Engine
    lake: Lake
    numbers: Iterator[int] = field(default_factory=count)

    def open_project(self) -> str:
        """A new project with a running experiment."""
        project = f"project-{next(self.numbers)}"
        with self.uow.begin() as work:
            work.projects.ensure(project, now=NOW)
            define.create_metric(work, project, a_metric(), now=NOW)
            define.create_experiment(work, project, an_experiment(), now=NOW)
            live.take_step(work, project, "rate-display", "start", now=NOW)
        return project

    def deliver(self, project: str, requests: Sequence[Request]) -> None:
        """Send them one after the other."""
        intake = Intake(self.uow, Inbox(self.database), pseudonym_key=SECRET, max_age=timedelta(days=400))
        for events, seals in requests:
            exposures = [_exposure_body(event) for event in events if isinstance(event, Exposure)]
            conversions = [_conversion_body(event) for event in events if isinstance(event, Conversion)]
            for bodies, take in ((exposures, intake.take_exposures), (conversions, intake.take_conversions)):
                if bodies:
                    body = json.dumps({"events": bodies} if len(bodies) > 1 else bodies[0]).encode()
                    assert take(project, body, received_at=RECEIVED).accepted == len(bodies)
            if seals:
                seal_project(self.database, self.lake, project, now=RECEIVED)
        seal_project(self.database, self.lake, project, now=RECEIVED)

    def counted(self, project: str) -> Aggregation:
        """What the engine makes of it."""
        with self.uow.reading() as work:
            known, experiment = work.projects.get(project), work.experiments.get(project, "rate-display")
        as_of = later(days=26)
        return aggregate(DuckDBEngine(), self.lake, known, experiment, metrics=[REVENUE], as_of=as_of).aggregation


def _exposure_body(event: Exposure) -> dict[str, Any]:
    moment = later(days=event.day, microseconds=event.number)
    return {
        "event_id": f"exposure-{event.number}",
        "experiment": "rate-display",
        "phase": 1,
        "variant": event.variant,
        "unit_id": event.unit,
        "timestamp": moment.isoformat(),
    }


def _conversion_body(event: Conversion) -> dict[str, Any]:
    return {
        "event_id": f"conversion-{event.number}",
        "event": "purchase",
        "unit_id": event.unit,
        "value": str(Decimal(event.millionths).scaleb(-6)),
        "timestamp": later(days=event.day, milliseconds=500, microseconds=event.number).isoformat(),
    }


@pytest.fixture
def place(database: sa.Engine, metadata_url: str, tmp_path: Path) -> Iterator[Place]:
    """A platform, on both databases."""
    lake = Lake((tmp_path / "lake").as_uri(), metadata_url)
    yield Place(UnitOfWork(database), database, lake)
    lake.close()


@settings(
    max_examples=4,
    # An example takes half a second: looking for a smaller one that fails too would take minutes.
    phases=(Phase.generate,),
    deadline=None,
    derandomize=True,
    # Each delivery has a project of its own in the one platform.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ways=deliveries())
def test_every_way_of_delivery_gives_what_an_independent_model_gives(place: Place, ways: list[list[Request]]) -> None:
    for requests in ways:
        project, model = place.open_project(), Model()
        for request in requests:
            for event in request.events:
                model.hear(event)

        place.deliver(project, requests)

        check(place.counted(project), model)
        counters = {kind: Inbox(place.database).counters(project, kind) for kind in KINDS.values()}
        for kind, found in counters.items():
            expected = {name: model.again[kind, name] for name in ("duplicates", "conflicts")}
            assert found == expected | {"rejected": 0}


def check(found: Aggregation, model: Model) -> None:
    """Counts and sums are equal, second moments but for rounding."""
    analysed, left_out, sums = model.arms()
    assert {key: units for key, units in found.analysed.items() if units} == dict(analysed)
    assert {key: units for key, units in found.multi_variant.items() if units} == dict(left_out)
    for cell in found.cells:
        values = sums[cell.variant]
        assert (cell.units, Fraction(cell.total)) == (len(values), sum(values))
        assert cell.nonzero == sum(value != 0 for value in values)
        if values:
            # The sum of squares from Fractions, without a single rounding.
            squares = cell.m2 + cell.units * cell.mean**2
            assert math.isclose(squares, sum(value**2 for value in values), rel_tol=1e-12, abs_tol=1e-12)
