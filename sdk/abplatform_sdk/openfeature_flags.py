"""The words of OpenFeature and ours: whom a context is about, by the rules of the server's own flags, and what an
evaluation of an experiment means as a flag.

The evaluations that a rule can end in are made once per snapshot, so what is found out about one of them is kept under
its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from ._assignment import Evaluation, ExperimentRule, Snapshot, UnsupportedRule
from ._assignment import Reason as OwnReason
from ._assignment.flags import resolve_evaluation
from .events import LONGEST_ID, Scalar

Metadata = dict[str, bool | int | float | str]

UNITS = "units"

# A context that holds nothing else can be passed on as it is.
_PLAIN = frozenset({str, int, float, bool, type(None), list, tuple, dict})

# Unit id, attributes, ids of other types by type: the arguments of `Client.assign`.
Call = tuple[Any, Any, Mapping[str, str] | None]

_MISFIT: Final = object()
_MOST_ANSWERS = 1000


class BadContext(ValueError):
    """The context cannot be used; the message names the field."""


def read_context(context: EvaluationContext | None, other_types: frozenset[str]) -> Call:
    """Whom a call is about.

    Args:
        context: the targeting key is the id of the default unit type. Ids of other types stand in the attribute
            ``units`` by type, or in an attribute that has the name of a unit type. A date with a time zone becomes
            text.
        other_types: the unit types beside the default one that experiments are drawn by.

    Raises:
        BadContext: ``units`` or the attributes are of no use.
    """
    if context is None:
        return None, None, None
    attributes = context.attributes
    if (
        type(attributes) is dict
        and UNITS not in attributes
        and _PLAIN.issuperset(map(type, attributes.values()))
        and (not other_types or other_types.isdisjoint(attributes))
    ):
        return context.targeting_key, attributes, None
    if not isinstance(attributes, Mapping):
        raise BadContext("attributes: must be an object")
    found: dict[str, Any] = {name: _read_date(value) for name, value in attributes.items()}
    units = _read_units(found.pop(UNITS, None))
    named = {name: found[name] for name in other_types if _is_id(found.get(name))}
    return context.targeting_key, found, named | units


def read_properties(details: TrackingEventDetails | None) -> dict[str, Scalar]:
    """The flat attributes of a tracking event, dates as text; a conversion has no others."""
    found = {} if details is None else {name: _read_date(value) for name, value in details.attributes.items()}
    return {name: value for name, value in found.items() if isinstance(value, Scalar)}


def _read_units(units: object) -> dict[str, str]:
    if units is None:
        return {}
    if not isinstance(units, Mapping):
        raise BadContext("units: must be an object of ids by unit type")
    for name, value in units.items():
        if not isinstance(name, str) or not _is_id(value):
            raise BadContext(f"units.{name}: must be a text of 1 to {LONGEST_ID} characters")
    return dict(units)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID


def _read_date(value: object) -> object:
    """A date with a time zone as JavaScript writes it in JSON; anything else, and one without a zone, as it is."""
    # isinstance would run code of the object.
    if not issubclass(type(value), datetime):
        return value
    try:
        if value.utcoffset() is None:  # type: ignore[attr-defined]
            return value
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 (time zones are the product's own objects)
        return value


class ValueType:
    """One of the types that a flag can be asked for.

    Attributes:
        name: for messages.
        fit: gives a JSON value as that type, or `_MISFIT`.
    """

    __slots__ = ("fit", "name")

    def __init__(self, name: str, fit: Callable[[Any], Any]) -> None:
        self.name = name
        self.fit = fit


class Answer(NamedTuple):
    """What one evaluation means for one flag. Without ``has_value`` the default in the code applies."""

    evaluation: Evaluation
    value: Any
    has_value: bool
    variant: str | None
    reason: Reason
    metadata: Metadata
    error_code: ErrorCode | None = None
    message: str | None = None


class Flag:
    """One flag, asked for as one type.

    Attributes:
        experiment: key of its experiment.
        fits_always: whether no variant gives a value of another type, so that each exposure is due.
        answers: what was found out, by the identity of the evaluation. The answer keeps its evaluation alive, so that
            no other object gets that identity.
    """

    __slots__ = ("_common", "_key", "_rule", "_type", "answers", "experiment", "fits_always")

    def __init__(
        self, key: str, value_type: ValueType, rule: ExperimentRule | UnsupportedRule | None, common: Metadata
    ) -> None:
        self.experiment = key.partition(".")[0]
        self.answers: dict[int, Answer] = {}
        self._key, self._type, self._rule, self._common = key, value_type, rule, common
        self.fits_always = isinstance(rule, ExperimentRule) and all(
            self._read(_assigned(rule, position)).error_code is None for position in range(len(rule.variants))
        )

    def answer(self, evaluation: Evaluation) -> Answer:
        """What an evaluation means; kept unless it is an error."""
        answer = self._read(evaluation)
        if answer.error_code is None:
            # A rule has few evaluations, but each call of `Client.force` makes new ones.
            if len(self.answers) >= _MOST_ANSWERS:
                self.answers = {}
            self.answers[id(evaluation)] = answer
        return answer

    def _read(self, evaluation: Evaluation) -> Answer:
        resolution = resolve_evaluation(self._key, evaluation, self._rule)
        value = self._type.fit(resolution.value) if resolution.has_value else None
        code, message = resolution.error_code, resolution.message
        if value is _MISFIT:
            code, message = ErrorCode.TYPE_MISMATCH, f"the value of {self._key} is not {self._type.name}"
        failed = code is not None
        return Answer(
            evaluation,
            value=None if failed else value,
            has_value=resolution.has_value and not failed,
            variant=None if failed else resolution.variant,
            reason=Reason.ERROR if failed else Reason(resolution.reason),
            metadata={**resolution.metadata, **self._common},
            error_code=None if code is None else ErrorCode(code),
            message=message,
        )


class FlagPage:
    """The flags of one snapshot, compiled when they are first asked for.

    Attributes:
        snapshot: the one; None before the first.
        other_types: the unit types beside the default one that its experiments are drawn by.
        flags: by type and key.
    """

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.snapshot = snapshot
        self.flags: dict[ValueType, dict[str, Flag]] = {value_type: {} for value_type in VALUE_TYPES}
        self.other_types: frozenset[str] = frozenset()
        self._common: Metadata = {}
        if snapshot is not None:
            types = {rule.unit_type for rule in snapshot.experiments.values()}
            self.other_types = frozenset(types - {snapshot.unit_type})
            self._common = {"flagSetId": snapshot.project, "version": str(snapshot.version)}

    def compile(self, value_type: ValueType, key: str) -> Flag:
        """Make a flag. It is kept if a variant gives it a value: a product may ask for whatever keys it likes."""
        rule = None if self.snapshot is None else self.snapshot.experiments.get(key.partition(".")[0])
        flag = Flag(key, value_type, rule, self._common)
        if flag.fits_always:
            self.flags[value_type][key] = flag
        return flag


def _assigned(rule: ExperimentRule, position: int) -> Evaluation:
    variant = rule.variants[position]
    return Evaluation(rule.key, variant.key, variant.payload, True, OwnReason.ASSIGNED, rule.phase)


def _fit_float(value: Any) -> Any:
    if isinstance(value, float):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        return _MISFIT
    try:
        # JSON has one kind of number, and many programs write 3.0 as 3.
        return real if (real := float(value)) == value else _MISFIT
    except OverflowError:
        return _MISFIT


BOOLEAN = ValueType("a boolean", lambda value: value if isinstance(value, bool) else _MISFIT)
STRING = ValueType("a text", lambda value: value if isinstance(value, str) else _MISFIT)
INTEGER = ValueType(
    "an integer", lambda value: value if isinstance(value, int) and not isinstance(value, bool) else _MISFIT
)
FLOAT = ValueType("a number", _fit_float)
OBJECT = ValueType("an object or array", lambda value: value if isinstance(value, (dict, list)) else _MISFIT)
VALUE_TYPES = (BOOLEAN, STRING, INTEGER, FLOAT, OBJECT)
