"""A look that goes on from an earlier one says the same as one that reads all events, and reads only what is new."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.warehouse import lake_table
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS, SEQUENCE_NUMBER, facts_to_arrow
from abplatform.warehouse.news import CannotResume, EarlierState
from tests.builders import NOW, a_conversion_fact, an_exposure_fact
from tests.warehouse.histories import a_history
from tests.warehouse.lakes import hence
from tests.warehouse.oracle import check_equal
from tests.warehouse.test_engine_oracle import REQUESTS

DAY = timedelta(days=1)
PLAIN = replace(REQUESTS["plain"], phase=1)
# What a unit may be worth and still be kept.
MOST = Decimal(10**12) - Decimal("0.000001")

Fact = ExposureFact | ConversionFact


def deliver(lake: Lake, facts: Sequence[Fact]) -> None:
    """Append facts in one commit per table."""
    exposures = [fact for fact in facts if isinstance(fact, ExposureFact)]
    conversions = [fact for fact in facts if isinstance(fact, ConversionFact)]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", conversions))


def in_order_of_arrival(seed: int) -> list[Fact]:
    """A random history; nearly all events come within hours of their time, and a few much later."""
    rng = random.Random(seed)
    # Large amounts that differ by little have a variance of rounding errors.
    history = a_history(seed, extremes=(Decimal("0.125"), Decimal(1000)))
    facts: list[Fact] = [*history.exposures, *history.conversions]

    def arrival(fact: Fact) -> Any:
        late = isinstance(fact, ConversionFact) and rng.random() < 0.1
        return fact.timestamp + timedelta(hours=rng.random() * (200 if late else 20)), fact.event_id

    return sorted(facts, key=arrival)


@pytest.mark.parametrize(("seed", "name"), list(enumerate(REQUESTS)))
def test_going_on_says_the_same_as_reading_everything(
    local_lake: Lake, engine: Engine, tmp_path: Path, seed: int, name: str
) -> None:
    check_history(local_lake, engine, tmp_path, seed=seed, name=name)


def test_spark_goes_on_too(local_lake: Lake, spark_on_threads: Engine, tmp_path: Path) -> None:
    check_history(local_lake, spark_on_threads, tmp_path, seed=5, name="clustered-sliced")


def check_history(lake: Lake, engine: Engine, folder: Path, *, seed: int, name: str) -> None:
    """Deliver a history in three parts, keep after each of the first two, compact at random, and compare at the end."""
    rng = random.Random(f"{seed}, {name}")
    facts = in_order_of_arrival(seed)
    first, second = sorted(rng.sample(range(len(facts) // 5, len(facts)), 2))
    kept = None
    for number, (start, end) in enumerate(((0, first), (first, second))):
        deliver(lake, facts[start:end])
        if rng.random() < 0.5:
            compact_all(lake)
        request = replace(REQUESTS[name], as_of=max(fact.timestamp for fact in facts[:end]))
        kept = engine.keep(lake, request, kept, folder=(folder / f"kept-{number}").as_uri())
    middle = (second + len(facts)) // 2
    deliver(lake, facts[second:middle])
    deliver(lake, facts[middle:])
    if rng.random() < 0.5:
        compact_all(lake)
    check_equal(engine.aggregate(lake, REQUESTS[name], kept), engine.aggregate(lake, REQUESTS[name]))


def compact_all(lake: Lake) -> None:
    for kind in KINDS:
        compact(lake, "default", kind, now=hence())


@pytest.fixture
def keep(local_lake: Lake, engine: Engine, tmp_path: Path) -> Callable[..., KeptUnits]:
    """Deliver facts, and keep what they say."""

    def run(*facts: Fact, request: AggregationRequest = PLAIN) -> KeptUnits:
        deliver(local_lake, facts)
        return engine.keep(local_lake, request, None, folder=(tmp_path / "kept").as_uri())

    return run


@pytest.fixture
def go_on(local_lake: Lake, engine: Engine) -> Callable[..., Aggregation]:
    """Deliver more facts, go on, and compare with reading everything."""

    def run(kept: KeptUnits, *facts: Fact, request: AggregationRequest = PLAIN) -> Aggregation:
        deliver(local_lake, facts)
        found = engine.aggregate(local_lake, request, kept)
        check_equal(found, engine.aggregate(local_lake, request))
        return found

    return run


def met(unit: str, days: float, variant: str = "control") -> ExposureFact:
    return an_exposure_fact(f"{unit}-{days}-{variant}", unit=unit, variant=variant, timestamp=NOW - days * DAY)


def paid(unit: str, days: float, value: Decimal = Decimal(10)) -> ConversionFact:
    return a_conversion_fact(f"{unit}-{days}", event="purchase", unit=unit, timestamp=NOW - days * DAY, value=value)


def revenue(found: Aggregation) -> Decimal:
    return sum((cell.total for cell in found.cells if cell.name == "revenue"), Decimal(0))


def test_files_that_were_read_are_not_read_again(
    local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits]
) -> None:
    kept = keep(met("a", 5), paid("a", 4), paid("b", 4))
    for kind in KINDS:
        for file in local_lake.files("default", kind):
            Path(file.path).unlink()
    deliver(local_lake, [met("b", 4.5), paid("a", 1)])
    found = engine.aggregate(local_lake, PLAIN, kept)
    assert (found.exposed["control"], revenue(found)) == (2, 30)


def test_what_waited_for_a_unit_counts_when_the_unit_comes(
    keep: Callable[..., KeptUnits], go_on: Callable[..., Aggregation]
) -> None:
    kept = keep(met("a", 9), paid("late", 4), paid("late", 6), paid("never", 4))
    assert revenue(go_on(kept, met("late", 5))) == 10


def test_an_exposure_that_was_logged_late_changes_what_counts(
    keep: Callable[..., KeptUnits], go_on: Callable[..., Aggregation]
) -> None:
    kept = keep(met("a", 1), paid("a", 1.5), paid("a", 0.5))
    found = go_on(kept, met("a", 1.7, "treatment"))
    assert (revenue(found), found.multi_variant["treatment"]) == (0, 1), "it met both"
    assert revenue(go_on(kept, met("b", 1.7))) == 0


def test_a_unit_that_is_settled_cannot_turn_out_to_have_come_earlier(
    local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits]
) -> None:
    kept = keep(met("a", 5), paid("a", 5.5))
    deliver(local_lake, [met("a", 6)])
    with pytest.raises(CannotResume, match="met earlier"):
        engine.aggregate(local_lake, PLAIN, kept)


def test_a_first_exposure_that_comes_again_under_its_id_is_not_compared_with_itself(
    local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits]
) -> None:
    kept = keep(met("a", 1), paid("a", 0.5))
    deliver(local_lake, [an_exposure_fact("a-1-control", unit="a", variant="treatment", timestamp=NOW - DAY)])
    with pytest.raises(CannotResume, match="again"):
        engine.aggregate(local_lake, PLAIN, kept)


def test_a_clock_that_goes_back_unsettles_nobody(
    local_lake: Lake, engine: Engine, tmp_path: Path, keep: Callable[..., KeptUnits], go_on: Callable[..., Aggregation]
) -> None:
    kept = keep(met("a", 2.5), paid("a", 2.2))
    earlier = replace(PLAIN, as_of=PLAIN.as_of - DAY)
    again = engine.keep(local_lake, earlier, kept, folder=(tmp_path / "again").as_uri())
    assert revenue(go_on(again)) == 10


def test_an_earlier_state_cannot_be_had_from_a_later_one(
    local_lake: Lake, engine: Engine, tmp_path: Path, keep: Callable[..., KeptUnits]
) -> None:
    keep(met("a", 5), paid("a", 4))
    before = local_lake.state("default")
    deliver(local_lake, [paid("b", 4)])
    kept = engine.keep(local_lake, PLAIN, None, folder=(tmp_path / "later").as_uri())
    with pytest.raises(EarlierState):
        engine.aggregate(local_lake, replace(PLAIN, state=before), kept)


def test_rows_of_an_earlier_release_have_no_number_and_are_not_taken_for_old_ones(
    local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(met("a", 5), paid("a", 4))
    # What that release appends lacks the column.
    monkeypatch.setattr(lake_table, "_number_rows", lambda rows, _number: rows)
    deliver(local_lake, [paid("a", 4.1)])
    assert revenue(engine.aggregate(local_lake, PLAIN, kept)) == 20, "a whole file of later commits"
    compact_all(local_lake)
    with pytest.raises(CannotResume, match="earlier release"):
        engine.aggregate(local_lake, PLAIN, kept)


def test_new_events_are_known_inside_compacted_files(
    local_lake: Lake, keep: Callable[..., KeptUnits], go_on: Callable[..., Aggregation]
) -> None:
    kept = keep(met("a", 5), paid("a", 4), paid("b", 4))
    deliver(local_lake, [met("b", 5), paid("a", 4.1), paid("c", 5)])
    compact_all(local_lake)
    days = [[file.day for file in local_lake.files("default", kind)] for kind in KINDS]
    assert all(len(set(each)) == len(each) for each in days), "one file a day"
    assert revenue(go_on(kept)) == 30
    assert revenue(go_on(kept, met("c", 6))) == 40


def test_events_that_are_gone_are_noticed(local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits]) -> None:
    kept = keep(met("a", 5), an_exposure_fact("other", experiment="other", timestamp=NOW - DAY), paid("a", 4))
    local_lake.delete_experiment("default", "other")
    deliver(local_lake, [met("b", 4)])
    with pytest.raises(CannotResume, match="gone"):
        engine.aggregate(local_lake, PLAIN, kept)


def test_values_that_are_too_large_are_not_kept(
    local_lake: Lake, engine: Engine, keep: Callable[..., KeptUnits], go_on: Callable[..., Aggregation]
) -> None:
    kept = keep(met("a", 5), paid("a", 4, MOST))
    assert revenue(go_on(kept, met("b", 5), paid("b", 4))) == MOST + 10
    deliver(local_lake, [paid("a", 3, Decimal("0.000001"))])
    with pytest.raises(CannotResume, match="too large"):
        engine.aggregate(local_lake, PLAIN, kept)
    with pytest.raises(CannotResume, match="too large"):
        keep()


def test_every_row_has_the_number_of_the_commit_that_brought_it(local_lake: Lake) -> None:
    deliver(local_lake, [paid("a", 4)])
    deliver(local_lake, [paid("b", 4), paid("c", 4)])
    assert numbers(local_lake) == [1, 2, 2]
    compact_all(local_lake)
    assert numbers(local_lake) == [1, 2, 2]


def numbers(lake: Lake) -> list[int]:
    files = lake.files("default", "conversion")
    return sorted(n for file in files for n in pq.read_table(file.path)[SEQUENCE_NUMBER].to_pylist())
