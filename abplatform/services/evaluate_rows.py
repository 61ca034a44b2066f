"""Evaluate many units at once: column by column what `abplatform.assignment.evaluate` does unit by unit.

The order of the reasons is the same, and so are the answers: the tests ask `evaluate` what is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.assignment import ExperimentRule, Reason, Snapshot
from abplatform.warehouse.buckets import DIGEST_BYTES, draw_buckets, draw_digests

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


class Answer(NamedTuple):
    """What an evaluation comes to: without a payload, which is the same for all units of a variant."""

    variant: str | None
    reason: str
    phase: int | None


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers for all rows of a batch.

    Attributes:
        codes: for each row the position of its answer in ``possible``.
        possible: all answers that the experiment has.
    """

    codes: npt.NDArray[np.int32]
    possible: tuple[Answer, ...]

    def count(self) -> Counter[Answer]:
        """How many rows got each answer; those that nobody got are left out."""
        rows = np.bincount(self.codes, minlength=len(self.possible)).tolist()
        return Counter({answer: count for answer, count in zip(self.possible, rows, strict=True) if count})


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of units.

    Attributes:
        count: how many rows there are.
        units: ids by unit type, as text or null; an empty text is no id. A type that is absent has no ids.
        matches: tells for an experiment and positions of rows which of these meet its targeting.
    """

    count: int
    units: Mapping[str, pa.Array]
    matches: Callable[[str, Positions], Mask]


def evaluate_rows(snapshot: Snapshot, experiment: str, rows: Rows) -> Answers:
    """What each row gets from an experiment.

    Raises:
        KeyError: the snapshot does not hold the experiment.
        TypeError: it holds it, but cannot evaluate it.
    """
    return _Evaluation(snapshot, rows).answers(experiment)


class _Evaluation:
    """One batch; what several experiments need for their prerequisites is evaluated once."""

    def __init__(self, snapshot: Snapshot, rows: Rows) -> None:
        self._snapshot = snapshot
        self._rows = rows
        self._known: dict[str, Answers] = {}

    def answers(self, experiment: str) -> Answers:
        if experiment not in self._known:
            rule = self._snapshot.experiments[experiment]
            if not isinstance(rule, ExperimentRule):
                raise TypeError(f"{experiment}: {rule.error}")
            self._known[experiment] = self._decide(rule)
        return self._known[experiment]

    def _decide(self, rule: ExperimentRule) -> Answers:
        ledger = _Ledger(self._rows.count)
        units = self._rows.units.get(rule.unit_type)
        if units is not None:
            ledger.begin(units)
            for answers, places in self._steps(rule, ledger):
                ledger.settle(answers, places)
        return ledger.close()

    def _steps(self, rule: ExperimentRule, ledger: _Ledger) -> Iterator[tuple[list[Answer], Positions]]:
        """Answers in the order of the reasons, with the place among them that each open row gets; -1 for none."""

        def control(reason: str, settled: Mask) -> tuple[list[Answer], Positions]:
            return [Answer(rule.control, reason, rule.phase)], np.where(settled, 0, -1)

        def by_variant(reason: str, places: Positions) -> tuple[list[Answer], Positions]:
            return [Answer(variant.key, reason, rule.phase) for variant in rule.variants], places

        if rule.status == "paused" or (rule.status == "stopped" and rule.shipped is None):
            yield control(Reason.NOT_RUNNING, np.ones(len(ledger.open), dtype=np.bool_))
        if rule.forced is not None:
            digests = draw_digests(rule.forced.prefix, ledger.units)
            yield by_variant(Reason.FORCED, _look_up(digests, rule.forced.positions))
        for holdout in rule.holdouts:
            drawn = draw_buckets(holdout.prefix, ledger.units)
            yield control(Reason.HOLDOUT, (drawn >= holdout.low) & (drawn < holdout.high))
        if rule.targeting is not None:
            yield control(Reason.NOT_TARGETED, ~self._rows.matches(rule.key, ledger.open))
        for needed in rule.prerequisites:
            yield control(Reason.PREREQUISITE, ~self._gives(needed.experiment, needed.variants, ledger.open))
        if rule.shipped is not None:
            shipped = Answer(rule.shipped, Reason.SHIPPED, rule.phase)
            yield [shipped], np.zeros(len(ledger.open), dtype=np.int64)
        if rule.draws.edges is not None:
            drawn = draw_buckets(rule.draws.layer_prefix, ledger.units)
            yield control(Reason.NOT_IN_COVERAGE, ~inside(rule.draws.edges, drawn))
        drawn = draw_buckets(rule.draws.variant_prefix, ledger.units)
        yield by_variant(Reason.ASSIGNED, np.searchsorted(rule.draws.bounds, drawn, "right"))

    def _gives(self, experiment: str, variants: frozenset[str], positions: Positions) -> Mask:
        """Which rows get one of the variants from another experiment."""
        if not isinstance(self._snapshot.experiments.get(experiment), ExperimentRule):
            return np.zeros(len(positions), dtype=np.bool_)
        answers = self.answers(experiment)
        good = np.array([answer.variant in variants for answer in answers.possible])
        chosen: Mask = good[answers.codes[positions]]
        return chosen


class _Ledger:
    """Which rows have their answer, and which are still open.

    Attributes:
        open: positions of the open rows, ascending.
        units: their ids.
    """

    def __init__(self, count: int) -> None:
        self._codes = np.zeros(count, dtype=np.int32)
        self._possible = [Answer(None, Reason.NO_UNIT, None)]
        self.open: Positions = np.zeros(0, dtype=np.int64)
        self.units: pa.Array = pa.array([], pa.string())

    def begin(self, units: pa.Array) -> None:
        """Open the rows that have an id."""
        texts = units.cast(pa.large_string())
        usable = pc.fill_null(pc.not_equal(texts, ""), fill_value=False)
        self.open = np.flatnonzero(usable.to_numpy(zero_copy_only=False))
        self.units = texts if len(self.open) == len(texts) else texts.filter(usable)

    def settle(self, answers: Sequence[Answer], places: Positions) -> None:
        """Give open rows the answer at their place; those with the place -1 stay open."""
        left = places < 0
        settled = self.open if not left.any() else self.open[~left]
        self._codes[settled] = len(self._possible) + (places if len(settled) == len(places) else places[~left])
        self._possible.extend(answers)
        if len(settled):
            self.open = self.open[left]
            self.units = self.units.filter(pa.array(left))

    def close(self) -> Answers:
        return Answers(self._codes, tuple(self._possible))


def inside(edges: tuple[int, ...], drawn: npt.NDArray[np.int32]) -> Mask:
    """Which buckets lie in a slot: an odd number of edges lies at or below them.

    >>> inside((0, 10, 20, 30), np.array([5, 10, 20, 30], dtype=np.int32)).tolist()
    [True, False, True, False]
    """
    odd: Mask = (np.searchsorted(edges, drawn, "right") & 1).astype(np.bool_)
    return odd


def _look_up(digests: bytes, positions: Mapping[bytes, int]) -> Positions:
    """The place of each forced unit's variant, -1 for units that are not forced."""
    starts = range(0, len(digests), DIGEST_BYTES)
    return np.array([positions.get(digests[start : start + DIGEST_BYTES], -1) for start in starts], dtype=np.int64)
