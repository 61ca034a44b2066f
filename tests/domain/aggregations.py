"""Aggregations as an engine would give them, built from a few numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from abplatform.domain.aggregates import Aggregation, ArmCell


def a_rate(variant: str, units: int, converted: int, *, name: str = "purchase", **changes: Any) -> ArmCell:
    """A conversion metric of one variant."""
    mean = converted / units if units else 0.0
    values: dict[str, Any] = {
        "name": name,
        "variant": variant,
        "units": units,
        "open_units": 0,
        "nonzero": converted,
        "total": Decimal(converted),
        "mean": mean,
        "m2": units * mean * (1 - mean),
    }
    return ArmCell(**values | changes)


def an_amount(variant: str, values: np.ndarray[Any, Any], *, name: str = "revenue", **changes: Any) -> ArmCell:
    """A sum metric of one variant from one value per unit."""
    cell: dict[str, Any] = {
        "name": name,
        "variant": variant,
        "units": values.size,
        "open_units": 0,
        "nonzero": int(np.count_nonzero(values)),
        "total": Decimal(str(round(float(values.sum()), 6))),
        "mean": float(values.mean()),
        "m2": float(values.var() * values.size),
    }
    return ArmCell(**cell | changes)


def an_aggregation(*cells: ArmCell, **changes: Any) -> Aggregation:
    """What the engine found; units by variant are those of the first metric unless said."""
    first = cells[0].name if cells else ""
    units = {cell.variant: cell.units + cell.open_units for cell in cells if cell.name == first}
    values: dict[str, Any] = {
        "exposed": units,
        "analysed": units,
        "multi_variant": dict.fromkeys(units, 0),
        "exposed_clusters": {},
        "analysed_clusters": {},
        "multi_variant_clusters": {},
        "mismatched_exposures": 0,
        "unknown_variants": {},
        "cells": cells,
        "covariates": (),
        "data_through": None,
    }
    return Aggregation(**values | changes)
