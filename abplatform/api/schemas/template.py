"""Templates of metrics on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from marshmallow import fields, post_load, validate

from abplatform.api.schemas.experiment import AmountSchema
from abplatform.api.schemas.fields import Document, Items, Part, Strict, Text, choice
from abplatform.api.schemas.metric import MetricChanges, MetricDocument, definition_document, metric_document
from abplatform.domain.templates import LANGUAGES, STAGES, Language, Template, choose_set, choose_templates, name_set
from abplatform.domain.templates.template import PROPERTY_TYPES, ExpectedEvent
from abplatform.errors import InvalidInput
from abplatform.services.install import Installed


def _language() -> Text:
    return Text(
        load_default="en",
        validate=validate.OneOf(LANGUAGES, error=f"must be one of {', '.join(LANGUAGES)}"),
        metadata=choice(LANGUAGES, default="en", description="of names and descriptions"),
    )


class TemplateQuery(Strict):
    """In which language to show a template."""

    lang = _language()


class TemplatesQuery(TemplateQuery):
    """Which templates to show."""

    set = Text(load_default=None, metadata={"description": "only this set, such as finance-growth"})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallRequest:
    """Which metrics to make."""

    templates: tuple[Template, ...]
    language: Language
    prefix: str


class InstallSchema(Strict):
    """Which templates to make metrics of: a whole set, or some by their keys."""

    set = Text(metadata={"description": "a whole set, such as finance-growth"})
    templates = Items(Text(), metadata={"description": "keys of templates; those that they lead to come along"})
    lang = _language()
    prefix = Text(load_default="", metadata={"default": "", "description": "of the keys of the metrics"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> InstallRequest:
        if ("set" in data) == ("templates" in data):
            raise InvalidInput({"set": ["name either a set, or templates"]})
        templates = choose_set(data["set"]) if "set" in data else choose_templates(data["templates"])
        return InstallRequest(templates=templates, language=data["lang"], prefix=data["prefix"])


class ExpectedPropertyDocument(Document):
    """A property that the metric reads."""

    name = Text()
    type = Text(metadata=choice(PROPERTY_TYPES))
    meaning = Text()


class ExpectedEventDocument(Document):
    """An event that the metric reads."""

    event = Text()
    meaning = Text()
    value = Text(allow_none=True, metadata={"description": "what its number is, with the unit"})
    properties = fields.List(fields.Nested(ExpectedPropertyDocument))


class DefinedMetricDocument(MetricChanges, Document):
    """What makes the metric, as POST /metrics takes it."""

    key = Text()


class TemplateDocument(Document):
    """A metric to begin from."""

    key = Text()
    set = Text()
    stage = Text(metadata=choice(STAGES))
    name = Text()
    description = Text()
    metric = fields.Nested(DefinedMetricDocument)
    non_inferiority_margin = Part(
        AmountSchema, allow_none=True, metadata={"description": "of a guardrail: a proposal, for MetricUse"}
    )
    events = fields.List(fields.Nested(ExpectedEventDocument))


class TemplatesDocument(Document):
    """Templates, in the order of a customer's life."""

    items = fields.List(fields.Nested(TemplateDocument), required=True)


class InstalledDocument(Document):
    """What became of the templates."""

    created = fields.List(fields.Nested(MetricDocument), required=True)
    unchanged = fields.List(
        fields.Nested(MetricDocument), required=True, metadata={"description": "were there, with the same definition"}
    )


def template_document(template: Template, language: Language) -> dict[str, Any]:
    """The document of a template."""
    metric = template.make_metric(language)
    return {
        "key": template.key,
        "set": name_set(template),
        "stage": template.stage,
        "name": metric.name,
        "description": metric.description,
        "metric": definition_document(metric),
        "non_inferiority_margin": msgspec.to_builtins(template.margin),
        "events": [_event_document(each, language) for each in template.events],
    }


def installed_document(installed: Installed) -> dict[str, Any]:
    """The document of what became of templates."""
    return {
        "created": [metric_document(each) for each in installed.created],
        "unchanged": [metric_document(each) for each in installed.unchanged],
    }


def _event_document(event: ExpectedEvent, language: Language) -> dict[str, Any]:
    return {
        "event": event.name,
        "meaning": event.meaning.say(language),
        "value": None if event.value is None else event.value.say(language),
        "properties": [
            {"name": name, "type": each.type, "meaning": each.meaning.say(language)}
            for name, each in event.properties.items()
        ],
    }
