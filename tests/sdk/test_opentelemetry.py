"""The OpenTelemetry hook: what an evaluation leaves on a span, read back from OpenTelemetry's own SDK."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from abplatform_sdk.opentelemetry import OpenTelemetryHook
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.hook import Hook
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import feature_flag_attributes as convention
from opentelemetry.semconv.attributes import error_attributes

from tests.sdk.flagged import an_experiment, details, flags

PHONE = EvaluationContext("+86 138 0000 0000", {"phone": "+86 138 0000 0000"})


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    api.shutdown()


def spans_of(asked: OpenFeatureClient, key: str, default: Any, context: EvaluationContext = PHONE) -> Any:
    """What was exported of a span in which one flag was evaluated."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("request"):
        details(asked, key, default, context)
    (span,) = exporter.get_finished_spans()
    provider.shutdown()
    return span


def asked_with(hook: Hook) -> OpenFeatureClient:
    asked, _ = flags(an_experiment({"copy": "mine", "deep": {}}, {"copy": "other"}))
    asked.add_hooks([hook])
    return asked


def test_an_evaluation_is_an_event_of_its_span_without_the_persons_id_or_the_value() -> None:
    span = spans_of(asked_with(OpenTelemetryHook()), "e.copy", "default")
    (event,) = span.events
    assert event.name == "feature_flag.evaluation"
    assert dict(event.attributes) == {
        convention.FEATURE_FLAG_KEY: "e.copy",
        convention.FEATURE_FLAG_PROVIDER_NAME: "abplatform",
        convention.FEATURE_FLAG_RESULT_REASON: "split",
        convention.FEATURE_FLAG_RESULT_VARIANT: "v1",
        convention.FEATURE_FLAG_SET_ID: "test",
        convention.FEATURE_FLAG_VERSION: "1",
    }
    assert "138 0000" not in span.to_json()


def test_an_error_has_its_type_and_message_and_the_default_that_was_served() -> None:
    (event,) = spans_of(asked_with(OpenTelemetryHook()), "none", True).events
    assert dict(event.attributes) == {
        convention.FEATURE_FLAG_KEY: "none",
        convention.FEATURE_FLAG_PROVIDER_NAME: "abplatform",
        convention.FEATURE_FLAG_RESULT_REASON: "error",
        convention.FEATURE_FLAG_RESULT_VALUE: True,
        convention.FEATURE_FLAG_SET_ID: "test",
        convention.FEATURE_FLAG_VERSION: "1",
        convention.FEATURE_FLAG_ERROR_MESSAGE: "no experiment of that key is published",
        error_attributes.ERROR_TYPE: "flag_not_found",
    }


def test_an_object_that_was_served_by_default_is_not_written() -> None:
    (event,) = spans_of(asked_with(OpenTelemetryHook()), "none", {"large": "x" * 1000}).events
    assert convention.FEATURE_FLAG_RESULT_VALUE not in event.attributes


def test_a_hook_of_the_product_that_quotes_the_person_is_not_repeated() -> None:
    class Quoting(Hook):
        def before(self, hook_context: Any, hints: Any) -> None:
            raise ValueError(f"unknown customer {hook_context.evaluation_context.targeting_key}")

    asked = asked_with(OpenTelemetryHook())
    asked.add_hooks([Quoting()])
    span = spans_of(asked, "e.copy", "default")
    assert span.events[0].attributes[error_attributes.ERROR_TYPE] == "general"
    assert "138 0000" not in span.to_json()


def test_the_product_may_name_the_unit_as_it_likes() -> None:
    hook = OpenTelemetryHook(context_id=lambda unit: hashlib.sha256(b"pepper" + unit.encode()).hexdigest())
    span = spans_of(asked_with(hook), "e.copy", "default")
    written = span.events[0].attributes[convention.FEATURE_FLAG_CONTEXT_ID]
    assert written == hashlib.sha256(b"pepper+86 138 0000 0000").hexdigest()
    assert "138 0000" not in span.to_json()
    nobody = spans_of(asked_with(hook), "e.copy", "default", EvaluationContext())
    assert convention.FEATURE_FLAG_CONTEXT_ID not in nobody.events[0].attributes


def test_without_a_span_nothing_happens() -> None:
    asked = asked_with(OpenTelemetryHook())
    assert asked.get_string_value("e.copy", "default", PHONE) == "mine"
