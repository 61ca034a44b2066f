"""Events: exposures and conversions, alone or in batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Response, current_app, jsonify, request
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.bodies import LARGEST_EVENTS_BODY
from abplatform.api.context import platform, project
from abplatform.api.fast_lane import LOOK_CLOSELY
from abplatform.api.json_bodies import read_text
from abplatform.api.schemas.events import IngestDocument, request_body
from abplatform.api.telemetry import telemetry
from abplatform.bootstrap import Platform
from abplatform.services.ingest import IngestReport, Intake

resource = Resource("events", __name__, url_prefix="/api/v1", description="What units met, and what they did")


def open_intake(parts: Platform) -> Intake:
    """The intake of a process."""
    return Intake(
        parts.uow,
        parts.inbox,
        pseudonym_key=parts.pseudonym_key,
        max_age=timedelta(days=parts.settings.max_event_age_days),
    )


@resource.route("/exposures")
class Exposures(MethodView):
    """Units that met their variants."""

    @needs(Ability.SEND_EVENTS)
    @resource.doc(requestBody=request_body("Exposure", "HoldoutExposure"))
    @resource.response(202, IngestDocument)
    def post(self) -> Response:
        """Send one exposure, or up to 1,000, of experiments and of holdouts.

        The accepted ones are on disk when the answer comes. A bad event of a batch is named and does not keep the
        others out; a single bad event is a 422.
        """
        return _take("exposure", _intake().take_exposures)


@resource.route("/conversions")
class Conversions(MethodView):
    """Things that units did."""

    @needs(Ability.SEND_EVENTS)
    @resource.doc(requestBody=request_body("Conversion"))
    @resource.response(202, IngestDocument)
    def post(self) -> Response:
        """Send one conversion, or up to 1,000; as for exposures."""
        return _take("conversion", _intake().take_conversions)


def _intake() -> Intake:
    intake: Intake = current_app.extensions["abplatform_intake"]
    return intake


def _take(kind: str, take: Callable[..., IngestReport]) -> Response:
    body = read_text(request, most=LARGEST_EVENTS_BODY)
    closely = request.environ.get(LOOK_CLOSELY, False)
    report = take(project(), body, received_at=platform().now(), at_once=not closely)
    telemetry().count_events(kind, accepted=report.accepted, rejected=len(report.rejected))
    if report.refusal is not None:
        raise report.refusal
    rejected = [{"index": each.index, "code": each.code, "detail": each.detail} for each in report.rejected]
    response = jsonify({"accepted": report.accepted, "rejected": rejected})
    response.status_code = 202
    return response
