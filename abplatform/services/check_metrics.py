"""Check that the lake has the events that metrics read: a metric without them is 0 for ever, and says nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from abplatform.domain.metric import Metric
from abplatform.warehouse.event_overview import Need, Seen, count_events, find_needs
from abplatform.warehouse.lake import Lake

ProblemCode = Literal["EVENT_NOT_SEEN", "PROPERTY_NOT_SEEN", "NOTHING_MATCHES", "NEVER_A_NUMBER"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a metric lacks.

    Attributes:
        code: ``EVENT_NOT_SEEN``, ``PROPERTY_NOT_SEEN``, ``NOTHING_MATCHES`` (no event meets the condition) or
            ``NEVER_A_NUMBER`` (where one is read).
        property: the one that it is about; None for the event, or its value.
    """

    code: ProblemCode
    property: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCheck:
    """One part of a metric against the lake."""

    metric: str
    need: Need
    seen: Seen
    problems: tuple[Problem, ...]


def check_metrics(
    lake: Lake,
    project: str,
    metrics: Sequence[Metric],
    *,
    since: datetime,
    memory_limit: str = "2GB",
    progress: Callable[[float], None] = lambda _share: None,
) -> tuple[EventCheck, ...]:
    """Compare what metrics read with what the lake has had since some time.

    Args:
        lake, project, since, memory_limit, progress: see `event_overview.count_events`.
        metrics: of the project.

    Returns:
        One for each part of each metric, in their order.

    Raises:
        Unavailable: if the catalog or the storage does not answer, or files are missing.
    """
    parts = [(metric.key, need) for metric in metrics for need in find_needs(metric)]
    needs = [need for _, need in parts]
    found = count_events(lake, project, needs, since=since, memory_limit=memory_limit, progress=progress)
    return tuple(
        EventCheck(metric=key, need=need, seen=seen, problems=find_problems(need, seen))
        for (key, need), seen in zip(parts, found, strict=True)
    )


def find_problems(need: Need, seen: Seen) -> tuple[Problem, ...]:
    """What is missing: nothing more is said about an event that was never seen."""
    if not seen.events:
        return (Problem(code="EVENT_NOT_SEEN"),)
    problems: list[Problem] = []
    for name, numeric in need.properties.items():
        if not seen.properties[name]:
            problems.append(Problem(code="PROPERTY_NOT_SEEN", property=name))
        elif numeric and not seen.numeric[name]:
            problems.append(Problem(code="NEVER_A_NUMBER", property=name))
    if not problems and not seen.matching:
        problems.append(Problem(code="NOTHING_MATCHES"))
    elif not problems and need.number and not seen.numbers:
        problems.append(Problem(code="NEVER_A_NUMBER", property=need.value))
    return tuple(problems)
