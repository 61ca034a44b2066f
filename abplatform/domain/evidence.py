"""What a look rests on, kept beside it: enough to compute it again, and to compare number by number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from abplatform.domain.aggregates import Aggregation, AggregationRequest, LakeState
from abplatform.domain.scorecard import CutOff


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was asked of an engine, and what it answered.

    Attributes:
        request: as it was asked, with the metrics as they were then and the state of the lake.
        aggregation: the answer.
        engine: name and version of what computed it, such as ``duckdb 1.5.5``.
        version: of this program.
    """

    request: AggregationRequest
    aggregation: Aggregation
    engine: str
    version: str

    @property
    def cut_off(self) -> CutOff:
        """The part of it that readers see."""
        return make_cut_off(self.request.state, as_of=self.request.as_of, engine=self.engine, version=self.version)

    def answers(self, request: AggregationRequest, *, engine: str, version: str) -> bool:
        """Whether computing another request now, by that engine and program, would find the same.

        It would if it asks the same of the same state, and no window could have closed since: no unit was left out
        because its own was open, or what it waits for was over by then and never comes.
        """
        asked = self.request
        over = asked.until is not None and asked.until <= asked.as_of <= request.as_of
        closed = over or not any(cell.open_units for cell in self.aggregation.cells)
        same = replace(request, as_of=asked.as_of) == asked
        return closed and same and (engine, version) == (self.engine, self.version)


def make_cut_off(state: LakeState | None, *, as_of: datetime, engine: str, version: str) -> CutOff:
    """What a look was computed from, as readers see it."""
    exposures, conversions = (None, None) if state is None else (state.exposures, state.conversions)
    return CutOff(
        exposures=_text(exposures), conversions=_text(conversions), as_of=as_of, engine=engine, version=version
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
