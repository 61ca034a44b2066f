"""OpenTelemetry: what OpenFeature evaluated, on the span that was open, without telling who asked.

>>> from openfeature import api
>>> api.add_hooks([OpenTelemetryHook()])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from openfeature.exception import ErrorCode
    from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
    from openfeature.hook import Hook, HookContext, HookHints
    from opentelemetry import trace
except ImportError as error:
    raise ImportError(
        "openfeature-sdk and opentelemetry-api are needed: pip install 'abplatform-sdk[opentelemetry]'"
    ) from error

__all__ = ["OpenTelemetryHook"]

_EVENT = "feature_flag.evaluation"
# Of the metadata of a flag (OpenFeature, appendix D).
_FROM_METADATA = {"feature_flag.set.id": "flagSetId", "feature_flag.version": "version"}


class OpenTelemetryHook(Hook):
    """Adds an event ``feature_flag.evaluation`` to the current span for each evaluation, of whatever provider.

    The attributes have the names of OpenTelemetry's semantic conventions for feature flags. The targeting key, which
    is a person's id in most products, is left out, and so are values where there is a variant to name.

    Args:
        context_id: from the targeting key to what is written as ``feature_flag.context.id``, such as a keyed hash;
            None writes nothing.
    """

    def __init__(self, *, context_id: Callable[[str], str] | None = None) -> None:
        self._context_id = context_id

    def finally_after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[Any],
        hints: HookHints,  # noqa: ARG002 (the SDK names it)
    ) -> None:
        """Add the event, after success and failure alike."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes = _describe(details)
        if hook_context.provider_metadata is not None:
            attributes["feature_flag.provider.name"] = hook_context.provider_metadata.name
        targeting_key = hook_context.evaluation_context.targeting_key
        if self._context_id is not None and targeting_key:
            attributes["feature_flag.context.id"] = self._context_id(targeting_key)
        span.add_event(_EVENT, attributes)


def _describe(details: FlagEvaluationDetails[Any]) -> dict[str, str | bool | int | float]:
    reason = str(details.reason or Reason.UNKNOWN)
    attributes: dict[str, str | bool | int | float] = {
        "feature_flag.key": details.flag_key,
        "feature_flag.result.reason": reason.lower(),
    }
    if details.variant is not None:
        attributes["feature_flag.result.variant"] = details.variant
    elif isinstance(details.value, (str, bool, int, float)):
        attributes["feature_flag.result.value"] = details.value
    for name, key in _FROM_METADATA.items():
        if key in details.flag_metadata:
            attributes[name] = str(details.flag_metadata[key])
    if reason == Reason.ERROR:
        code = details.error_code or ErrorCode.GENERAL
        attributes["error.type"] = str(code).lower()
        # A general error may quote an exception of the product's own hooks, and so anything.
        if details.error_message and code != ErrorCode.GENERAL:
            attributes["feature_flag.error.message"] = details.error_message
    return attributes
