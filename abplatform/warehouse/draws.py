"""The two draws of an experiment as SQL, for whoever wants to check an assignment without this program.

Each query stands alone: it reads a table ``units`` with a text column ``unit_id`` and needs no function made before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abplatform.assignment import BUCKETS

Ranges = Sequence[tuple[int, int]]

_QUERY = """\
WITH draws AS (
    SELECT unit_id,
           {layer} AS layer_bucket,
           {variant} AS variant_bucket
    FROM units
), placed AS (
    SELECT unit_id, layer_bucket, variant_bucket, {inside} AS in_slots
    FROM draws
)
SELECT unit_id, layer_bucket, variant_bucket, in_slots,
       CASE {cases} END AS variant
FROM placed;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnExperiment:
    """What the two draws of one phase of an experiment depend on.

    Attributes:
        layer_salt: of the draw that decides whether a unit is in.
        slots: buckets ``[low, high)`` of that draw that are in.
        variant_salt: of the draw that decides which variant it gets.
        variants: keys with their ranges of that draw, in order.
    """

    layer_salt: str
    slots: Ranges
    variant_salt: str
    variants: Sequence[tuple[str, tuple[int, int]]]


def draw_query(engine: str, experiment: DrawnExperiment) -> str:
    """A query that gives ``unit_id, layer_bucket, variant_bucket, in_slots, variant`` for each row of ``units``.

    ``variant`` is null outside the slots. A null ``unit_id`` gives nulls.

    Args:
        engine: one of `ENGINES`.

    Raises:
        KeyError: it is none of them.
    """
    dialect = ENGINES[engine]
    return _QUERY.format(
        layer=dialect.bucket(dialect.text(_prefix(experiment.layer_salt))),
        variant=dialect.bucket(dialect.text(_prefix(experiment.variant_salt))),
        inside=_inside("layer_bucket", experiment.slots),
        cases=_cases(dialect, experiment.variants),
    )


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How an engine writes a text, and the bucket of ``unit_id`` behind the text that a salt fixes."""

    text: Callable[[str], str]
    bucket: Callable[[str], str]


def _prefix(salt: str) -> str:
    # The count of the salt's bytes is known here, so that no engine has to count.
    return f"{len(salt.encode())}:{salt}"


def _inside(column: str, ranges: Ranges) -> str:
    """Whether a bucket lies in one of the ranges; null for null."""
    tests = [f"({column} >= {low} AND {column} < {high})" for low, high in ranges]
    return "(" + " OR ".join(tests or [f"{column} < 0"]) + ")"


def _cases(dialect: _Dialect, variants: Sequence[tuple[str, tuple[int, int]]]) -> str:
    cases = ["WHEN NOT in_slots THEN NULL"]
    for key, (low, high) in variants:
        if low < high:
            cases.append(f"WHEN variant_bucket < {high} THEN {dialect.text(key)}")
    return "\n            ".join(cases)


def _quoted(text: str) -> str:
    """A literal of standard SQL, where a backslash is a character like any other."""
    return "'" + text.replace("'", "''") + "'"


def _postgresql_text(text: str) -> str:
    # What a backslash means in '...' depends on a setting of the server; in E'...' it does not.
    return "E" + _quoted(text.replace("\\", "\\\\")) if "\\" in text else _quoted(text)


def _escaped(text: str) -> str:
    """A literal of the engines where a backslash escapes."""
    for plain, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, written)
    return f"'{text}'"


def _spark_text(text: str) -> str:
    # ${...} is replaced before Spark reads the statement, in literals too.
    return _escaped(text).replace("$", "\\u0024")


def _duckdb_bucket(prefix: str) -> str:
    return f"('0x' || substr(sha256({prefix} || unit_id), 1, 13))::BIGINT % {BUCKETS}"


def _postgresql_bucket(prefix: str) -> str:
    digest = f"encode(sha256(convert_to({prefix} || unit_id, 'UTF8')), 'hex')"
    return f"('x' || left({digest}, 13))::bit(52)::bigint % {BUCKETS}"


def _spark_bucket(prefix: str) -> str:
    return f"CAST(conv(substr(sha2(concat({prefix}, unit_id), 256), 1, 13), 16, 10) AS BIGINT) % {BUCKETS}"


def _clickhouse_bucket(prefix: str) -> str:
    # The first eight bytes, read as a big-endian number, without their last three hexadecimal digits.
    first = f"reinterpretAsUInt64(reverse(substring(SHA256(concat({prefix}, unit_id)), 1, 8)))"
    return f"toInt64(bitShiftRight({first}, 12) % {BUCKETS})"


def _bigquery_bucket(prefix: str) -> str:
    digits = f"SUBSTR(TO_HEX(SHA256(CONCAT({prefix}, unit_id))), 1, 13)"
    return f"MOD(CAST(CONCAT('0x', {digits}) AS INT64), {BUCKETS})"


ENGINES = {
    "duckdb": _Dialect(_quoted, _duckdb_bucket),
    "postgresql": _Dialect(_postgresql_text, _postgresql_bucket),
    "spark": _Dialect(_spark_text, _spark_bucket),
    "clickhouse": _Dialect(_escaped, _clickhouse_bucket),
    "bigquery": _Dialect(_escaped, _bigquery_bucket),
}
