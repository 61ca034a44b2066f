"""Say more about a flag that has no value than an evaluator could: what to send, what to start, what was meant."""

from __future__ import annotations

import json

from abplatform.assignment import ExperimentRule
from abplatform.assignment.flags import FlagError, FlagResolution
from abplatform.domain.suggestions import suggest
from abplatform.services.assign import TARGETING_KEY, UNITS, Published
from abplatform.services.publish import why_unpublished
from abplatform.storage.session import UnitOfWork


def explain_unknown(resolution: FlagResolution, published: Published, uow: UnitOfWork) -> FlagResolution:
    """The resolution of a flag, with why its experiment is not published, if that is what is wrong.

    Raises:
        Unavailable: the database does not answer.
    """
    key = resolution.evaluation.experiment
    if resolution.error_code != FlagError.FLAG_NOT_FOUND or key in published.snapshot.experiments:
        return resolution
    with uow.reading() as work:
        experiment = work.experiments.find(published.snapshot.project, key)
    if experiment is None:
        return resolution._replace(message=f"{resolution.message}{suggest(key, published.snapshot.experiments)}")
    return resolution._replace(message=why_unpublished(experiment) or resolution.message)


def explain_no_unit(resolution: FlagResolution, published: Published, *, has_context: bool) -> FlagResolution:
    """The resolution of a flag, with where in a request of the protocol its id belongs, if that is missing.

    Args:
        has_context: whether the request has a context.
    """
    rule = published.snapshot.experiments.get(resolution.evaluation.experiment)
    if resolution.error_code != FlagError.TARGETING_KEY_MISSING or not isinstance(rule, ExperimentRule):
        return resolution
    is_default = rule.unit_type == published.snapshot.unit_type
    path = (TARGETING_KEY,) if is_default else (UNITS, rule.unit_type)
    what = f"the id of the unit type {rule.unit_type}, which this experiment is drawn by"
    if has_context:
        return resolution._replace(message=f"context.{'.'.join(path)}: is missing or empty; it must be {what}")
    example: object = "..."
    for name in reversed(("context", *path)):
        example = {name: example}
    return resolution._replace(message=f"context: is missing; send {json.dumps(example)} with {what}")
