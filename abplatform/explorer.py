"""Ways to look at an experiment that record nothing and decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from abplatform.domain.access import Project
from abplatform.domain.acquisition import AcquisitionCosts
from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.breakdown import Breakdown
from abplatform.domain.curve import Curve
from abplatform.domain.differences import Differences
from abplatform.domain.dimension import Dimension
from abplatform.domain.experiment import Experiment
from abplatform.domain.holdout_results import HoldoutResults
from abplatform.domain.interactions import Interactions
from abplatform.domain.metric import Metric
from abplatform.domain.portfolio import Portfolio
from abplatform.domain.timeseries import Timeseries
from abplatform.services.aggregate import Answering, build_request
from abplatform.services.break_down import read_breakdown, search_differences
from abplatform.services.choose import Question
from abplatform.services.follow import read_timeseries
from abplatform.services.price_acquisition import Pricing, price_acquisition
from abplatform.services.read_holdout import HoldoutQuestion, read_holdout
from abplatform.services.read_interactions import Crossing, read_interactions
from abplatform.services.read_portfolio import read_portfolio
from abplatform.services.trace import CurveQuestion, read_curve
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.missing import files_are_there


class _Reduce(Protocol):
    """Reduces the events of an experiment."""

    def __call__(
        self, experiment: Experiment, metrics: Sequence[Metric], dimensions: Sequence[Dimension] = (), /
    ) -> Aggregation: ...


@dataclass(frozen=True, slots=True)
class Explorer:
    """Looks at experiments by day, by slice and across each other; everything acknowledged before a call is in it.

    All raise `Unavailable` if the database, the lake or the engine does not answer.

    Attributes:
        uow: where definitions are kept.
        lake: where events are.
        analysing: seals a project and gives what it takes to analyse it, see `Platform.analysing`.
    """

    uow: UnitOfWork
    lake: Lake
    analysing: Callable[[str], AbstractContextManager[tuple[Answering, Project, datetime]]]

    @files_are_there()
    def timeseries(
        self, project: str, key: str, *, method: str | None = None, metric: str | None = None, phase: int | None = None
    ) -> Timeseries:
        """The results of an experiment by day: see `follow.read_timeseries`.

        Args:
            project, key, method, metric, phase: see `Platform.results`.
        """
        question = Question(method=method, metric=metric, phase=phase)
        with self._reducing(project, daily=True) as (reduce, now):
            return read_timeseries(self.uow, reduce, project, key, question=question, now=now)

    @files_are_there()
    def curve(self, project: str, key: str, *, question: CurveQuestion) -> Curve:
        """A metric of an experiment by days since the first exposure: see `trace.read_curve`."""
        with self._reducing(project) as (reduce, now):
            return read_curve(self.uow, reduce, project, key, question=question, now=now)

    @files_are_there()
    def breakdown(
        self,
        project: str,
        key: str,
        *,
        by: str,
        method: str | None = None,
        metric: str | None = None,
        phase: int | None = None,
    ) -> Breakdown:
        """The results of an experiment by slices of its units: see `break_down.read_breakdown`.

        Args:
            project, key, method, metric, phase: see `Platform.results`.
            by: what to slice by.
        """
        question = Question(method=method, metric=metric, phase=phase)
        with self._reducing(project) as (reduce, now):
            return read_breakdown(self.uow, reduce, project, key, by=by, question=question, now=now)

    @files_are_there()
    def differences(self, project: str, key: str, *, phase: int | None = None) -> Differences:
        """Where the effect of an experiment differs between slices: see `break_down.search_differences`."""
        with self._reducing(project) as (reduce, now):
            return search_differences(self.uow, reduce, project, key, phase=phase, now=now)

    @files_are_there()
    def acquisition_cost(self, project: str, key: str, *, pricing: Pricing) -> AcquisitionCosts:
        """What one more customer costs, by channel and variant: see `price_acquisition.price_acquisition`."""
        with self._reducing(project) as (reduce, now):
            return price_acquisition(self.uow, reduce, project, key, pricing=pricing, now=now)

    @files_are_there()
    def interactions(self, project: str, key: str, *, crossing: Crossing) -> Interactions:
        """Which experiments change each other's effect: see `read_interactions.read_interactions`."""
        with self._reducing(project) as (reduce, now):
            return read_interactions(self.uow, reduce, project, key, crossing=crossing, now=now)

    @files_are_there()
    def holdout_results(self, project: str, key: str, *, question: HoldoutQuestion) -> HoldoutResults:
        """What everything that was shipped did together: see `read_holdout.read_holdout`."""
        with self.analysing(project) as (engine, owner, now):

            def reduce(request: AggregationRequest) -> Aggregation:
                return engine.aggregate(self.lake, replace(request, state=self.lake.state(project)))

            return read_holdout(self.uow, reduce, owner, key, question=question, now=now)

    def portfolio(self, project: str, metric: str) -> Portfolio:
        """All past experiments on one metric, raw and shrunken: see `read_portfolio.read_portfolio`."""
        return read_portfolio(self.uow, project, metric)

    @contextmanager
    def _reducing(self, project: str, *, daily: bool = False) -> Iterator[tuple[_Reduce, datetime]]:
        """What reduces the events of an experiment, by days or by slices where that is asked for, and the time."""
        with self.analysing(project) as (engine, owner, now):

            def reduce(
                experiment: Experiment, metrics: Sequence[Metric], dimensions: Sequence[Dimension] = ()
            ) -> Aggregation:
                state = self.lake.state(project)
                request = build_request(owner, experiment, metrics=metrics, as_of=now, state=state)
                return engine.aggregate(self.lake, replace(request, daily=daily, dimensions=tuple(dimensions)))

            yield reduce, now
