"""Metrics to begin from, in sets: what a trade measures, as experts of growth and of risk would define it.

A template that has been installed is a metric like any other; nothing ties it to its template afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from abplatform.domain.checks import KEY, KEY_RULE, Faults
from abplatform.domain.suggestions import suggest
from abplatform.domain.templates.finance_growth import GROWTH
from abplatform.domain.templates.finance_guardrails import GUARDRAILS
from abplatform.domain.templates.template import LANGUAGES, STAGES, Language, Template
from abplatform.errors import InvalidInput

__all__ = [
    "LANGUAGES",
    "SETS",
    "STAGES",
    "TEMPLATES",
    "Language",
    "Template",
    "add_outcomes",
    "check_prefix",
    "choose_set",
    "choose_templates",
    "name_set",
]

SETS: Mapping[str, tuple[Template, ...]] = {"finance-growth": (*GROWTH, *GUARDRAILS)}
TEMPLATES: Mapping[str, Template] = {each.key: each for templates in SETS.values() for each in templates}
"""All templates by key; no two sets share one."""


def choose_set(name: str) -> tuple[Template, ...]:
    """The templates of a set.

    Raises:
        InvalidInput: naming ``set``: there is none of that name.
    """
    if name not in SETS:
        raise InvalidInput({"set": [f"there is no set {name!r}{suggest(name, SETS)}"]})
    return SETS[name]


def choose_templates(
    keys: Sequence[str], among: Sequence[Template] = tuple(TEMPLATES.values()), *, path: str = "templates"
) -> tuple[Template, ...]:
    """The templates of some keys.

    Args:
        keys: in the order of the answer.
        among: those that there are.
        path: of the list, for refusals.

    Raises:
        InvalidInput: naming each key that is not there, or stands there twice.
    """
    faults, known = Faults(), {each.key: each for each in among}
    faults.check(bool(keys), path, "must have at least one")
    for index, key in enumerate(keys):
        if key in keys[:index]:
            faults.add(f"{path}.{index}", f"{key!r} stands here more than once")
        elif key not in known:
            faults.add(f"{path}.{index}", f"there is no template {key!r}{faults.suggest(key, known)}")
    faults.raise_any()
    return tuple(known[key] for key in keys)


def add_outcomes(templates: Iterable[Template]) -> tuple[Template, ...]:
    """Templates with those that their metrics lead to, which come first, each once."""
    found: dict[str, Template] = {}
    for template in templates:
        outcome = template.metric.outcome
        before = () if outcome is None else add_outcomes([TEMPLATES[outcome]])
        found |= {each.key: each for each in (*before, template) if each.key not in found}
    return tuple(found.values())


def name_set(template: Template) -> str:
    """The set that a template belongs to."""
    return next(name for name, templates in SETS.items() if template in templates)


def check_prefix(prefix: str, templates: Sequence[Template]) -> None:
    """Refuse a prefix that does not make keys.

    Raises:
        InvalidInput: naming ``prefix``.
    """
    longest = max((each.key for each in templates), key=len, default="")
    if not KEY.fullmatch(prefix + longest):
        raise InvalidInput({"prefix": [f"makes no key: {prefix + longest!r} {KEY_RULE}"]})
