"""Filters on properties of events: the targeting language, as far as it has a meaning there.

A property is one value: a string, a number or a boolean. Its name is taken whole, dots included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abplatform.assignment import check_condition
from abplatform.assignment.targeting import LISTS
from abplatform.assignment.values import Problems, join_path, kind, shape_problems
from abplatform.domain.checks import is_number, storable
from abplatform.domain.events import LONGEST_PROPERTY, LONGEST_TEXT

MOST_CONDITIONS = 20
MOST_VALUES = 100
MOST_ORDERED = 2**53 - 1

ORDERINGS = frozenset({"$lt", "$lte", "$gt", "$gte"})
FOLDINGS = frozenset({"$ini", "$nini"})
_MEMBERSHIPS = FOLDINGS | {"$in", "$nin"}
_MANY = {"$eq": "$in", "$ne": "$nin"}

_ONE_VALUE = "a property is one value, never an array"
_NO_SEGMENT = "segments are for targeting; list the values with"
_NO_PATTERN = "patterns are for targeting; list the values with"
_NO_VERSION = "properties are not compared as versions; list the versions with"
_MEANINGLESS = {
    "$elemMatch": f"{_ONE_VALUE}: write its operators under the property itself",
    "$size": f"{_ONE_VALUE}: compare it with $eq, $in or $gt",
    "$all": f"{_ONE_VALUE}: use $in for any of several",
    "$alli": f"{_ONE_VALUE}: use $ini for any of several",
    "$inGroup": f"{_NO_SEGMENT} $in",
    "$notInGroup": f"{_NO_SEGMENT} $nin",
    "$regex": f"{_NO_PATTERN} $in",
    "$regexi": f"{_NO_PATTERN} $ini",
    "$notRegex": f"{_NO_PATTERN} $nin",
    "$notRegexi": f"{_NO_PATTERN} $nini",
    "$vne": f"{_NO_VERSION} $nin",
    **dict.fromkeys(("$veq", "$vlt", "$vlte", "$vgt", "$vgte"), f"{_NO_VERSION} $in"),
}
_CHANGING_CASE = ("σ", "ς", "i\u0307")
"""Where lower case is not character by character: a sigma that ends a word has its own, and ``İ`` becomes two."""


def check_filter(condition: object) -> Mapping[str, list[str]]:
    """Return what is wrong with a filter when it is saved: path -> messages, empty if all is well.

    What is well means the same in every engine as `compile_condition` says of the normalised filter; see
    `normalise_filter`. Paths are dotted, such as ``amount.$gt`` or ``$or.0.product.$in.2``; the filter as a whole is
    ``""``.

    >>> check_filter({"product": ["fund", "loan"], "amount": {"$gte": 1000}})
    {}
    >>> check_filter({"tags": {"$size": 2}})
    {'tags.$size': ['a property is one value, never an array: compare it with $eq, $in or $gt']}
    """
    problems = shape_problems(condition)
    if isinstance(condition, Mapping) and not problems:
        problems = shape_problems(normalise_filter(condition))
    if problems:
        return problems
    survey = _Survey()
    survey.conditions(condition, "")
    own = survey.problems
    for path, messages in check_condition(condition).items():
        # What has no meaning here is told once, whatever else is wrong with it.
        if not any(path == each or path.startswith(f"{each}.") for each in survey.meaningless):
            own.setdefault(path, []).extend(messages)
    return own


def normalise_filter(condition: Mapping[str, object]) -> dict[str, object]:
    """Return a filter in which no property has a bare list: a list means any of its values.

    In the targeting language a list is an array to be equal to, which no property ever is.

    Args:
        condition: one of a shape that the targeting language takes.

    >>> normalise_filter({"product": ["fund", "loan"], "$not": {"n": [1]}})
    {'product': {'$in': ['fund', 'loan']}, '$not': {'n': {'$in': [1]}}}
    """
    return {name: _normal_clause(name, item) for name, item in condition.items()}


def _normal_clause(name: str, item: object) -> object:
    if name in LISTS and isinstance(item, (list, tuple)):
        return [_normal_condition(each) for each in item]
    return _normal_condition(item) if name == "$not" else _normal_value(item)


def _normal_condition(item: object) -> object:
    return normalise_filter(item) if isinstance(item, Mapping) else item


def _normal_value(item: object) -> object:
    if isinstance(item, (list, tuple)):
        return {"$in": list(item)}
    if isinstance(item, Mapping):
        return {name: _normal_value(each) if name == "$not" else each for name, each in item.items()}
    return item


class _Survey:
    """What a filter of sound shape asks for that properties of events cannot give.

    What the targeting language itself refuses is left to it.
    """

    def __init__(self) -> None:
        self.problems: Problems = {}
        self.meaningless: set[str] = set()
        self._properties = 0

    def conditions(self, node: object, path: str) -> None:
        """Look at a condition, whose members are properties and logical operators."""
        if not isinstance(node, Mapping):
            return
        for key, item in node.items():
            place = join_path(path, key)
            if key in LISTS and isinstance(item, (list, tuple)):
                for index, each in enumerate(item):
                    self.conditions(each, join_path(place, index))
            elif key == "$not":
                self.conditions(item, place)
            elif not key.startswith("$"):
                self._property(key, item, place)

    def _property(self, name: str, node: object, path: str) -> None:
        self._properties += 1
        if self._properties == MOST_CONDITIONS + 1:
            self._add("", f"must have at most {MOST_CONDITIONS} conditions on properties")
        if not (0 < len(name) <= LONGEST_PROPERTY and storable(name)):
            self._add(path, f"the name of a property must have 1 to {LONGEST_PROPERTY} characters without NUL")
        self._wanted(node, path)

    def _wanted(self, node: object, path: str) -> None:
        """Look at what stands under a property, or under its ``$not``: operators, a list or a literal."""
        if isinstance(node, (list, tuple)):
            self._values(node, path)
        elif not isinstance(node, Mapping):
            self._value(node, path)
        elif any(key.startswith("$") for key in node):
            for key, operand in node.items():
                self._operator(key, operand, join_path(path, key))
        else:
            self._refuse(path, "a property is one value, never an object: write operators such as $eq")

    def _operator(self, name: str, operand: object, path: str) -> None:
        if name in _MEANINGLESS:
            self._refuse(path, _MEANINGLESS[name])
        elif name == "$not":
            self._wanted(operand, path)
        elif name in _MANY and isinstance(operand, (list, tuple, Mapping)):
            self._refuse(path, f"must be one value; for several use {_MANY[name]}")
        elif name in _MANY or name in ORDERINGS:
            self._value(operand, path)
            if name in ORDERINGS and isinstance(operand, (int, float)) and abs(operand) > MOST_ORDERED:
                self._add(path, f"must be from {-MOST_ORDERED} to {MOST_ORDERED} to be ordered exactly")
        elif name in _MEMBERSHIPS and isinstance(operand, (list, tuple)):
            self._values(operand, path)
            if name in FOLDINGS:
                self._check_case(operand, path)
        elif name == "$type" and operand in ("array", "object"):
            self._refuse(path, "a property is a string, number or boolean, or null where it is missing")

    def _values(self, items: Sequence[object], path: str) -> None:
        if not 0 < len(items) <= MOST_VALUES:
            self._add(path, f"must have 1 to {MOST_VALUES} values")
        for index, item in enumerate(items):
            place = join_path(path, index)
            if isinstance(item, (list, tuple, Mapping)):
                self._add(place, "must be a string, number, boolean or null")
            self._value(item, place)

    def _value(self, value: object, path: str) -> None:
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT or not storable(value):
                self._add(path, f"must be at most {LONGEST_TEXT} characters without NUL, as every property is")
        elif kind(value) == "number" and not is_number(value):
            self._add(path, "must be a number below 10^300")

    def _check_case(self, items: Sequence[object], path: str) -> None:
        for index, item in enumerate(items):
            if isinstance(item, str) and any(each in item.lower() for each in _CHANGING_CASE):
                place = join_path(path, index)
                self._add(place, "the lower case of Σ and İ is not that of one character; use $in with each spelling")

    def _refuse(self, path: str, message: str) -> None:
        self.meaningless.add(path)
        self._add(path, message)

    def _add(self, path: str, message: str) -> None:
        self.problems.setdefault(path, []).append(message)
