"""Aggregations as an engine would give them, built from a few numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from abplatform.domain.aggregates import Aggregation, AggregationRequest, LakeState
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.evidence import Evidence
from tests.builders import NOW, a_metric


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


def a_request(**changes: Any) -> AggregationRequest:
    """What an engine was asked of the states 7 and 8 of a lake."""
    values: dict[str, Any] = {
        "project": "default",
        "experiment": "rate-display",
        "phase": 1,
        "variants": ("control", "treatment"),
        "metrics": (a_metric(),),
        "as_of": NOW,
        "state": LakeState(exposures=7, conversions=8),
    }
    return AggregationRequest(**values | changes)


def an_evidence(aggregation: Aggregation | None = None, **changes: Any) -> Evidence:
    """What a look rests on; ``changes`` are those of the request."""
    found = an_aggregation(a_rate("control", 1000, 100), a_rate("treatment", 1000, 130))
    return Evidence(
        request=a_request(**changes), aggregation=aggregation or found, engine="duckdb 1.5.5", version="0.1"
    )
