"""Targeting: a JSON condition, compiled once into a function of a unit's attributes.

The language is documented in docs/assignment.md. Compiling never fails: a clause that cannot be understood
becomes one that cannot be evaluated, and ``check_condition`` names it when the condition is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .logic import Test, any_of, every, negate, some, unknown
from .operators import BUILDERS, BadOperand
from .shape import Problems, join_path, shape_problems
from .values import is_json, kind

Condition = Callable[[Mapping[str, object]], bool]

NOT_SUPPORTED_YET = frozenset({"$regex", "$regexi", "$notRegex", "$notRegexi", "$inGroup", "$notInGroup"})
LISTS = frozenset({"$and", "$or", "$nor"})
NESTING = frozenset({"$not", "$elemMatch", "$size"})

_ALWAYS_JSON = frozenset({str, int, bool, type(None)})


def compile_condition(condition: object, groups: Mapping[str, object] | None = None) -> Condition:
    """Return a function that tells whether attributes meet a condition; it never raises.

    A clause with an unknown operator, an operand of the wrong type, or an attribute value that is not JSON
    cannot be evaluated. The condition then matches only if it would match whichever way that clause went.
    A condition that is not an object, is too large or holds what JSON cannot say never matches.

    Raises:
        ValueError: ``groups`` is not empty; saved groups are not supported yet.
    """
    if groups:
        raise ValueError("groups: saved groups are not supported yet")
    test = unknown if shape_problems(condition) else _Compiler().condition(condition, "")

    def matches(attributes: Mapping[str, object]) -> bool:
        return test(attributes) is True

    return matches


def check_condition(condition: object) -> Problems:
    """Return what is wrong with a condition when it is saved: path -> messages, empty if all is well.

    Paths are dotted, such as ``country.$inn`` or ``$or.0.age.$gt``; the condition as a whole is ``""``.

    >>> check_condition({"country": {"$inn": ["CN"]}})
    {'country.$inn': ['unknown operator']}
    """
    problems = shape_problems(condition)
    if problems:
        return problems
    compiler = _Compiler()
    compiler.condition(condition, "")
    return compiler.problems


class _Compiler:
    """Builds the tests of one condition and collects what cannot be evaluated."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: Problems = {}

    def condition(self, node: object, path: str) -> Test:
        if not isinstance(node, Mapping):
            return self._problem(path, "must be an object")
        return every(tuple(self._clause(key, item, join_path(path, key)) for key, item in node.items()))

    def _clause(self, key: str, operand: object, path: str) -> Test:
        if key in LISTS:
            return self._list(key, operand, path)
        if key == "$not":
            return negate(self.condition(operand, path))
        if key in BUILDERS or key in NESTING:
            return self._problem(path, "must stand under an attribute")
        if key.startswith("$"):
            return self._unknown_operator(key, path)
        return _attribute_test(key, self._value(operand, path))

    def _list(self, key: str, operand: object, path: str) -> Test:
        if not isinstance(operand, (list, tuple)):
            return self._problem(path, "must be an array of conditions")
        tests = tuple(self.condition(item, join_path(path, index)) for index, item in enumerate(operand))
        if key == "$nor":
            return negate(some(tests))
        # An empty $or matches like an empty $and: no demand is made.
        return some(tests) if key == "$or" and tests else every(tests)

    def _value(self, node: object, path: str) -> Test:
        """Compile what stands under an attribute: an operator object or a literal."""
        if not isinstance(node, Mapping) or not _has_operators(node):
            return BUILDERS["$eq"](node)
        return every(tuple(self._operator(key, item, join_path(path, key)) for key, item in node.items()))

    def _operator(self, name: str, operand: object, path: str) -> Test:
        if name == "$not":
            return negate(self._value(operand, path))
        if name == "$elemMatch":
            return self._any_element(operand, path)
        if name == "$size":
            return self._size(operand, path)
        build = BUILDERS.get(name)
        if build is None:
            return self._unknown_operator(name, path)
        try:
            return build(operand)
        except BadOperand as error:
            return self._problem(path, str(error))

    def _any_element(self, operand: object, path: str) -> Test:
        if not isinstance(operand, Mapping):
            return self._problem(path, "must be an object")
        if operand and all(key.startswith("$") and key not in LISTS for key in operand):
            test = self._value(operand, path)
        else:
            test = _object_test(self.condition(operand, path))
        return lambda value: any_of(map(test, value)) if isinstance(value, (list, tuple)) else False

    def _size(self, operand: object, path: str) -> Test:
        fits = _has_operators(operand) if isinstance(operand, Mapping) else kind(operand) == "number"
        if not fits:
            return self._problem(path, "must be a number or an object of operators")
        test = self._value(operand, path)
        return lambda value: test(len(value)) if isinstance(value, (list, tuple)) else False

    def _unknown_operator(self, name: str, path: str) -> Test:
        if not name.startswith("$"):
            return self._problem(path, "must not stand beside operators")
        return self._problem(path, "not supported yet" if name in NOT_SUPPORTED_YET else "unknown operator")

    def _problem(self, path: str, message: str) -> Test:
        self.problems.setdefault(path, []).append(message)
        return unknown


def _has_operators(node: Mapping[str, object]) -> bool:
    return any(key.startswith("$") for key in node)


def _attribute_test(path: str, test: Test) -> Test:
    """Apply a test to the attribute at a dotted path; what goes wrong there cannot be evaluated."""
    first, *rest = path.split(".")

    def run(attributes: Mapping[str, object]) -> bool | None:
        try:
            value = attributes.get(first)
            for part in rest:
                value = value.get(part) if isinstance(value, Mapping) else None
            return test(value) if type(value) in _ALWAYS_JSON or is_json(value) else None
        except Exception:  # noqa: BLE001 - attributes are the product's own objects and may do anything
            return None

    return run


def _object_test(test: Test) -> Test:
    """Restrict a condition to elements that are objects."""
    return lambda value: test(value) if isinstance(value, Mapping) else False
