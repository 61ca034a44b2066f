"""Rows of an engine's answer turned into cells, zeros included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from abplatform.domain.aggregates import AggregationRequest, ArmCell

NO_SLICE = "(none)"

Row = Mapping[str, Any]


def count_map(rows: Iterable[Row], column: str, variants: Sequence[str]) -> dict[str, int]:
    """A column of counts by variant, for all declared variants in their order."""
    found = {row["variant"]: int(row[column]) for row in rows}
    return {variant: found.get(variant, 0) for variant in variants}


def build_cells(
    prefix: str, names: Sequence[str], request: AggregationRequest, rows: Sequence[Row], clusters: Sequence[Row]
) -> tuple[ArmCell, ...]:
    """Cells by name, then slice, then variant; a variant without units has zeros.

    Args:
        prefix: of the columns: ``y`` for metrics, ``x`` for covariates.
        names: of the metrics or covariates.
        request: what was asked for.
        rows: `moments.moments`.
        clusters: `moments.cluster_moments`; nothing where the experiment is not clustered.
    """
    adjusted = request.adjusted if prefix == "y" else ()
    slices = name_slices(row["slice"] for row in rows) if request.by is not None else {None: None}
    units = {(row["variant"], row.get("slice")): row for row in rows}
    groups = {(row["variant"], row.get("slice")): row for row in clusters}
    return tuple(
        ArmCell(
            name=name,
            variant=variant,
            slice=shown,
            **_over_units(f"{prefix}{position}", units.get((variant, raw), {})),
            **(_before(position, units.get((variant, raw), {})) if name in adjusted else {}),
            **(_over_clusters(f"{prefix}{position}", groups.get((variant, raw), {})) if request.clustered else {}),
        )
        for position, name in enumerate(names)
        for raw, shown in slices.items()
        for variant in request.variants
    )


def name_slices(texts: Iterable[str | None]) -> dict[str | None, str]:
    """Names of slices for people, by the JSON text of the attribute.

    Units without the attribute form the slice ``(none)``, so that slices add up to the whole. A string that would
    read like another slice keeps its quotes.

    >>> name_slices(['"web"', '3', None])
    {None: '(none)', '"web"': 'web', '3': '3'}
    >>> name_slices(['"3"', '3'])
    {'"3"': '"3"', '3': '3'}
    """
    ordered = sorted(set(texts), key=lambda text: (text is not None, text or ""))
    plain = {text: NO_SLICE if text is None else _decode(text) for text in ordered}
    uses = Counter(plain.values())
    quoted = {text for text in ordered if text is not None and text.startswith('"')}
    return {
        text: text if text in quoted and (uses[name] > 1 or name in quoted) else name for text, name in plain.items()
    }


def _decode(text: str) -> str:
    value = json.loads(text)
    return value if isinstance(value, str) else text


def plain(total: Decimal | float) -> Decimal:
    """An exact sum without zeros behind: 1001 and 350.5 however many places the engine carried."""
    text = f"{total:f}" if isinstance(total, Decimal) else repr(total)
    number = Decimal(text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text)
    return number if number else Decimal(0)


def _over_units(column: str, row: Row) -> dict[str, Any]:
    units = int(row.get(f"{column}_units") or 0)
    total = plain(row.get(f"{column}_total") or 0)
    return {
        "units": units,
        "open_units": int(row.get(f"{column}_missing") or 0),
        "nonzero": int(row.get(f"{column}_nonzero") or 0),
        "total": total,
        "mean": float(total / units) if units else 0.0,
        "m2": float(row[f"{column}_variance"]) * units if units else 0.0,
    }


def _before(position: int, row: Row) -> dict[str, Any]:
    units = int(row.get(f"y{position}_units") or 0)
    if not units:
        return dict.fromkeys(("before_mean", "before_m2", "before_c"), 0.0)
    return {
        "before_mean": float(row[f"b{position}_total"] / units),
        "before_m2": float(row[f"b{position}_variance"]) * units,
        "before_c": float(row[f"b{position}_covariance"]) * units,
    }


def _over_clusters(column: str, row: Row) -> dict[str, Any]:
    clusters = int(row.get(f"{column}_clusters") or 0)
    if not clusters:
        zeros = ("cluster_mean_y", "cluster_mean_d", "cluster_m2_y", "cluster_m2_d", "cluster_c_yd")
        return {"clusters": 0, **dict.fromkeys(zeros, 0.0)}
    return {
        "clusters": clusters,
        "cluster_mean_y": float(row[f"{column}_mean_y"]),
        "cluster_mean_d": float(row[f"{column}_mean_d"]),
        "cluster_m2_y": float(row[f"{column}_variance_y"]) * clusters,
        "cluster_m2_d": float(row[f"{column}_variance_d"]) * clusters,
        "cluster_c_yd": float(row[f"{column}_covariance"]) * clusters,
    }
