"""Targeting of many units at once: the compiled condition is asked once for each combination of values.

The attributes are the columns of a table. One named ``home.city`` is the attribute ``city`` of ``home``, unless there
is a column ``home``. A null is a missing attribute. Columns of Parquet have types. A cell of CSV has none: it is text
where the condition compares the attribute with texts alone, so that ``3.10`` stays a version and ``007`` a code.
Elsewhere a cell that is written as a number of JSON, ``true`` or ``false`` is that, and text otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abplatform.assignment import Snapshot
from abplatform.errors import InvalidInput

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

MOST_REMEMBERED = 100_000

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False}
# What these operators are given is not what the attribute is compared with.
_OTHER_OPERANDS = frozenset({"$exists", "$type", "$size"})
_GROUPS = frozenset({"$inGroup", "$notInGroup"})


class Matcher:
    """Tells which rows of batches meet the targeting of one experiment.

    Args:
        condition: compiled.
        texts: columns whose cells stay text although they look like something else; None where columns have types.
    """

    def __init__(self, condition: Callable[[Mapping[str, object]], bool], texts: Collection[str] | None) -> None:
        self._condition = condition
        self._texts = texts
        self._known: dict[tuple[Hashable, ...], bool] = {}

    def match(self, columns: Mapping[str, pa.Array], count: int) -> Mask:
        """Which of ``count`` rows match; the columns are those that the condition may read."""
        names = tuple(columns)
        if any(pa.types.is_nested(values.type) for values in columns.values()):
            rows = zip(*(values.to_pylist(maps_as_pydicts="lossy") for values in columns.values()), strict=True)
            return np.fromiter((self._ask(names, row) for row in rows), dtype=np.bool_, count=count)
        first, combination = _combinations(tuple(columns.values()), count)
        distinct = [values.take(pa.array(first)).to_pylist() for values in columns.values()]
        combined = list(zip(*distinct, strict=True)) if distinct else [()] * len(first)
        answers = np.array([self._remember(names, row) for row in combined], dtype=np.bool_)
        matches: Mask = answers[combination]
        return matches

    def _remember(self, names: Sequence[str], row: tuple[Any, ...]) -> bool:
        if row not in self._known:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[row] = self._ask(names, row)
        return self._known[row]

    def _ask(self, names: Sequence[str], row: Sequence[Any]) -> bool:
        attributes: dict[str, Any] = {}
        for name, value in zip(names, row, strict=True):
            _put(attributes, name, self._read(name, value))
        return self._condition(attributes)

    def _read(self, name: str, value: Any) -> Any:
        untyped = self._texts is not None and name not in self._texts and isinstance(value, str)
        return read_cell(value) if untyped else value


def needed_columns(paths: Iterable[str], present: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the columns that hold some attributes, and names of the attributes that no column holds."""
    found: list[str] = []
    missing: list[str] = []
    for path in sorted(paths):
        columns = [path] if path in present else [name for name in present if name.startswith(f"{path}.")]
        found += columns
        if not columns:
            missing.append(path)
    return found, missing


def check_types(columns: Iterable[tuple[str, pa.DataType]]) -> None:
    """Refuse columns whose values are no attributes.

    Raises:
        InvalidInput: one holds dates, decimals or the like.
    """
    for name, type_ in columns:
        plain = type_.value_type if pa.types.is_dictionary(type_) else type_
        odd = (pa.types.is_temporal, pa.types.is_decimal, pa.types.is_binary, pa.types.is_large_binary)
        if any(test(plain) for test in odd):
            raise InvalidInput({"column": [f"{name!r} holds {plain}, which no attribute is; write texts or numbers"]})


def text_attributes(condition: object, groups: Mapping[str, Any]) -> frozenset[str]:
    """The attributes that a condition compares with texts and with nothing else.

    >>> sorted(text_attributes({"version": {"$vgte": "3.2"}, "$or": [{"age": 3}, {"home.zip": {"$in": ["01"]}}]}, {}))
    ['home.zip', 'version']
    """
    kinds: dict[str, set[type]] = {}
    for name, operand in _comparisons(condition):
        kinds.setdefault(name, set()).update(type(scalar) for scalar in _scalars(operand, groups) if scalar is not None)
    return frozenset(name for name, found in kinds.items() if found == {str})


def read_cell(text: str) -> str | bool | int | float:
    """A cell of CSV as the attribute that it is written like.

    >>> [read_cell(text) for text in ("7", "-1.50", "007", "true", "True", "1e400")]
    [7, -1.5, '007', True, 'True', '1e400']
    """
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if not np.isfinite(number):
        return text
    return int(text) if text.lstrip("-").isdigit() else number


def _comparisons(condition: object) -> Iterator[tuple[str, object]]:
    if isinstance(condition, Mapping):
        for key, operand in condition.items():
            if not key.startswith("$"):
                yield key, operand
            else:
                yield from (pair for part in _parts(operand) for pair in _comparisons(part))


def _parts(operand: object) -> Sequence[object]:
    return operand if isinstance(operand, (list, tuple)) else [operand]


def _scalars(operand: object, groups: Mapping[str, Any]) -> Iterator[object]:
    if isinstance(operand, Mapping):
        for key, item in operand.items():
            if key in _GROUPS:
                # A group of units lists digests of texts.
                yield from groups.get(item, {}).get("values", ("",)) if isinstance(item, str) else ()
            elif key not in _OTHER_OPERANDS:
                yield from _scalars(item, groups)
    elif isinstance(operand, (list, tuple)):
        for item in operand:
            yield from _scalars(item, groups)
    else:
        yield operand


def _combinations(columns: Sequence[pa.Array], count: int) -> tuple[Positions, Positions]:
    """The first row of each combination of values, and for each row which combination it has."""
    combined = np.zeros(count, dtype=np.int64)
    first: Positions = np.zeros(min(count, 1), dtype=np.int64)
    for values in columns:
        # Nulls are a value of their own: -1 becomes 0.
        codes = values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
        places = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        combined = combined * (len(codes.dictionary) + 1) + places
        # Numbered anew each time, so that the products stay small.
        _, first, combined = np.unique(combined, return_index=True, return_inverse=True)
    return first, combined


def _put(attributes: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        attributes = attributes.setdefault(parent, {})
    attributes[last] = value


def conditions_of(document: Mapping[str, Any], snapshot: Snapshot, experiment: str) -> dict[str, object]:
    """The conditions of an experiment and of those that it needs, by key."""
    found: dict[str, object] = {}
    waiting = [experiment]
    while waiting:
        key = waiting.pop()
        rule = snapshot.experiments.get(key)
        if key in found or rule is None:
            continue
        found[key] = document["experiments"][key].get("targeting") or {}
        waiting += [needed.experiment for needed in getattr(rule, "prerequisites", ())]
    return found
