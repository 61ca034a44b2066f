"""Targeting: a JSON condition, compiled once into a function of a unit's attributes.

The language is documented in docs/assignment.md. Compiling a condition never fails: a clause that cannot be
understood becomes one that cannot be evaluated, and ``check_condition`` names it when the condition is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from .fields import Fields
from .groups import Group, decode_group
from .logic import Test, any_of, attribute_clause, demand, every, negate, some, unknown
from .operators import BUILDERS, BadOperand
from .values import Problems, join_path, kind, shape_problems

Condition = Callable[[Mapping[str, object]], bool]

LISTS = frozenset({"$and", "$or", "$nor"})
NESTING = frozenset({"$not", "$elemMatch", "$size"})
GROUPS = frozenset({"$inGroup", "$notInGroup"})


def compile_condition(condition: object, groups: Mapping[str, Group | Mapping[str, object]] | None = None) -> Condition:
    """Return a function that tells whether attributes meet a condition; it never raises.

    A clause with an unknown operator or group, an operand of the wrong type, or an attribute value that is not
    JSON cannot be evaluated. The condition then matches only if it would match whichever way that clause went.
    A condition that is not an object, is too large or holds what JSON cannot say never matches.

    The function keeps nothing of its calls but bounded caches: experiments and threads may share it.

    Args:
        groups: saved groups by name, decoded or as documents.

    Raises:
        ValueError: the document of a group is malformed; the message begins with ``groups.NAME``.
    """
    decoded = {name: _decode(name, group) for name, group in (groups or {}).items()}
    return demand((unknown,) if shape_problems(condition) else _Compiler(decoded).clauses(condition, ""))


def check_condition(condition: object, groups: Collection[str] = ()) -> Problems:
    """Return what is wrong with a condition when it is saved: path -> messages, empty if all is well.

    Paths are dotted, such as ``country.$inn`` or ``$or.0.age.$gt``; the condition as a whole is ``""``.

    Args:
        groups: names of the saved groups that there are.

    >>> check_condition({"country": {"$inn": ["CN"]}})
    {'country.$inn': ['unknown operator']}
    """
    problems = shape_problems(condition)
    return problems or _survey(condition, groups).problems


def named_groups(condition: object) -> frozenset[str]:
    """Return the names of the saved groups that a condition asks for, whether they exist or not.

    >>> sorted(named_groups({"$or": [{"user_id": {"$inGroup": "staff"}}, {"branch": {"$notInGroup": "closed"}}]}))
    ['closed', 'staff']
    """
    return frozenset() if shape_problems(condition) else frozenset(_survey(condition, ()).groups_named)


def named_paths(condition: object) -> frozenset[str]:
    """Return the names of the attributes that a condition reads: of each path its first part.

    >>> sorted(named_paths({"home.city": "X", "$not": {"age": {"$lt": 18}}}))
    ['age', 'home']
    """
    return frozenset() if shape_problems(condition) else frozenset(_survey(condition, ()).attributes_named)


def _decode(name: str, group: Group | Mapping[str, object]) -> Group:
    return group if isinstance(group, Group) else decode_group(Fields(group, join_path("groups", name)))


def _survey(condition: object, groups: Collection[str]) -> _Compiler:
    """Compile a condition of sound shape for what can be said about it."""
    compiler = _Compiler(dict.fromkeys(groups, Group(unknown)))
    compiler.clauses(condition, "")
    return compiler


class _Compiler:
    """Builds the tests of one condition, and collects what it names and what cannot be evaluated."""

    __slots__ = ("_groups", "attributes_named", "groups_named", "problems")

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self._groups = groups
        self.problems: Problems = {}
        self.groups_named: set[str] = set()
        self.attributes_named: set[str] = set()

    def clauses(self, node: object, path: str) -> tuple[Test, ...]:
        """Compile a condition into the tests that must all hold."""
        if not isinstance(node, Mapping):
            return (self._problem(path, "must be an object"),)
        return tuple(test for key, item in node.items() for test in self._clause(key, item, join_path(path, key)))

    def _condition(self, node: object, path: str) -> Test:
        return every(self.clauses(node, path))

    def _clause(self, key: str, operand: object, path: str) -> tuple[Test, ...]:
        if key in LISTS:
            return (self._list(key, operand, path),)
        if key == "$not":
            return (negate(self._condition(operand, path)),)
        if key in BUILDERS or key in NESTING or key in GROUPS:
            return (self._problem(path, "must stand under an attribute"),)
        if key.startswith("$"):
            return (self._problem(path, "unknown operator"),)
        return self._attribute(key, operand, path)

    def _list(self, key: str, operand: object, path: str) -> Test:
        if not isinstance(operand, (list, tuple)):
            return self._problem(path, "must be an array of conditions")
        tests = tuple(self._condition(item, join_path(path, index)) for index, item in enumerate(operand))
        if key == "$nor":
            return negate(some(tests))
        # An empty $or matches like an empty $and: no demand is made.
        return some(tests) if key == "$or" and tests else every(tests)

    def _attribute(self, name: str, node: object, path: str) -> tuple[Test, ...]:
        """Compile what stands under an attribute: an operator object or a literal."""
        self.attributes_named.add(name.partition(".")[0])
        if not isinstance(node, Mapping) or not _has_operators(node):
            return (attribute_clause(name, "$eq", node, BUILDERS["$eq"](node)),)
        return tuple(
            attribute_clause(name, key, item, self._operator(key, item, join_path(path, key)))
            for key, item in node.items()
        )

    def _value(self, node: object, path: str) -> Test:
        """Compile a test of one value: an operator object or a literal."""
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
        if name in GROUPS:
            test = self._group(operand, path)
            return test if name == "$inGroup" else negate(test)
        return self._built(name, operand, path)

    def _built(self, name: str, operand: object, path: str) -> Test:
        build = BUILDERS.get(name)
        if build is None:
            stranger = "unknown operator" if name.startswith("$") else "must not stand beside operators"
            return self._problem(path, stranger)
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
            # Paths lead from the element, and name no attribute.
            attributes_named = self.attributes_named.copy()
            test = _object_test(self._condition(operand, path))
            self.attributes_named = attributes_named
        return lambda value: any_of(map(test, value)) if isinstance(value, (list, tuple)) else False

    def _size(self, operand: object, path: str) -> Test:
        fits = _has_operators(operand) if isinstance(operand, Mapping) else kind(operand) == "number"
        if not fits:
            return self._problem(path, "must be a number or an object of operators")
        test = self._value(operand, path)
        return lambda value: test(len(value)) if isinstance(value, (list, tuple)) else False

    def _group(self, operand: object, path: str) -> Test:
        if not isinstance(operand, str):
            return self._problem(path, "must be the name of a segment")
        self.groups_named.add(operand)
        group = self._groups.get(operand)
        return self._problem(path, f"there is no segment {operand!r}") if group is None else group.contains

    def _problem(self, path: str, message: str) -> Test:
        self.problems.setdefault(path, []).append(message)
        return unknown


def _has_operators(node: Mapping[str, object]) -> bool:
    return any(key.startswith("$") for key in node)


def _object_test(test: Test) -> Test:
    """Restrict a condition to elements that are objects."""
    return lambda value: test(value) if isinstance(value, Mapping) else False
