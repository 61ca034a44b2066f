"""Lists on the wire: what selects them, and their pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import marshmallow
from marshmallow import fields, post_load, validate

from abplatform.api.schemas.fields import Document, Strict, Text, choice
from abplatform.domain.checks import KEY, KEY_RULE
from abplatform.domain.experiment import STATUSES
from abplatform.domain.holdout import HOLDOUT_METHODS
from abplatform.domain.horizons import COHORTS, MOST_DAYS, USUAL_DAYS, VIEWS
from abplatform.domain.plan import METHODS
from abplatform.services.trace import CurveQuestion

MOST_ITEMS = 200
_DIGITS = validate.Regexp(r"\A[0-9]{1,6}\Z", error="must be a whole number")


class QueryNumber(fields.Integer):
    """A whole number in a query string, where everything is text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        _DIGITS(value)
        return super()._deserialize(value, attr, data, **kwargs)


class PageQuery(Strict):
    """Which part of a list."""

    limit = QueryNumber(
        load_default=50,
        validate=validate.Range(1, MOST_ITEMS, error=f"must be from 1 to {MOST_ITEMS}"),
        metadata={"description": "most items to give"},
    )
    cursor = Text(
        load_default=None,
        validate=validate.Length(min=1, max=500, error="is not a cursor that a list gave"),
        metadata={"description": "`next_cursor` of the page before"},
    )


class ExperimentQuery(PageQuery):
    """Which experiments."""

    status = Text(
        load_default=None,
        validate=validate.OneOf(STATUSES, error=f"must be one of {', '.join(STATUSES)}"),
        metadata=choice(STATUSES),
    )


class VersionQuery(Strict):
    """Which version of a metric or behaviour."""

    version = QueryNumber(
        load_default=None,
        validate=validate.Range(1, error="must be at least 1"),
        metadata={"description": "the newest by default"},
    )


class LooksQuery(Strict):
    """Which looks at an experiment."""

    phase = QueryNumber(
        load_default=None,
        validate=validate.Range(1, error="must be at least 1"),
        metadata={"description": "the current one by default"},
    )


class ResultsQuery(LooksQuery):
    """What to see of the results of an experiment."""

    method = Text(
        load_default=None,
        metadata=choice(METHODS, description="another method than the plan's is exploratory: it decides nothing"),
    )
    metric = Text(
        load_default=None,
        validate=validate.Regexp(KEY.pattern + r"\Z", error=KEY_RULE),
        metadata={"description": "only this metric"},
    )

    @marshmallow.validates("method")
    def _check_method(self, value: str | None, **_: Any) -> None:
        if value is not None and value not in METHODS:
            raise marshmallow.ValidationError(f"must be one of {', '.join(METHODS)}")


class DayList(Text):
    """Whole numbers of days in a query string, with commas between."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[int, ...]:  # type: ignore[override]
        days = super()._deserialize(value, attr, data, **kwargs).split(",")
        for day in days:
            _DIGITS(day)
        return tuple(int(day) for day in days)


class CurveQuery(ResultsQuery):
    """Which metric by which days since the first exposure."""

    metric = Text(
        required=True,
        validate=validate.Regexp(KEY.pattern + r"\Z", error=KEY_RULE),
        metadata={"description": "of the experiment: a conversion, count, sum or ratio"},
    )
    days = DayList(
        load_default=None,
        metadata={
            "description": f"1 to {MOST_DAYS} days since the first exposure, rising, with commas between: `7,30,90`; "
            f"by default {', '.join(map(str, USUAL_DAYS))}, as far as any unit has been followed"
        },
    )
    view = Text(
        load_default="cumulative",
        metadata=choice(VIEWS, description="everything until a day, or what came between one day and the next"),
    )
    cohort = Text(
        load_default="followed",
        metadata=choice(COHORTS, description="at each day all units followed so long, or at all days the same ones"),
    )

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> CurveQuestion:
        return CurveQuestion(**data)


class BreakdownQuery(ResultsQuery):
    """By what to slice the results of an experiment."""

    by = Text(
        required=True,
        validate=validate.Length(min=1, max=80, error="must be 1 to 80 characters"),
        metadata={
            "description": "a dimension of the experiment, a behaviour (`rfm`, or `rfm@2` for its second version), "
            "exposure_day, exposure_week, exposure_month, or another experiment (`experiment:KEY`)"
        },
    )


class InteractionsQuery(LooksQuery):
    """Interactions of an experiment with which others."""

    other = Text(
        data_key="with",
        load_default=None,
        validate=validate.Regexp(KEY.pattern + r"\Z", error=KEY_RULE),
        metadata={"description": "key of one other experiment; all that ran at the same time by default"},
    )


class HoldoutQuery(Strict):
    """What to see of a holdout."""

    metric = Text(
        required=True,
        metadata={"description": "keys of 1 to 20 metrics, with commas between them: `deposit,loan`"},
    )
    method = Text(
        load_default="sequential",
        metadata=choice(HOLDOUT_METHODS, description="`sequential` may be watched, `fixed` holds at one look"),
    )


class PortfolioQuery(Strict):
    """Past experiments on which metric."""

    metric = Text(
        required=True,
        validate=validate.Regexp(KEY.pattern + r"\Z", error=KEY_RULE),
        metadata={"description": "key of the metric"},
    )


@cache
def page_of(document: type[marshmallow.Schema]) -> type[Document]:
    """The schema of a page of documents: one for each kind of them."""
    name = document.__name__.removesuffix("Document") + "Page"
    parts = {
        "items": fields.List(fields.Nested(document), required=True),
        "next_cursor": fields.String(
            required=True, allow_none=True, metadata={"description": "of the next page; null on the last"}
        ),
    }
    return type(name, (Document,), {"__doc__": f"A page of a list of {name.removesuffix('Page').lower()}s.", **parts})


class ProblemSchema(Document):
    """Why a request was refused (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True, metadata={"description": "the phrase of the HTTP status"})
    status = fields.Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "a sentence for people"})
    code = fields.String(required=True, metadata={"description": "stable reason in UPPER_SNAKE; see docs/http-api.md"})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "messages by dotted path of the field, such as `variants.0.weight`"},
    )
