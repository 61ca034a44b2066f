"""Install templates: make the metrics of a project that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from abplatform.domain.metric import Metric
from abplatform.domain.sameness import say_the_same
from abplatform.domain.suggestions import quote
from abplatform.domain.templates import Language, Template, add_outcomes, check_prefix
from abplatform.errors import AlreadyExists
from abplatform.services.define import create_metric
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What became of templates.

    Attributes:
        created: metrics that are new.
        unchanged: metrics that were there with the same definition.
    """

    created: tuple[StoredMetric, ...]
    unchanged: tuple[StoredMetric, ...]


def install_templates(
    work: Work,
    project: str,
    templates: Sequence[Template],
    *,
    now: datetime,
    language: Language = "en",
    prefix: str = "",
) -> Installed:
    """Make the metrics of templates, all or none; doing it again changes nothing.

    A metric of the same key is left as it is if it counts the same, however it is called.

    Args:
        work: the transaction.
        project: key of the project.
        templates: those that they lead to come along.
        now: the present time.
        language: of names and descriptions.
        prefix: of all keys.

    Raises:
        InvalidInput: the prefix makes no keys.
        AlreadyExists: the project has other metrics of some of the keys; the sentence names them.
        NotFound: there is no such project.
    """
    templates = add_outcomes(templates)
    check_prefix(prefix, templates)
    work.projects.lock(project)
    known = {stored.key: stored for stored in work.metrics.all(project)}
    metrics = [template.make_metric(language, prefix=prefix) for template in templates]
    others = [each.key for each in metrics if each.key in known and not _count_alike(each, known[each.key].metric)]
    if others:
        raise AlreadyExists(
            f"the project counts something else under {quote(others)}; nothing was made: "
            "install under another prefix, or only the templates that you lack"
        )
    created = [create_metric(work, project, each, now=now) for each in metrics if each.key not in known]
    unchanged = [known[each.key] for each in metrics if each.key in known]
    return Installed(created=tuple(created), unchanged=tuple(unchanged))


def _count_alike(one: Metric, other: Metric) -> bool:
    return say_the_same(replace(one, name="", description=""), replace(other, name="", description=""))
