"""Clients of OpenFeature, for tests of the provider."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from abplatform_sdk import Client, testing
from abplatform_sdk.openfeature import AbplatformProvider
from abplatform_sdk.testing import TestingClient
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagType

U1 = EvaluationContext("u-1")

_domains = itertools.count()


def an_experiment(payload: Any, *others: Any, key: str = "e", **fields: Any) -> dict[str, Any]:
    """An experiment that gives everybody its last variant, whose payload is the first argument; others come before."""
    payloads = {f"v{position}": value for position, value in enumerate((*others, payload))}
    weights = {**dict.fromkeys(payloads, 0.0), f"v{len(others)}": 1.0}
    return testing.experiment(key, variants=payloads, weights=weights, **fields)


def bind(provider: AbplatformProvider) -> OpenFeatureClient:
    """A client of the provider, in a domain of its own."""
    domain = f"test-{next(_domains)}"
    api.set_provider_and_wait(provider, domain)
    return api.get_client(domain)


def flags(*experiments: dict[str, Any], **options: Any) -> tuple[OpenFeatureClient, TestingClient]:
    """A client of OpenFeature, and the one behind it that keeps its events."""
    client = testing.client(snapshot=testing.snapshot(*experiments))
    return bind(AbplatformProvider(client, **options)), client


def details(
    client: OpenFeatureClient, key: str, default: Any, context: EvaluationContext | None = U1
) -> FlagEvaluationDetails[Any]:
    """What is answered to a question of the type of its default."""
    types = {bool: FlagType.BOOLEAN, str: FlagType.STRING, int: FlagType.INTEGER, float: FlagType.FLOAT}
    answer: FlagEvaluationDetails[Any] = client.evaluate_flag_details(
        types.get(type(default), FlagType.OBJECT), key, default, context
    )
    return answer


def offline(document: dict[str, Any] | Iterable[dict[str, Any]]) -> AbplatformProvider:
    """A provider that decides from a document for ever."""
    return AbplatformProvider(
        Client.from_snapshot(document if isinstance(document, dict) else testing.snapshot(*document))
    )
