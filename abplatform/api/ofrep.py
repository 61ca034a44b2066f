"""The OpenFeature Remote Evaluation Protocol, at the root where its clients look for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request
from flask.views import MethodView

from abplatform import __version__
from abplatform.api.arguments import Resource
from abplatform.api.assignments import assigner, expose
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_NONE_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.json_bodies import read_json
from abplatform.api.schemas.ofrep import failure_document, flag_document, reference
from abplatform.assignment.flags import FlagError
from abplatform.errors import InvalidInput, Unreadable
from abplatform.services.assign import Published, read_context
from abplatform.services.explain_flags import explain_no_unit, explain_unknown
from abplatform.services.expose import Call
from abplatform.services.resolve_flags import resolve_flag, resolve_flags

LOG_EXPOSURE = "Abplatform-Log-Exposure"
STATUSES: Mapping[str, int] = {FlagError.FLAG_NOT_FOUND: 404}

resource = Resource(
    "flags",
    __name__,
    url_prefix="/ofrep/v1/evaluate/flags",
    description="Experiments as flags, by the OpenFeature Remote Evaluation Protocol",
)

_BODY = {"required": True, "content": {"application/json": {"schema": reference("FlagContext")}}}


def _log_parameter(default: str) -> dict[str, Any]:
    return {
        "in": "header",
        "name": LOG_EXPOSURE,
        "schema": {"type": "string", "enum": ["true", "false"], "default": default},
        "description": "Whether the exposures of what is answered are logged.",
    }


class Refused(Exception):
    """The request cannot be evaluated.

    Args:
        code: an error code of OpenFeature.
        details: a sentence that names what is wrong.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@resource.route("/<path:key>")
class OneFlag(MethodView):
    """One flag."""

    @needs(Ability.EVALUATE, api_key_header=True)
    @resource.doc(requestBody=_BODY, parameters=[_log_parameter("true")])
    @resource.response(200, reference("FlagAnswer"))
    @resource.alt_response(400, schema=reference("FlagFailure"), content_type="application/json")
    @resource.alt_response(404, schema=reference("FlagFailure"), content_type="application/json")
    def post(self, key: str) -> Response:
        """Evaluate one flag for a unit.

        Its exposure is on disk when the answer comes, unless the header says `false`.
        """
        published = assigner().read(project())
        try:
            log, context = _read_switch(default=True), _read_body()
            call = _read_call(context, published)
        except Refused as refused:
            return _fail(failure_document(refused.code, refused.details, key=key), 400)
        resolution = resolve_flag(published.snapshot, key, call.unit_id, call.attributes, units=call.units)
        if resolution.error_code is not None:
            status = STATUSES.get(resolution.error_code, 400)
            resolution = explain_unknown(resolution, published, platform().uow)
            resolution = explain_no_unit(resolution, published, has_context=context is not None)
            return _fail(flag_document(resolution), status)
        if log:
            expose(published, call, [resolution.evaluation])
        return jsonify(flag_document(resolution))


@resource.route("")
class Flags(MethodView):
    """All flags."""

    @needs(Ability.EVALUATE, api_key_header=True)
    @resource.doc(requestBody=_BODY, parameters=[_log_parameter("false"), IF_NONE_MATCH_PARAMETER])
    @resource.response(200, reference("FlagAnswers"), headers=ETAG_HEADER)
    @resource.alt_response(304, description="nothing has changed for this unit", success=True)
    @resource.alt_response(400, schema=reference("FlagsFailure"), content_type="application/json")
    def post(self) -> Response:
        """Evaluate all flags for a unit: experiments, and the fields at the top of their payloads.

        A flag that cannot be evaluated has its error in its place. Exposures are logged only if the header says `true`.
        """
        published = assigner().read(project())
        try:
            log, context = _read_switch(default=False), _read_body()
            call = _read_call(context, published)
        except Refused as refused:
            return _fail(failure_document(refused.code, refused.details), 400)
        tag = _tag(published, call, log=log, has_context=context is not None)
        is_known = request.if_none_match.contains_weak(tag)
        if is_known and not log:
            return _tagged(Response(status=304), tag)
        resolutions = resolve_flags(published.snapshot, call.unit_id, call.attributes, units=call.units)
        if log:
            # An experiment and the fields of its payload share one evaluation.
            expose(published, call, {each.evaluation.experiment: each.evaluation for each in resolutions}.values())
        if is_known:
            return _tagged(Response(status=304), tag)
        flags = [explain_no_unit(each, published, has_context=context is not None) for each in resolutions]
        metadata = {"project": published.snapshot.project, "version": published.version}
        return _tagged(jsonify({"flags": list(map(flag_document, flags)), "metadata": metadata}), tag)


def _read_switch(*, default: bool) -> bool:
    """Whether exposures are logged, by the header of the request."""
    text = request.headers.get(LOG_EXPOSURE)
    if text is None:
        return default
    if text not in {"true", "false"}:
        raise Refused(FlagError.GENERAL, f"{LOG_EXPOSURE}: must be true or false")
    return text == "true"


def _read_body() -> dict[str, Any] | None:
    """The context, if there is one. Fields beside it are for later versions of the protocol, and ignored."""
    try:
        body = read_json(request)
    except Unreadable as error:
        raise Refused("PARSE_ERROR", error.detail) from None
    if not isinstance(body, dict):
        raise Refused("PARSE_ERROR", "the body must be an object with a context")
    context = body.get("context")
    if not isinstance(context, dict | None):
        raise Refused("INVALID_CONTEXT", "context: must be an object")
    return context


def _read_call(context: Mapping[str, Any] | None, published: Published) -> Call:
    """Whom the request is about."""
    try:
        return read_context(context or {}, published)
    except InvalidInput as error:
        raise Refused("INVALID_CONTEXT", error.detail) from None


def _fail(document: dict[str, Any], status: int) -> Response:
    response = jsonify(document)
    response.status_code = status
    return response


def _tag(published: Published, call: Call, *, log: bool, has_context: bool) -> str:
    """The version of an answer: what is published, who asks, and the program, which may answer otherwise later."""
    whom = [has_context, call.unit_id, call.units, call.attributes]
    text = json.dumps([__version__, published.snapshot.project, published.etag, log, whom], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _tagged(response: Response, tag: str) -> Response:
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
