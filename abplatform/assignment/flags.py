"""Flags: experiments as OpenFeature asks for them. One definition for the server and the SDK.

A flag key is the key of an experiment, whose value is the variant's payload, or ``experiment.field`` and
``experiment.field.part``, whose value is that part of it. Keys of experiments hold no dots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .model import Evaluation, ExperimentRule, Reason, UnsupportedRule

Rule = ExperimentRule | UnsupportedRule


class FlagReason:
    """The reasons of OpenFeature that are given here."""

    SPLIT: Final = "SPLIT"
    TARGETING_MATCH: Final = "TARGETING_MATCH"
    DEFAULT: Final = "DEFAULT"
    DISABLED: Final = "DISABLED"
    ERROR: Final = "ERROR"


class FlagError:
    """The error codes of OpenFeature that are given here."""

    PROVIDER_NOT_READY: Final = "PROVIDER_NOT_READY"
    FLAG_NOT_FOUND: Final = "FLAG_NOT_FOUND"
    TARGETING_KEY_MISSING: Final = "TARGETING_KEY_MISSING"
    GENERAL: Final = "GENERAL"


class FlagResolution(NamedTuple):
    """What one unit gets for one flag, and why.

    Without ``has_value`` the caller's own default applies, ``value`` being None: on an error, and where the variant
    carries null or lacks the field. In the latter case ``variant`` and ``reason`` stand, and the unit has met its
    variant all the same. The exposure of ``evaluation`` is due exactly if ``error_code`` is None.

    ``reason`` is one of ``FlagReason``, ``error_code`` one of ``FlagError`` or None, ``message`` a sentence beside an
    error code. ``metadata`` is flat: ``experiment``, ``reason`` (the platform's own), ``in_experiment`` and, where
    there is one, ``phase``. The value belongs to the snapshot: copy it before changing it.
    """

    flag_key: str
    value: Any
    has_value: bool
    variant: str | None
    reason: str
    error_code: str | None
    message: str | None
    metadata: Mapping[str, str | int | bool]
    evaluation: Evaluation


_REASONS: Mapping[str, str] = {
    Reason.NOT_RUNNING: FlagReason.DISABLED,
    Reason.FORCED: FlagReason.TARGETING_MATCH,
    Reason.HOLDOUT: FlagReason.DEFAULT,
    Reason.NOT_TARGETED: FlagReason.DEFAULT,
    Reason.PREREQUISITE: FlagReason.DEFAULT,
    Reason.SHIPPED: FlagReason.TARGETING_MATCH,
    Reason.NOT_IN_COVERAGE: FlagReason.DEFAULT,
    Reason.ASSIGNED: FlagReason.SPLIT,
}
_ERRORS: Mapping[str, str] = {
    Reason.NOT_READY: FlagError.PROVIDER_NOT_READY,
    Reason.UNKNOWN_EXPERIMENT: FlagError.FLAG_NOT_FOUND,
    Reason.NO_UNIT: FlagError.TARGETING_KEY_MISSING,
    Reason.ERROR: FlagError.GENERAL,
}
_ABSENT: Final = object()


def resolve_evaluation(flag_key: str, evaluation: Evaluation, rule: Rule | None) -> FlagResolution:
    """Return what a flag says of an evaluation of its experiment; ``rule`` is None if that is not published.

    An experiment whose variants all carry null has the variant's key for its value, so that a flag without payload can
    be branched on.
    """
    _, dot, rest = flag_key.partition(".")
    return _resolve(flag_key, tuple(rest.split(".")) if dot else (), rule, evaluation)


def _resolve(flag_key: str, path: tuple[str, ...], rule: Rule | None, evaluation: Evaluation) -> FlagResolution:
    value = _part(evaluation.payload, path)
    if value is _ABSENT and isinstance(rule, ExperimentRule) and not _some_variant_has(rule, path):
        message = f"no variant of {rule.key} carries {'.'.join(path)}"
        return _fail(flag_key, evaluation, FlagError.FLAG_NOT_FOUND, message)
    error_code = _ERRORS.get(evaluation.reason)
    if error_code is not None:
        return _fail(flag_key, evaluation, error_code, _message(rule, evaluation))
    if value is None and not path and isinstance(rule, ExperimentRule) and _carries_nothing(rule):
        value = evaluation.variant
    has_value = value is not None and value is not _ABSENT
    return FlagResolution(
        flag_key=flag_key,
        value=value if has_value else None,
        has_value=has_value,
        variant=evaluation.variant,
        reason=_REASONS[evaluation.reason],
        error_code=None,
        message=None,
        metadata=_metadata(evaluation),
        evaluation=evaluation,
    )


def _fail(flag_key: str, evaluation: Evaluation, error_code: str, message: str) -> FlagResolution:
    return FlagResolution(
        flag_key=flag_key,
        value=None,
        has_value=False,
        variant=None,
        reason=FlagReason.ERROR,
        error_code=error_code,
        message=message,
        metadata=_metadata(evaluation),
        evaluation=evaluation,
    )


def _message(rule: Rule | None, evaluation: Evaluation) -> str:
    if evaluation.reason == Reason.NOT_READY:
        return "there is no snapshot yet"
    if rule is None:
        return "no experiment of that key is published"
    if evaluation.reason == Reason.NO_UNIT:
        return f"there is no usable id of the unit type {rule.unit_type}, which this experiment is drawn by"
    return rule.error if isinstance(rule, UnsupportedRule) else "the attributes or units cannot be read"


def _metadata(evaluation: Evaluation) -> dict[str, str | int | bool]:
    metadata: dict[str, str | int | bool] = {
        "experiment": evaluation.experiment,
        "reason": evaluation.reason,
        "in_experiment": evaluation.in_experiment,
    }
    if evaluation.phase is not None:
        metadata["phase"] = evaluation.phase
    return metadata


def _part(payload: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path through objects, or ``_ABSENT``."""
    for name in path:
        if not isinstance(payload, Mapping) or name not in payload:
            return _ABSENT
        payload = payload[name]
    return payload


def _some_variant_has(rule: ExperimentRule, path: tuple[str, ...]) -> bool:
    return any(_part(variant.payload, path) is not _ABSENT for variant in rule.variants)


def _carries_nothing(rule: ExperimentRule) -> bool:
    return all(variant.payload is None for variant in rule.variants)
