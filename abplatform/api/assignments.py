"""Assignments: evaluation on the server, for products without an SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response, current_app, jsonify
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.schemas.assignment import AssignmentsDocument, CallSchema, assignments_document
from abplatform.api.telemetry import telemetry
from abplatform.assignment import Evaluation
from abplatform.services.assign import Assigner, Published
from abplatform.services.expose import Call

resource = Resource(
    "assignments", __name__, url_prefix="/api/v1/assignments", description="Evaluation for products without an SDK"
)


@resource.route("")
class Assignments(MethodView):
    """What a unit gets."""

    @needs(Ability.EVALUATE)
    @resource.arguments(CallSchema())
    @resource.response(200, AssignmentsDocument)
    def post(self, wanted: Mapping[str, Any]) -> Response:
        """Evaluate experiments for a unit: those that are named, or all that are published.

        An unknown experiment is answered with the reason `UNKNOWN_EXPERIMENT`. With `log_exposure` the exposures are on
        disk when the answer comes.
        """
        call = Call(unit_id=wanted["unit_id"], units=wanted["units"], attributes=wanted["attributes"])
        published = assigner().read(project())
        evaluations = published.evaluate(call, wanted["experiments"])
        if wanted["log_exposure"]:
            expose(published, call, evaluations.values())
        return jsonify(assignments_document(evaluations))


def assigner() -> Assigner:
    """The evaluation of the present app."""
    found: Assigner = current_app.extensions["abplatform_assigner"]
    return found


def expose(published: Published, call: Call, evaluations: Iterable[Evaluation]) -> None:
    """Log exposures and count what became of them; the answer does not depend on it."""
    logged = assigner().expose(published, call, evaluations, now=platform().now())
    telemetry().count_events("exposure", accepted=logged.kept, rejected=logged.rejected)
    telemetry().count_lost_exposures(logged.lost)
