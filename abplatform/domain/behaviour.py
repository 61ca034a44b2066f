"""Segments from behaviour: what units did before a time, as classes to slice results by and to target on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from abplatform.domain.metric import Measure

BehaviourKind = Literal["rfm", "life_cycle", "channel"]

KINDS: tuple[BehaviourKind, ...] = ("rfm", "life_cycle", "channel")
NONE = "none"
"""The class of units that did nothing in the look-back; a channel has no class for them, but no value."""
RFM_CLASSES = ("active", "potential", "at_risk", "dormant", NONE)
LIFE_CYCLE_CLASSES = ("new", "growing", "churn_risk", "mature", NONE)
DEFAULT_GROUPS = 4
VERSION_MARK = "@"
"""Stands between the key and the version of a behaviour: ``rfm@2``."""

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """How a number is cut into groups, either at fixed edges or at quantiles that become edges in each version.

    A number at an edge belongs to the group that the edge ends.

    Attributes:
        quantiles: into how many groups, 2 to 10; the edges are then those of the version.
        high_from: from which score on a unit has much of it; scores are 1 to the number of groups, the best one the
            highest. By default the upper half of the scores, with the middle one where their number is odd.
    """

    quantiles: int | None = None
    high_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecencyBins(Bins):
    """Groups by the time since the last activity: the shorter, the higher the score.

    Attributes:
        edges: ascending.
    """

    edges: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyBins(Bins):
    """Groups by the number of activities.

    Attributes:
        edges: ascending.
    """

    edges: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyBins(Bins):
    """Groups by the sum of amounts.

    Attributes:
        edges: ascending.
    """

    edges: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A way to class units by what they did strictly before a time.

    The time is that of the first exposure where results are sliced, so that no variant can have changed the class, and
    any that one asks for where classes are exported. See `rfm_cases` and `life_cycle_cases` for the classes; those of
    a ``channel`` are the values of ``source`` at the unit's earliest activity (of several at one time that of the least
    event id).

    Attributes:
        key: name in this project.
        name, description: for people.
        kind: ``rfm`` (recency, frequency, money), ``life_cycle`` or ``channel`` (of acquisition).
        activity: the events that count as an activity; an event that fits several is one activity.
        amount: the events whose values are money; without them the activities' own values. Not of channels.
        look_back: how far back from the time events count: ``time - look_back <= event < time``. Not of channels, which
            know all history, as does the first activity that decides who is new.
        recency, frequency, money: how the three numbers are cut; of ``rfm``.
        new_within: units whose first known activity is younger are new; of ``life_cycle``.
        longer_than_percent: intervals lengthen if the recent mean is more than so many percent of the older one, at
            least 100; of ``life_cycle``.
        less_than_percent: amounts fall if the recent sum is less than so many percent of the older one, at most 100;
            of ``life_cycle``.
        source: name of the property that says where a unit came from; of ``channel``.
    """

    key: str
    name: str
    kind: BehaviourKind
    activity: tuple[Measure, ...]
    amount: Measure | None = None
    description: str = ""
    look_back: timedelta = timedelta(days=365)
    recency: RecencyBins = RecencyBins(quantiles=DEFAULT_GROUPS)
    frequency: FrequencyBins = FrequencyBins(quantiles=DEFAULT_GROUPS)
    money: MoneyBins = MoneyBins(quantiles=DEFAULT_GROUPS)
    new_within: timedelta = timedelta(days=30)
    longer_than_percent: int = 100
    less_than_percent: int = 100
    source: str = ""

    @property
    def bins(self) -> dict[str, RecencyBins | FrequencyBins | MoneyBins]:
        """How numbers are cut, by their names; nothing but of ``rfm``."""
        if self.kind != "rfm":
            return {}
        return {"recency": self.recency, "frequency": self.frequency, "money": self.money}

    @property
    def quantiles(self) -> dict[str, int]:
        """The number of groups of those numbers that are cut at quantiles, by their names."""
        return {name: bins.quantiles for name, bins in self.bins.items() if bins.quantiles is not None}

    @property
    def amounts(self) -> tuple[Measure, ...]:
        """The events whose values are added up; an event that fits several is added once."""
        return tuple(replace(part, aggregation="sum") for part in ((self.amount,) if self.amount else self.activity))

    @property
    def recent_from(self) -> timedelta:
        """How far before the time the recent half of the look-back begins."""
        return self.look_back // 2


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which numbers on a unit is high: at most so long ago, more than so often, more than so much."""

    recency: timedelta
    frequency: int
    money: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """What an engine has to tell about all units at one time.

    Attributes:
        project: key of the project.
        behaviour: what is asked.
        time: events at or after it do not count.
        unit_type: where units of another type than the project's own are asked about, see `AggregationRequest`.
        state: of the table of conversions, by Iceberg's number; None where it has no rows.
    """

    project: str
    behaviour: Behaviour
    time: datetime
    unit_type: str | None = None
    state: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastNumbers:
    """What the quantiles of a behaviour come to.

    Attributes:
        units: those with an activity in the look-back: quantiles are of them.
        edges: by the name of what is cut, in order; nothing where there are too few units for the groups.
    """

    units: int
    edges: Mapping[str, tuple[timedelta | int | Decimal, ...]]


FEWEST_UNITS = 10
"""In each group of quantiles."""


def units_needed(behaviour: Behaviour) -> int:
    """How many units with an activity its quantiles need."""
    return FEWEST_UNITS * max(behaviour.quantiles.values(), default=0)


def quantile_ranks(groups: int, units: int) -> list[int]:
    """Which of the ascending numbers of units end all groups but the last: the least that so large a share has reached.

    >>> quantile_ranks(4, 10)
    [2, 4, 7]
    """
    return [-(-number * units // groups) - 1 for number in range(1, groups)]


def pin_edges(behaviour: Behaviour, edges: Mapping[str, tuple[Any, ...]]) -> Behaviour:
    """The behaviour with numbers where its author wrote quantiles.

    Args:
        behaviour: as its author wrote it, or a version of it.
        edges: of what is cut at quantiles, by name; nothing takes them away again.
    """
    bins: Mapping[str, Any] = behaviour.bins
    pinned: dict[str, Any] = {
        name: replace(bins[name], edges=tuple(edges.get(name, ()))) for name in behaviour.quantiles
    }
    return replace(behaviour, **pinned)


def groups_of(bins: RecencyBins | FrequencyBins | MoneyBins) -> int:
    """Into how many groups a number is cut."""
    return bins.quantiles or len(bins.edges) + 1


def high_from(bins: RecencyBins | FrequencyBins | MoneyBins) -> int:
    """The lowest score of units that have much.

    >>> [high_from(FrequencyBins(quantiles=groups)) for groups in (2, 3, 4, 5)]
    [2, 2, 3, 3]
    """
    return bins.high_from or groups_of(bins) // 2 + 1


def find_thresholds(behaviour: Behaviour) -> Thresholds:
    """The three numbers that decide about the class, of a version whose edges are numbers."""
    recency, frequency, money = behaviour.recency, behaviour.frequency, behaviour.money
    return Thresholds(
        recency=recency.edges[groups_of(recency) - high_from(recency)],
        frequency=frequency.edges[high_from(frequency) - 2],
        money=money.edges[high_from(money) - 2],
    )


Cases = Sequence[tuple[Any, str]]
"""Conditions with the class of each: the first that holds decides."""


def rfm_cases(behaviour: Behaviour, *, recency: Any, frequency: Any, money: Any) -> tuple[Cases, str]:
    """The rules of the classes of ``rfm``, and the class of units that meet none.

    In this order: without an activity in the look-back ``none``. Recent (high score of recency) and valuable (high
    score of frequency *or* money) is ``active``, recent alone ``potential``, valuable alone ``at_risk``, neither
    ``dormant``.

    Whatever can be compared will do, so that engines and people read the same rules:

    >>> from datetime import timedelta
    >>> bins = dict(recency=RecencyBins(edges=(timedelta(days=30),)), frequency=FrequencyBins(edges=(3,)))
    >>> shop = Behaviour(key="k", name="n", kind="rfm", activity=(), money=MoneyBins(edges=(Decimal(100),)), **bins)
    >>> cases, rest = rfm_cases(shop, recency=40 * 86_400_000_000, frequency=2, money=Decimal("100.01"))
    >>> next((name for holds, name in cases if holds), rest)
    'at_risk'

    Args:
        behaviour: a version whose edges are numbers.
        recency: microseconds from the last activity to the time; without one anything.
        frequency: activities in the look-back.
        money: sum of amounts in the look-back.
    """
    limits = find_thresholds(behaviour)
    recent = recency <= limits.recency // _MICROSECOND
    valuable = (frequency > limits.frequency) | (money > limits.money)
    cases = [(frequency == 0, NONE), (recent & valuable, "active"), (recent, "potential"), (valuable, "at_risk")]
    return cases, "dormant"


def life_cycle_cases(
    behaviour: Behaviour, *, age: Any, recent: Any, older: Any, recent_amount: Any, older_amount: Any
) -> tuple[Cases, str]:
    """The rules of the classes of ``life_cycle``, and the class of units that meet none.

    In this order: without an activity in the look-back ``none``; first known activity younger than ``new_within``
    ``new``; more activities in the recent half of the look-back than in the older one and not smaller amounts
    ``growing``; a longer mean interval and smaller amounts ``churn_risk``; all others ``mature``.

    The mean interval of a half is its length by its number of activities. The mean distance between activities would
    not know a unit that fell silent: it ends at the last one, and needs two.

    Args:
        behaviour: whose thresholds.
        age: microseconds from the first known activity to the time; without one anything.
        recent, older: activities in the two halves.
        recent_amount, older_amount: sums of amounts in the two halves.
    """
    longer = recent * behaviour.longer_than_percent < older * 100
    less = (recent_amount * 100 < older_amount * behaviour.less_than_percent) & (recent_amount < older_amount)
    cases = [
        (recent + older == 0, NONE),
        (age < behaviour.new_within // _MICROSECOND, "new"),
        ((recent > older) & (recent_amount >= older_amount), "growing"),
        (longer & less, "churn_risk"),
    ]
    return cases, "mature"
