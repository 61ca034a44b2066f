"""What a template of a metric is: a definition with words in two languages, and the events that it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from abplatform.domain.experiment import Amount
from abplatform.domain.metric import Metric

Language = Literal["en", "zh"]
Stage = Literal["acquisition", "activation", "retention", "revenue", "referral", "guardrail"]
PropertyType = Literal["string", "number", "boolean"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")
PROPERTY_TYPES: tuple[PropertyType, ...] = ("string", "number", "boolean")
STAGES: tuple[Stage, ...] = ("acquisition", "activation", "retention", "revenue", "referral", "guardrail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The same words in each language."""

    en: str
    zh: str

    def say(self, language: Language) -> str:
        """The words in a language."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedProperty:
    """A property of an event that a template reads."""

    type: PropertyType
    meaning: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEvent:
    """What a product sends so that metrics can be made of it.

    Attributes:
        name: of the conversion events.
        meaning: when it is sent, and about whom.
        value: what its number is, with the unit; None where it has none.
        properties: by name.
    """

    name: str
    meaning: Words
    value: Words | None = None
    properties: Mapping[str, ExpectedProperty] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A metric to begin from.

    Attributes:
        stage: where in the life of a customer it belongs.
        metric: with words in English.
        name_zh, description_zh: the same words in Chinese.
        events: what is sent for it.
        margin: how much worse it may be at most as a guardrail; a proposal.
    """

    stage: Stage
    metric: Metric
    name_zh: str
    description_zh: str
    events: tuple[ExpectedEvent, ...]
    margin: Amount | None = None

    @property
    def key(self) -> str:
        """Name of the template, and of the metric where no prefix is asked for."""
        return self.metric.key

    def make_metric(self, language: Language = "en", *, prefix: str = "") -> Metric:
        """The metric, with words in one language.

        Args:
            language: of name and description.
            prefix: of its key, and of the key of its outcome.
        """
        outcome = None if self.metric.outcome is None else prefix + self.metric.outcome
        made = replace(self.metric, key=prefix + self.key, outcome=outcome)
        return made if language == "en" else replace(made, name=self.name_zh, description=self.description_zh)
