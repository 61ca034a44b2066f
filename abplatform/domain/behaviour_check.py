"""Refuse behaviours whose classes would not be what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from abplatform.domain.behaviour import KINDS, Behaviour, FrequencyBins, MoneyBins, RecencyBins, groups_of
from abplatform.domain.checks import Faults
from abplatform.domain.dimension import PERIODS
from abplatform.domain.events import LONGEST_PROPERTY
from abplatform.domain.metric_check import check_length, check_measure, check_property

MOST_ACTIVITIES = 10
MOST_GROUPS = 10
LARGEST_AMOUNT = Decimal(10) ** 14
LARGEST_COUNT = 10**9
LONGEST_PERCENT = 10_000
_PLACES = -6
_AMOUNTS = frozenset({"rfm", "life_cycle"})
_KINDS_OF_FIELD: Mapping[str, frozenset[str]] = {
    "amount": _AMOUNTS,
    "look_back": _AMOUNTS,
    **dict.fromkeys(("recency", "frequency", "money"), frozenset({"rfm"})),
    **dict.fromkeys(("new_within", "longer_than_percent", "less_than_percent"), frozenset({"life_cycle"})),
    "source": frozenset({"channel"}),
}
"""The kinds that a field belongs to; those that are not here belong to all."""


def check_behaviour(behaviour: Behaviour) -> None:
    """Refuse a behaviour whose classes would not be what it says.

    Args:
        behaviour: as its author writes it: what is cut at quantiles has no edges yet.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    if faults.key(behaviour.key, "key"):
        faults.check(behaviour.key not in PERIODS, "key", "is the name of a dimension that every experiment has")
    faults.text(behaviour.name, "name", most=200, least=1)
    faults.text(behaviour.description, "description", most=2000)
    if faults.check(behaviour.kind in KINDS, "kind", f"must be one of {', '.join(KINDS)}"):
        _check_fields(behaviour, faults)
        _check_numbers(behaviour, faults)
    _check_events(behaviour, faults)
    faults.raise_any()


def _check_fields(behaviour: Behaviour, faults: Faults) -> None:
    """Refuse what belongs to other kinds."""
    defaults = Behaviour(key="", name="", kind="rfm", activity=())
    for each in fields(behaviour):
        kinds = _KINDS_OF_FIELD.get(each.name, frozenset(KINDS))
        changed = getattr(behaviour, each.name) != getattr(defaults, each.name)
        if changed and behaviour.kind not in kinds:
            listed = " and ".join(kind for kind in KINDS if kind in kinds)
            faults.add(each.name, f"belongs to behaviours of the kind {listed}, not {behaviour.kind}")


def _check_events(behaviour: Behaviour, faults: Faults) -> None:
    count = len(behaviour.activity)
    faults.check(1 <= count <= MOST_ACTIVITIES, "activity", f"must be 1 to {MOST_ACTIVITIES} kinds of events")
    for index, part in enumerate(behaviour.activity):
        path = f"activity.{index}"
        check_measure(part, path, faults)
        for name in ("value", "aggregation"):
            faults.check(getattr(part, name) is None, f"{path}.{name}", "is not read here; amount names what is added")
    if behaviour.amount is not None:
        check_measure(behaviour.amount, "amount", faults)
        rule = "must be absent: amounts are added up"
        faults.check(behaviour.amount.aggregation is None, "amount.aggregation", rule)


def _check_numbers(behaviour: Behaviour, faults: Faults) -> None:
    if behaviour.kind == "channel":
        rule = f"is required: the property that says where a unit came from, of at most {LONGEST_PROPERTY} characters"
        if faults.check(bool(behaviour.source), "source", rule):
            check_property(behaviour.source, "source", faults)
        return
    check_length(behaviour.look_back, "look_back", faults)
    if behaviour.kind == "life_cycle":
        check_length(behaviour.new_within, "new_within", faults)
        _check_percent(behaviour.longer_than_percent, "longer_than_percent", faults, least=100, most=LONGEST_PERCENT)
        _check_percent(behaviour.less_than_percent, "less_than_percent", faults, least=1, most=100)
    for name, bins in behaviour.bins.items():
        if _check_bins(bins, name, faults):
            _check_edges(bins.edges, name, faults)


def _check_percent(percent: int, path: str, faults: Faults, *, least: int, most: int) -> None:
    faults.check(least <= percent <= most, path, f"must be from {least} to {most}")


def _check_bins(bins: RecencyBins | FrequencyBins | MoneyBins, path: str, faults: Faults) -> bool:
    if (bins.quantiles is None) == (not bins.edges):
        faults.add(path, "must have either edges or quantiles")
        return False
    if bins.quantiles is not None and not 2 <= bins.quantiles <= MOST_GROUPS:
        faults.add(f"{path}.quantiles", f"must be from 2 to {MOST_GROUPS}")
        return False
    groups = groups_of(bins)
    faults.check(groups <= MOST_GROUPS, f"{path}.edges", f"must be at most {MOST_GROUPS - 1}")
    if bins.high_from is not None:
        faults.check(2 <= bins.high_from <= groups, f"{path}.high_from", f"must be from 2 to {groups}, a score")
    return True


def _check_edges(edges: Sequence[Any], path: str, faults: Faults) -> None:
    for index, edge in enumerate(edges):
        place = f"{path}.edges.{index}"
        if isinstance(edge, timedelta):
            check_length(edge, place, faults)
        elif isinstance(edge, int):
            faults.check(1 <= edge <= LARGEST_COUNT, place, f"must be a whole number from 1 to {LARGEST_COUNT:,}")
        else:
            faults.check(_is_amount(edge), place, "must be an amount below 10^14, with at most 6 places")
    ascending = all(before < after for before, after in pairwise(edges))
    faults.check(ascending, f"{path}.edges", "must ascend, each larger than the one before it")


def _is_amount(edge: Decimal) -> bool:
    exponent = edge.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _PLACES and abs(edge) < LARGEST_AMOUNT
