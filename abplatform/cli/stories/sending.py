"""Send what simulated customers do to the platform, as a product would: in batches, day by day."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from abplatform.cli.stories.story import Crowd, Deeds, Floats
from abplatform.domain.events import EventKind
from abplatform.services.decode_events import MOST_EVENTS
from abplatform.services.ingest import IngestReport, Intake

Take = Callable[..., IngestReport]


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of one kind in the order of their times.

    Attributes:
        kind: of all of them.
        events: as a product sends them.
        times: of each, in days from the start.
    """

    kind: EventKind
    events: Sequence[Mapping[str, Any]]
    times: Floats

    def between(self, begin: float, end: float) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Batches of what happens from ``begin`` until before ``end``."""
        first, last = np.searchsorted(self.times, [begin, end])
        for position in range(int(first), int(last), MOST_EVENTS):
            yield self.events[position : min(position + MOST_EVENTS, int(last))]


def stream_exposures(crowd: Crowd, variants: Sequence[str | None], experiment: str, *, start: datetime) -> Stream:
    """The exposures of those customers who get a variant."""
    times = _write_times(start, crowd.arrival)
    drawn = [position for position in np.argsort(crowd.arrival, kind="stable").tolist() if variants[position]]
    events = [
        {
            "event_id": f"{experiment}.{position}",
            "experiment": experiment,
            "variant": variants[position],
            "unit_id": crowd.ids[position],
            "units": pick(crowd.units, position),
            "attributes": pick(crowd.attributes, position),
            "timestamp": times[position],
        }
        for position in drawn
    ]
    return Stream("exposure", events, crowd.arrival[drawn])


def stream_deeds(crowd: Crowd, deeds: Sequence[Deeds], story: str, *, start: datetime) -> Stream:
    """All that the customers do."""
    events: list[dict[str, Any]] = []
    for number, each in enumerate(deeds):
        when = _write_times(start, crowd.arrival[each.who] + each.after)
        for place, (who, time) in enumerate(zip(each.who.tolist(), when, strict=True)):
            event = {
                "event_id": f"{story}.{number}.{place}",
                "event": each.event,
                "unit_id": crowd.ids[who],
                "units": pick(crowd.units, who),
                "properties": each.properties,
                "timestamp": time,
            }
            if each.value is not None:
                event["value"] = msgspec.Raw(_write_amount(int(each.value[place])))
            events.append(event)
    times = np.concatenate([crowd.arrival[each.who] + each.after for each in deeds])
    order = np.argsort(times, kind="stable")
    return Stream("conversion", [events[position] for position in order.tolist()], times[order])


def send(intake: Intake, project: str, stream: Stream, *, days: tuple[float, float], received_at: datetime) -> None:
    """Hand in what happens on some days.

    Args:
        intake: takes events.
        project: key of the project.
        stream: the events.
        days: from when until before when.
        received_at: the simulated time of the receipt.
    """
    take: Take = intake.take_exposures if stream.kind == "exposure" else intake.take_conversions
    for batch in stream.between(*days):
        report = take(project, msgspec.json.encode({"events": batch}), received_at=received_at)
        if report.rejected:
            raise RuntimeError(f"the platform refused simulated events: {report.rejected[0]}")


def pick(columns: Mapping[str, Sequence[Any]], position: int) -> dict[str, Any]:
    """What columns say of one customer."""
    return {name: values[position] for name, values in columns.items()}


def _write_times(start: datetime, days: Floats) -> list[str]:
    first = np.datetime64(start.replace(tzinfo=None), "us")
    moments = first + np.round(days * (timedelta(days=1) / timedelta(microseconds=1))).astype("timedelta64[us]")
    return [f"{text}Z" for text in np.datetime_as_string(moments).tolist()]


def _write_amount(cents: int) -> bytes:
    return b"%d.%02d" % divmod(cents, 100)
