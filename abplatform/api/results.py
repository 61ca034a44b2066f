"""Results: scorecards as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from flask import Response, request
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.encoded import answer_encoded, describe_documents
from abplatform.api.json_bodies import check_no_fields
from abplatform.api.schemas.listing import BreakdownQuery, CurveQuery, LooksQuery, ResultsQuery
from abplatform.domain.breakdown import Breakdown
from abplatform.domain.curve import Curve
from abplatform.domain.differences import Differences
from abplatform.domain.scorecard import Scorecard
from abplatform.domain.timeseries import Timeseries
from abplatform.services.trace import CurveQuestion

log = structlog.get_logger(__name__)

resource = Resource("results", __name__, url_prefix="/api/v1/experiments", description="What was found, and advised")

_REFERENCES, COMPONENTS = describe_documents(Scorecard, Timeseries, Breakdown, Differences, Curve)
_LOOKS = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {
        "items": {"type": "array", "items": _REFERENCES[0]},
        "next_cursor": {"type": "null"},
    },
}


@resource.route("/<key:key>/results")
class Results(MethodView):
    """The present result of an experiment."""

    @needs(Ability.READ)
    @resource.arguments(ResultsQuery(), location="query")
    @resource.response(200, _REFERENCES[0])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Read the scorecard, with every event that was accepted before this call.

        It is computed unless the latest look was computed from the same, and no window can have closed since. While it
        cannot be (a full disk, storage that does not answer) the latest look is given instead: `stale` says since when
        and why, and so does the first of `health.warnings`. Without one the answer is 503.
        """
        found = platform().results_or_last_look(project(), key, **query)
        if found.stale is not None:
            log.warning("results_are_stale", project=project(), experiment=key, reason=found.stale.reason)
        return answer_encoded(found)


@resource.route("/<key:key>/results/refresh")
class Refresh(MethodView):
    """A new computation of the present result."""

    @needs(Ability.READ)
    @resource.response(200, _REFERENCES[0])
    def post(self, key: str) -> Response:
        """Compute the scorecard now, by the plan's own method, also where nothing seems to have changed.

        It is a new look if something has. No body is needed; repeating it does no harm. The answer is never `stale`:
        where nothing can be computed it is 503.
        """
        check_no_fields(request)
        return answer_encoded(platform().results(project(), key, anew=True))


@resource.route("/<key:key>/results/timeseries")
class Days(MethodView):
    """The results of an experiment by day."""

    @needs(Ability.READ)
    @resource.arguments(ResultsQuery(), location="query")
    @resource.response(200, _REFERENCES[1])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Compute what looks at the end of each day (in UTC) would have found, from the first exposure on.

        Units that turned out to have met two variants are left out of all days. Days without a change are there too; of
        more than 1,000 the last ones. Nothing is recorded, and nothing decided: that is what looks are for.
        """
        return answer_encoded(platform().explorer.timeseries(project(), key, **query))


@resource.route("/<key:key>/results/curve")
class Horizons(MethodView):
    """A metric by days since the first exposure."""

    @needs(Ability.READ)
    @resource.arguments(CurveQuery(), location="query")
    @resource.response(200, _REFERENCES[4])
    def get(self, query: CurveQuestion, key: str) -> Response:
        """Compute the curve of a metric: what units have brought by day 1, 7, 30 since their first exposure.

        At each day those units count that have been followed for so long, so that later days rest on those who came
        early. The metric's own window is left aside. Nothing is recorded, and nothing decided.
        """
        return answer_encoded(platform().explorer.curve(project(), key, question=query))


@resource.route("/<key:key>/results/breakdown")
class Slices(MethodView):
    """The results of an experiment by slices of its units."""

    @needs(Ability.READ)
    @resource.arguments(BreakdownQuery(), location="query")
    @resource.response(200, _REFERENCES[2])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Compute the results in each slice of a dimension, and whether the effect differs between them.

        Slices are exploratory: their adjusted p-values hold over all slices of a metric (false discovery rate), and
        nothing is decided by them. Of more than 100 slices the largest are shown, and the rest as `(rest)`.
        """
        return answer_encoded(platform().explorer.breakdown(project(), key, **query))


@resource.route("/<key:key>/results/differences")
class EffectDifferences(MethodView):
    """Where the effect of an experiment differs."""

    @needs(Ability.READ)
    @resource.arguments(LooksQuery(), location="query")
    @resource.response(200, _REFERENCES[3])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Search all dimensions and metrics for effects that differ between slices, the surest first.

        Of those found, a share of alpha is expected to be false. Exploratory: it decides nothing.
        """
        return answer_encoded(platform().explorer.differences(project(), key, **query))


@resource.route("/<key:key>/results/looks")
class Looks(MethodView):
    """The looks at an experiment."""

    @needs(Ability.READ)
    @resource.arguments(LooksQuery(), location="query")
    @resource.response(200, _LOOKS)
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """List all looks of a phase, oldest first, as they were recorded; the list is never cut."""
        return answer_encoded({"items": platform().looks(project(), key, **query), "next_cursor": None})
