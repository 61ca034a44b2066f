"""Rows of a batch as values that can be counted; a row that is wrong in any column is left out whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.checks import printable, storable
from abplatform.domain.events import LONGEST_ID, LONGEST_TEXT, BadEvent, read_value, scalar_as_json
from abplatform.services.adopt.request import ImportRequest, Outcome
from abplatform.services.read_table.refusals import Mask, Refusals, as_mask
from abplatform.services.read_table.source import Batch, RowFault
from abplatform.services.read_table.texts import NOT_UTF_8, as_text, hint_for_number
from abplatform.warehouse.layout import MONEY, PLAIN_MONEY

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_MISSING_COVARIATE = pa.array(["na", "nan", "null", "none"])
_TRUE, _FALSE = pa.array(["1", "true", "1.0"]), pa.array(["0", "false", "0.0"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The good rows of a batch, column by column, all of one length.

    Attributes:
        numbers: row numbers, ascending.
        variants, units, clusters: texts.
        outcomes: by column: booleans for conversions, DECIMAL(20, 6) for sums.
        attributes: dimensions and covariates by name, as JSON text or null.
    """

    numbers: npt.NDArray[np.int64]
    variants: pa.Array
    units: pa.Array
    clusters: pa.Array | None
    outcomes: dict[str, pa.Array]
    attributes: dict[str, pa.Array]

    def keep(self, mask: Mask) -> Rows:
        """The rows where the mask is true."""
        chosen = pa.array(mask)
        return Rows(
            numbers=self.numbers[mask],
            variants=self.variants.filter(chosen),
            units=self.units.filter(chosen),
            clusters=None if self.clusters is None else self.clusters.filter(chosen),
            outcomes={name: values.filter(chosen) for name, values in self.outcomes.items()},
            attributes={name: values.filter(chosen) for name, values in self.attributes.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The other rows of a batch.

    Attributes:
        faults: one for each row, in the order of their numbers.
        variants: how many of them there are by variant; rows without one are in no count.
        amounts: conversion columns in which a number other than 0 and 1 was found.
        words: conversion columns in which something was found that is no number either.
    """

    faults: tuple[RowFault, ...]
    variants: Mapping[str, int]
    amounts: frozenset[str]
    words: frozenset[str]


class _Refusals(Refusals):
    """Which rows are refused, and what was found in conversion columns instead (see `Refused`)."""

    def __init__(self, numbers: npt.NDArray[np.int64]) -> None:
        super().__init__(numbers)
        self.amounts: set[str] = set()
        self.words: set[str] = set()


def read_rows(batch: Batch, request: ImportRequest) -> tuple[Rows, Refused]:
    """The good rows of a batch, and what is wrong with the others."""
    refusals = _Refusals(batch.numbers)
    texts = {}
    for column, values in batch.columns.items():
        texts[column], unreadable = as_text(values)
        refusals.refuse(unreadable, column, NOT_UTF_8)
    rows = Rows(
        numbers=batch.numbers,
        variants=_names(texts[request.variant], request.variant, refusals, check=_variant_fault),
        units=_units(batch, texts, request, refusals),
        clusters=None
        if request.cluster is None
        else _names(texts[request.cluster], request.cluster, refusals, check=_id_fault),
        outcomes={each.column: _outcome(texts[each.column], each, refusals) for each in request.outcomes},
        attributes={name: _dimension(batch.columns[name], texts[name], name, refusals) for name in request.dimensions}
        | {name: _covariate(texts[name], name, refusals) for name in request.covariates},
    )
    faults = sorted((*batch.faults, *refusals.faults), key=lambda fault: fault.row)
    refused = Refused(
        faults=tuple(faults),
        variants=count_variants(rows.variants.filter(pa.array(~refusals.good))),
        amounts=frozenset(refusals.amounts),
        words=frozenset(refusals.words),
    )
    return rows.keep(refusals.good), refused


def count_variants(variants: pa.Array) -> dict[str, int]:
    """How many rows there are of each variant; rows without one are not counted."""
    return {each["values"]: each["counts"] for each in variants.drop_null().value_counts().to_pylist()}


def _units(batch: Batch, texts: dict[str, pa.Array], request: ImportRequest, refusals: _Refusals) -> pa.Array:
    if request.unit is None:
        return pc.cast(pa.array(batch.numbers), pa.string())
    return _names(texts[request.unit], request.unit, refusals, check=_id_fault)


def _names(texts: pa.Array, column: str, refusals: _Refusals, *, check: Callable[[str], str | None]) -> pa.Array:
    refusals.refuse(as_mask(pc.is_null(texts)), column, "is missing")
    distinct = texts.dictionary_encode()
    faults = [None if value is None else check(value) for value in distinct.dictionary.to_pylist()]
    if any(faults):
        bad = pc.is_in(texts, value_set=distinct.dictionary.filter(pa.array([bool(fault) for fault in faults])))
        indices = distinct.indices.to_pylist()
        refusals.refuse(as_mask(bad), column, lambda position: str(faults[indices[position]]))
    return texts


def _variant_fault(value: str) -> str | None:
    good = len(value) <= 64 and printable(value)
    return None if good else "must be 1 to 64 printable characters"


def _id_fault(value: str) -> str | None:
    # What was decoded from UTF-8 holds no lone surrogates: only NUL is left to refuse.
    good = len(value) <= LONGEST_ID and "\0" not in value
    return None if good else f"must be 1 to {LONGEST_ID} characters without NUL"


def _outcome(texts: pa.Array, outcome: Outcome, refusals: _Refusals) -> pa.Array:
    if outcome.kind == "conversion":
        return _conversion(texts, outcome.column, refusals)
    return _sum(texts, outcome.column, refusals)


def _conversion(texts: pa.Array, column: str, refusals: _Refusals) -> pa.Array:
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    yes, no = pc.is_in(plain, value_set=_TRUE), pc.is_in(plain, value_set=_FALSE)
    bad = ~as_mask(pc.or_(yes, no))
    numeric = as_mask(pc.match_substring_regex(plain, _NUMBER))
    if (bad & numeric).any():
        refusals.amounts.add(column)
    if (bad & ~numeric & ~as_mask(pc.is_null(texts))).any():
        refusals.words.add(column)
    _refuse_values(bad, texts, column, refusals, rule="is not 0, 1, true or false")
    return yes


def _sum(texts: pa.Array, column: str, refusals: _Refusals) -> pa.Array:
    trimmed = pc.fill_null(pc.utf8_trim_whitespace(texts), "")
    plain = pc.match_substring_regex(trimmed, PLAIN_MONEY)
    amounts = pc.cast(pc.if_else(plain, trimmed, "0"), MONEY)
    others = np.flatnonzero(~as_mask(plain))
    if len(others) == 0:
        return amounts
    numeric = as_mask(pc.match_substring_regex(trimmed, _NUMBER))
    written = trimmed.take(pa.array(others)).to_pylist()
    settled, details = amounts.to_pylist(), {}
    for position, text in zip(others.tolist(), written, strict=True):
        settled[position], details[position] = _unusual_amount(text, numeric=bool(numeric[position]))
    bad = np.zeros(len(texts), dtype=np.bool_)
    bad[[position for position, detail in details.items() if detail]] = True
    refusals.refuse(bad, column, lambda position: str(details[position]))
    return pa.array(settled, MONEY)


def _unusual_amount(text: str, *, numeric: bool) -> tuple[Decimal, str | None]:
    """An amount that is not written plainly, such as ``+1.5e2``; with a fault if it is none.

    More than 6 digits behind the point are rounded half-even, as the SDK does: to refuse them would make the loss of
    a row depend on its outcome.
    """
    if not text:
        return Decimal(0), "is missing"
    if not numeric:
        return Decimal(0), f"{_quote(text)} is not a number{hint_for_number(text)}"
    amount = Decimal(text)
    try:
        # An enormous number is left to the check: it has more digits than rounding can keep.
        return read_value(round(amount, 6) if amount.adjusted() < 14 else amount) or Decimal(0), None
    except BadEvent as error:
        return Decimal(0), f"{_quote(text)} {error.detail.partition(': ')[2]}"


def _covariate(texts: pa.Array, column: str, refusals: _Refusals) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(texts)
    missing = pc.or_(pc.is_null(trimmed), pc.is_in(pc.utf8_lower(trimmed), value_set=_MISSING_COVARIATE))
    numeric = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), fill_value=False)
    numbers = pc.cast(pc.if_else(numeric, trimmed, "0"), pa.float64())
    finite = pc.and_(numeric, pc.is_finite(numbers))
    _refuse_values(~as_mask(pc.or_(finite, missing)), texts, column, refusals, rule="is not a number")
    distinct = numbers.dictionary_encode()
    written = pa.array([scalar_as_json(value) for value in distinct.dictionary.to_pylist()], pa.string())
    return pc.if_else(finite, written.take(distinct.indices), None)


def _dimension(values: pa.Array, texts: pa.Array, column: str, refusals: _Refusals) -> pa.Array:
    """Attribute values as JSON: numbers and booleans of Parquet stay what they are, all else is text."""
    long = pc.fill_null(pc.greater(pc.utf8_length(texts), LONGEST_TEXT), fill_value=False)
    refusals.refuse(as_mask(long), column, f"must be at most {LONGEST_TEXT} characters")
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        return texts
    distinct = texts.dictionary_encode()
    values_ = distinct.dictionary.to_pylist()
    refused = pa.array([value for value in values_ if value is not None and not storable(value)], pa.string())
    refusals.refuse(as_mask(pc.is_in(texts, value_set=refused)), column, "must not hold NUL")
    written = pa.array([None if value is None else scalar_as_json(value) for value in values_], pa.string())
    return written.take(distinct.indices)


def _refuse_values(bad: Mask, texts: pa.Array, column: str, refusals: _Refusals, *, rule: str) -> None:
    def detail(position: int) -> str:
        value = texts[position].as_py()
        return "is missing" if value is None else f"{_quote(value)} {rule}{hint_for_number(value)}"

    refusals.refuse(bad, column, detail)


def _quote(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "...")
