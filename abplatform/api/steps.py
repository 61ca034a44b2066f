"""The life of an experiment, step by step; every step publishes the next snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, MAY_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.experiments import shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.json_bodies import check_no_fields
from abplatform.api.schemas.experiment import ExperimentDocument
from abplatform.api.schemas.steps import DecisionRequestSchema, ForcedSchema, PhaseSchema, RampSchema, ScheduleSchema
from abplatform.domain.experiment import DecisionRecord
from abplatform.services import force, live
from abplatform.services.schedule import Schedule, schedule_refresh

resource = Resource("steps", __name__, url_prefix="/api/v1/experiments", description="The life of an experiment")

OF_STEPS = [MAY_MATCH_PARAMETER, PARAMETER]


@resource.route("/<key:key>/<any(start, pause, resume, close, stop, archive):step>")
class Steps(MethodView):
    """The steps that need no body."""

    @needs(Ability.RUN)
    @resource.doc(parameters=OF_STEPS)
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, key: str, step: live.BareStep) -> Response:
        """Take one step: start, pause, resume, close, stop or archive.

        Starting freezes the plan and takes slots of the layer. Closing ends enrolment: variants are still served, later
        first exposures do not count, windows run on. Stopping ends serving and gives the slots back. No body is needed.
        """
        check_no_fields(request)
        caps = platform().find_caps(project(), key) if step == "start" else live.NO_CAPS
        return shelf.take_step(
            key,
            lambda work, revision: live.take_step(
                work, project(), key, step, now=platform().now(), revision=revision, caps=caps
            ),
        )


@resource.route("/<key:key>/ramp")
class Ramp(MethodView):
    """More coverage."""

    @needs(Ability.RUN, to="raise the coverage of an experiment")
    @resource.doc(parameters=OF_STEPS)
    @resource.arguments(RampSchema())
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, body: Mapping[str, float], key: str) -> Response:
        """Let more units in; nobody who is in moves, and coverage never shrinks."""
        return shelf.take_step(
            key, lambda work, revision: live.ramp(work, project(), key, body["coverage"], revision=revision)
        )


@resource.route("/<key:key>/phase")
class Phase(MethodView):
    """The next phase."""

    @needs(Ability.RUN, to="open a phase of an experiment")
    @resource.doc(parameters=OF_STEPS)
    @resource.arguments(PhaseSchema(partial=("variants", "control")))
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, phase: live.PhaseRequest, key: str) -> Response:
        """Open a new phase: units are drawn anew, by a new salt, and results begin anew.

        It is tested at half the alpha of the phase before. Without `If-Match` or `Idempotency-Key` a repeated call
        opens one more phase.
        """
        return shelf.take_step(
            key,
            lambda work, revision: live.open_phase(
                work, project(), key, phase, now=platform().now(), revision=revision
            ),
        )


@resource.route("/<key:key>/decide")
class Decide(MethodView):
    """What people decided."""

    @needs(Ability.RUN, to="record a decision about an experiment")
    @resource.doc(parameters=OF_STEPS)
    @resource.arguments(DecisionRequestSchema())
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, body: Mapping[str, Any], key: str) -> Response:
        """Record the decision and stop; `ship` serves the variant to every targeted unit from now on."""
        decision = DecisionRecord(**body, decided_at=platform().now())
        return shelf.take_step(
            key, lambda work, revision: live.decide(work, project(), key, decision, revision=revision)
        )


@resource.route("/<key:key>/schedule")
class RefreshSchedule(MethodView):
    """How often the worker looks at the results."""

    @needs(Ability.RUN, to="set a schedule of results")
    @resource.doc(parameters=OF_STEPS)
    @resource.arguments(ScheduleSchema())
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, schedule: Schedule, key: str) -> Response:
        """Have the worker look at the results at intervals, from now on, or no longer.

        It changes no plan. The looks are like any other: numbered when something has changed. At a group sequential
        plan they are tests, so that such a schedule needs `"spends_alpha": true`.
        """
        return shelf.take_step(
            key, lambda work, revision: schedule_refresh(work, project(), key, schedule, revision=revision)
        )


@resource.route("/<key:key>/forced")
class Forced(MethodView):
    """Variants of test accounts."""

    @needs(Ability.RUN, to="force variants on test accounts")
    @resource.doc(parameters=OF_STEPS)
    @resource.arguments(ForcedSchema())
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, body: Mapping[str, tuple[force.Force, ...]], key: str) -> Response:
        """Force variants on test accounts, or let them go; at most 200 are kept, as salted SHA-256."""
        return shelf.take_step(
            key, lambda work, revision: force.force_variants(work, project(), key, body["units"], revision=revision)
        )
