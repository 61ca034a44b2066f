"""What a person asks for when importing a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from abplatform.domain.checks import KEY, KEY_RULE, is_number
from abplatform.errors import InvalidInput

ROW_UNIT = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A column that becomes a metric."""

    column: str
    kind: Literal["conversion", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Which columns mean what.

    Attributes:
        path: CSV (``.csv``, ``.csv.gz``) or Parquet, one row per unit.
        key: of the experiment to make; ``name`` is for people, by default the key.
        variant: column with the arm; ``control`` is its value for the control.
        outcomes: in the order named; the first is primary unless ``primaries`` names others.
        weights: planned relative weights by variant; equal if empty.
        unit: column with the unit's id; the row number if None.
        cluster: column with the randomised cluster, where units were not randomised one by one.
        covariates: numeric columns from before the experiment.
        dimensions: columns to slice by.
        primaries: columns of outcomes.
        decreases: columns of outcomes of which less is better.
    """

    path: Path
    key: str
    variant: str
    control: str
    outcomes: tuple[Outcome, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    cluster: str | None = None
    covariates: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    primaries: tuple[str, ...] = ()
    decreases: tuple[str, ...] = ()
    name: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        single = [name for name in (self.variant, self.unit, self.cluster) if name is not None]
        named = [*single, *(outcome.column for outcome in self.outcomes), *self.covariates, *self.dimensions]
        return tuple(dict.fromkeys(named))

    @property
    def numeric_columns(self) -> frozenset[str]:
        """The outcomes and the covariates."""
        return frozenset((*(outcome.column for outcome in self.outcomes), *self.covariates))

    @property
    def primary_columns(self) -> tuple[str, ...]:
        """Columns of the primary metrics."""
        return self.primaries or (self.outcomes[0].column,)

    @property
    def unit_name(self) -> str:
        """What is counted."""
        return ROW_UNIT if self.unit is None else self.unit

    def describe(self) -> dict[str, object]:
        """What the columns mean, as JSON values for the audit trail; names only, and nothing that stands in a cell."""
        columns = {
            "variant": self.variant,
            "unit": self.unit,
            "cluster": self.cluster,
            "conversion": [each.column for each in self.outcomes if each.kind == "conversion"],
            "sum": [each.column for each in self.outcomes if each.kind == "sum"],
            "covariate": list(self.covariates),
            "dimension": list(self.dimensions),
            "decrease": list(self.decreases),
        }
        return {"experiment": self.key, "columns": {role: named for role, named in columns.items() if named}}


def check_request(request: ImportRequest) -> None:
    """Refuse what no table could satisfy.

    Raises:
        InvalidInput: naming the option.
    """
    if KEY.fullmatch(request.key) is None:
        raise InvalidInput({"key": [f"{request.key!r} {KEY_RULE}"]})
    if not request.outcomes:
        raise InvalidInput({"conversion": ["name at least one outcome column, as --conversion or --sum"]})
    outcomes = [outcome.column for outcome in request.outcomes]
    _refuse_repeated(outcomes, "an outcome")
    _refuse_repeated([*request.covariates], "a covariate")
    _refuse_repeated([*request.dimensions], "a dimension")
    _refuse_repeated([name for name in (request.variant, request.unit, request.cluster) if name], "a role")
    for option, columns in (("primary", request.primaries), ("decrease", request.decreases)):
        for column in columns:
            if column not in outcomes:
                raise InvalidInput({option: [f"{column!r} is not among the outcomes: {', '.join(outcomes)}"]})
    for variant, weight in request.weights.items():
        if not is_number(weight) or weight <= 0:
            raise InvalidInput({"weight": [f"the weight of {variant!r} must be a positive number"]})
    both = set(request.covariates) & set(request.dimensions)
    if both:
        raise InvalidInput({"covariate": [f"{min(both)!r} stands among the dimensions too"]})


def _refuse_repeated(columns: list[str], what: str) -> None:
    for column, times in Counter(columns).items():
        if times > 1:
            raise InvalidInput({"column": [f"{column!r} is named more than once as {what}"]})
