"""Filters on properties as expressions that DuckDB and Spark compute alike, and as the targeting language says.

Properties are JSON texts that `scalar_as_json` wrote: equal values have equal texts, those of strings begin with a
quote, and nothing else does. So equality is that of texts, whatever the size of a number. Order needs more:

- Numbers are ordered as doubles. Rounding keeps the order, and no other number is rounded to an operand below 2^53,
  which `check_filter` demands: the answer is exact for integers of any length.
- Strings are ordered by their UTF-8 bytes in both engines, which is the order of code points. Escapes are undone.

Lower case is not the engines' own, which differ in it, but Python's, as a table for the letters of the operands.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from typing import Any

import ibis
import ibis.expr.types as ir

from abplatform.assignment.characters import lower
from abplatform.assignment.targeting import LISTS
from abplatform.assignment.values import join_path, shape_problems
from abplatform.domain.events import scalar_as_json
from abplatform.domain.property_filter import check_filter, normalise_filter

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}
_POSITIVE = {"$ne": "$eq", "$nin": "$in", "$nini": "$ini"}
_QUOTE = '"'
_BACKSLASH = "\\"
_LAST_WITH_CASE = 0x20000


def meets(properties: ir.MapValue, condition: Mapping[str, object]) -> ir.BooleanValue:
    """Whether properties meet a filter, never null; as `compile_condition` says of the normalised filter.

    What `check_filter` refuses is unknown: it never matches, not even by negation. Names are taken whole.

    Args:
        properties: JSON texts by name, ``map<string, string>``; null is no properties.
        condition: the filter, bare lists included.
    """
    if shape_problems(condition):
        return ibis.literal(False)
    normal = normalise_filter(condition)
    problems = check_filter(normal)
    if "" in problems:
        return ibis.literal(False)
    return ibis.coalesce(_Filter(properties, tuple(problems)).condition(normal, ""), ibis.literal(False))


class _Filter:
    """Builds the expression of one filter; null stands for what is unknown, as in Kleene's logic and in SQL's."""

    def __init__(self, properties: ir.MapValue, problems: Sequence[str]) -> None:
        self._properties = properties
        self._problems = problems

    def condition(self, node: object, path: str) -> ir.BooleanValue:
        if not isinstance(node, Mapping):
            return _unknown()
        return _every([self._clause(name, item, join_path(path, name)) for name, item in node.items()])

    def _clause(self, name: str, item: Any, path: str) -> ir.BooleanValue:
        if path in self._problems:
            return _unknown()
        if name == "$not":
            return ~self.condition(item, path)
        if name not in LISTS:
            return self._wanted(self._properties.get(name), item, path)
        conditions = [self.condition(each, join_path(path, index)) for index, each in enumerate(item)]
        if name == "$and" or not conditions:
            return _every(conditions)
        found = reduce(operator.or_, conditions)
        return found if name == "$or" else ~found

    def _wanted(self, text: ir.StringValue, node: Any, path: str) -> ir.BooleanValue:
        if not isinstance(node, Mapping):
            return _is_any_of(text, [node])
        return _every([self._operator(text, name, operand, join_path(path, name)) for name, operand in node.items()])

    def _operator(self, text: ir.StringValue, name: str, operand: Any, path: str) -> ir.BooleanValue:
        if any(problem == path or problem.startswith(f"{path}.") for problem in self._problems):
            return _unknown()
        if name == "$not":
            return ~self._wanted(text, operand, path)
        if name in _POSITIVE:
            return ~_test(text, _POSITIVE[name], operand)
        return _test(text, name, operand)


def _test(text: ir.StringValue, name: str, operand: Any) -> ir.BooleanValue:
    """A test of one property, never null."""
    if name in _COMPARISONS:
        return ibis.coalesce(_is_in_order(text, _COMPARISONS[name], operand), ibis.literal(False))
    if name == "$exists":
        return text.notnull() if operand else text.isnull()
    if name == "$type":
        return _is_of_type(text, operand)
    if name == "$ini":
        options = [each.lower() if isinstance(each, str) else each for each in operand]
        return _is_any_of(_in_lower_case(text, options), options)
    return _is_any_of(text, [operand] if name == "$eq" else operand)


def _is_any_of(text: ir.StringValue, options: Sequence[Any]) -> ir.BooleanValue:
    texts = sorted({scalar_as_json(option) for option in options if option is not None})
    if not texts:
        return text.isnull()
    return ibis.coalesce(text.isin(texts), ibis.literal(None in options))


def _is_in_order(text: ir.StringValue, compare: Callable[[Any, Any], Any], operand: Any) -> ir.BooleanValue:
    if isinstance(operand, str):
        comparison: ir.BooleanValue = compare(_decoded(text), _QUOTE + operand)
        return text.startswith(_QUOTE) & comparison
    # As text: a decimal literal would be rounded twice.
    number = ibis.literal(scalar_as_json(operand)).cast("float64")
    ordered: ir.BooleanValue = compare(text.try_cast("float64"), number)
    return ordered


def _is_of_type(text: ir.StringValue, name: str) -> ir.BooleanValue:
    if name == "null":
        return text.isnull()
    is_string, is_boolean = text.startswith(_QUOTE), text.isin(["true", "false"])
    of_type = {"string": is_string, "boolean": is_boolean, "number": ~(is_string | is_boolean)}[name]
    return ibis.coalesce(of_type, ibis.literal(False))


def _decoded(text: ir.StringValue) -> ir.StringValue:
    """The string that a JSON text stands for, still with its first quote, which changes no order."""
    plain = text.left(text.length() - 1)
    # Every backslash begins an escape, and only one that stands for itself could be read as the beginning of another:
    # it becomes a backslash with a mark, until all others are gone.
    decoded = plain.replace(_BACKSLASH * 2, _BACKSLASH + "!")
    for escape, character in _escapes().items():
        decoded = decoded.replace(escape, character)
    decoded = decoded.replace(_BACKSLASH + "!", _BACKSLASH)
    return ibis.ifelse(plain.contains(_BACKSLASH), decoded, plain)


@cache
def _escapes() -> Mapping[str, str]:
    """What `scalar_as_json` writes for each character that it escapes, but for the backslash."""
    characters = (_QUOTE, *map(chr, range(1, 0x20)))
    return {scalar_as_json(character)[1:-1]: character for character in characters}


def _in_lower_case(text: ir.StringValue, options: Sequence[Any]) -> ir.StringValue:
    """The text with every letter in lower case that may then be one of the options', which are in lower case.

    Escapes hold no capitals: they stay as they are.
    """
    wanted = {character for option in options if isinstance(option, str) for character in option}
    pairs = [(capital, small) for capital, small in _capitals() if small in wanted]
    if not pairs:
        return text
    return text.translate("".join(capital for capital, _ in pairs), "".join(small for _, small in pairs))


@cache
def _capitals() -> Sequence[tuple[str, str]]:
    """All characters that have another lower case of one character, with it."""
    pairs = ((character, lower(character)) for character in map(chr, range(_LAST_WITH_CASE)))
    return tuple(pair for pair in pairs if pair[0] != pair[1])


def _every(tests: Sequence[ir.BooleanValue]) -> ir.BooleanValue:
    return reduce(operator.and_, tests) if tests else ibis.literal(True)


def _unknown() -> ir.BooleanValue:
    unknown: ir.BooleanValue = ibis.null("boolean")
    return unknown
