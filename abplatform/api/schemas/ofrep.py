"""The OpenFeature Remote Evaluation Protocol on the wire (version 0.3 of its OpenAPI document)."""

from __future__ import annotations

from typing import Any

from abplatform.assignment.flags import FlagError, FlagReason, FlagResolution

_KEY = {"type": "string", "description": "an experiment, or a field of its payloads: `experiment.field`"}
_METADATA = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_DETAILS = {"type": "string", "description": "a sentence for people"}


def _object(description: str, required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "required": list(required), "properties": properties}


def _one_of(values: type, *more: str) -> dict[str, Any]:
    own = [value for name, value in vars(values).items() if name.isupper()]
    return {"type": "string", "enum": [*own, *more]}


_CODE = _one_of(FlagError, "PARSE_ERROR", "INVALID_CONTEXT")

COMPONENTS: dict[str, dict[str, Any]] = {
    "FlagContext": _object(
        "Whom the evaluation is about.",
        (),
        context={
            "type": "object",
            "description": "all fields but these two are attributes that targeting may read",
            "properties": {
                "targetingKey": {"type": ["string", "null"], "description": "id of the project's unit type"},
                "units": {
                    "type": ["object", "null"],
                    "additionalProperties": {"type": "string"},
                    "description": "ids by unit type, for experiments on other types",
                },
            },
        },
    ),
    "FlagAnswer": _object(
        "What the unit gets for a flag; without `value` the caller's default applies.",
        ("key", "reason", "variant", "metadata"),
        key=_KEY,
        value={"description": "any JSON value but null"},
        reason=_one_of(FlagReason),
        variant={"type": "string"},
        metadata={**_METADATA, "description": "`experiment`, `reason` (the platform's own), `in_experiment`, `phase`"},
    ),
    "FlagFailure": _object(
        "Why there is no value for a flag.",
        ("key", "errorCode", "errorDetails"),
        key=_KEY,
        errorCode=_CODE,
        errorDetails=_DETAILS,
    ),
    "FlagAnswers": _object(
        "What the unit gets for all flags.",
        ("flags", "metadata"),
        flags={
            "type": "array",
            "items": {
                "oneOf": [{"$ref": "#/components/schemas/FlagAnswer"}, {"$ref": "#/components/schemas/FlagFailure"}]
            },
        },
        metadata={**_METADATA, "description": "`project`, `version` of the snapshot"},
    ),
    "FlagsFailure": _object(
        "Why the flags were not evaluated.", ("errorCode", "errorDetails"), errorCode=_CODE, errorDetails=_DETAILS
    ),
}


def reference(name: str) -> dict[str, Any]:
    """A reference to one of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def flag_document(resolution: FlagResolution) -> dict[str, Any]:
    """The document of a resolution, be it an answer or a failure."""
    if resolution.error_code is not None:
        return failure_document(resolution.error_code, resolution.message or "", key=resolution.flag_key)
    value = {"value": resolution.value} if resolution.has_value else {}
    return {
        "key": resolution.flag_key,
        **value,
        "reason": resolution.reason,
        "variant": resolution.variant,
        "metadata": resolution.metadata,
    }


def failure_document(code: str, details: str, *, key: str | None = None) -> dict[str, Any]:
    """The document of a failure, of one flag or of a whole request."""
    named = {} if key is None else {"key": key}
    return {**named, "errorCode": code, "errorDetails": details}
