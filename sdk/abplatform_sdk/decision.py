"""What a product gets back: the variant, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._assignment import Decider, Evaluation
from .events import Scalar, Subject, Unsendable, read_scalar


class Decision:
    """One answer for one unit. It cannot be changed; two are equal if they say the same of the same unit.

    Attributes:
        experiment: key of the experiment; empty if the product gave something that is not text.
        variant: key of the variant; None when nothing could be decided.
        payload: what the variant carries, a copy of the caller's own; the caller's ``default`` without a variant.
        in_experiment: whether the unit is part of the experiment (reason ``ASSIGNED``).
        reason: why, in UPPER_SNAKE; the list stands in the documentation.
        phase: the phase of the experiment; None without a variant.
    """

    __slots__ = ("_evaluation", "_payload", "_subject")

    _evaluation: Evaluation
    _subject: str | Subject | None
    _payload: Any

    def __init__(self, evaluation: Evaluation, subject: str | Subject | None = None) -> None:
        self._evaluation = evaluation
        self._subject = subject

    @property
    def experiment(self) -> str:
        return self._evaluation.experiment

    @property
    def variant(self) -> str | None:
        return self._evaluation.variant

    @property
    def payload(self) -> Any:
        # Copied when it is first read: most of what is decided is not.
        try:
            return self._payload
        except AttributeError:
            self._payload = copy_payload(self._evaluation.payload)
            return self._payload

    @property
    def in_experiment(self) -> bool:
        return self._evaluation.in_experiment

    @property
    def reason(self) -> str:
        return self._evaluation.reason

    @property
    def phase(self) -> int | None:
        return self._evaluation.phase

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return (self._evaluation, self._subject, self.payload) == (other._evaluation, other._subject, other.payload)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        evaluation = self._evaluation
        return (
            f"Decision(experiment={evaluation.experiment!r}, variant={evaluation.variant!r}, payload={self.payload!r}, "
            f"in_experiment={evaluation.in_experiment}, reason={evaluation.reason!r}, phase={evaluation.phase})"
        )


# Takes the unit id, the attributes, the ids of other types and the default.
Answer = Callable[[Any, Any, Any, Any], Decision]
# Answers where there is no variant, with the default.
FallBack = Callable[[Evaluation, Any], Decision]


def decision_with_default(evaluation: Evaluation, default: object) -> Decision:
    """The answer where there is no variant: the caller's default is the payload."""
    decision = Decision(evaluation)
    decision._payload = default  # noqa: SLF001 (made here)
    return decision


def build_evaluate(decide: Decider, dimensions: tuple[str, ...], fall_back: FallBack) -> Answer:
    """Compile "decide" for one experiment; the decision keeps what its exposure would need."""

    def evaluate(unit_id: Any, attributes: Any, units: Any, default: Any) -> Decision:
        evaluation = decide(unit_id, attributes, units)
        if evaluation[1] is None:
            return fall_back(evaluation, default)
        if units or (dimensions and attributes):
            return Decision(evaluation, _describe_subject(unit_id, units, dimensions, attributes))
        return Decision(evaluation, unit_id)

    return evaluate


def _describe_subject(
    unit_id: Any, units: Mapping[str, str] | None, dimensions: tuple[str, ...], attributes: Mapping[str, Any] | None
) -> Subject:
    """Keep what an exposure will need, as it is at this moment."""
    return Subject(unit_id, dict(units) if units else {}, _read_dimensions(dimensions, attributes or {}))


def copy_payload(payload: Any) -> Any:
    """A copy of JSON data: what a product does to its payload must not reach the next unit."""
    if isinstance(payload, dict):
        return {key: copy_payload(value) for key, value in payload.items()}
    if isinstance(payload, list):
        return [copy_payload(value) for value in payload]
    return payload


def _read_dimensions(dimensions: tuple[str, ...], attributes: Mapping[str, Any]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name in dimensions:
        try:
            value = read_scalar(attributes.get(name), "invalid_attribute")
        except Unsendable:
            continue
        if value is not None:
            found[name] = value
    return found
