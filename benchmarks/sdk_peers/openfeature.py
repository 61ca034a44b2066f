"""`openfeature-sdk` with its in-memory provider, which is given the bare hash; exposures by a hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails, Reason
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import AbstractProvider
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, OFF, VARIANTS


def flags(keys: Sequence[str]) -> dict[str, InMemoryFlag[str]]:
    """The experiments ``keys`` as flags that evaluate their context."""
    return {key: _flag(number) for number, key in enumerate(keys)}


def _flag(number: int) -> InMemoryFlag[str]:
    prefix = b"16:%016x" % number

    def evaluate(flag: InMemoryFlag[str], context: EvaluationContext) -> FlagResolutionDetails[str]:
        attributes: Mapping[str, Any] = context.attributes
        if attributes.get("country") not in COUNTRIES or attributes.get("age", 0) < ADULT:
            return FlagResolutionDetails(OFF, reason=Reason.DEFAULT)
        digest = sha256(prefix + (context.targeting_key or "").encode()).hexdigest()
        variant = VARIANTS[int(digest[:13], 16) % 1_000_000 >= 500_000]
        return FlagResolutionDetails(flag.variants[variant], reason=Reason.SPLIT, variant=variant)

    return InMemoryFlag(OFF, {variant: variant for variant in (*VARIANTS, OFF)}, context_evaluator=evaluate)


class Exposures(Hook):
    """Appends what was decided."""

    def __init__(self) -> None:
        self.queue: list[tuple[str | None, str | None]] = []

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:  # noqa: ARG002
        self.queue.append((hook_context.evaluation_context.targeting_key, details.variant))


def client(domain: str, provider: AbstractProvider) -> OpenFeatureClient:
    """A client of the provider; each domain has its own."""
    api.set_provider_and_wait(provider, domain)
    return api.get_client(domain)


def decide(client: OpenFeatureClient, units: Sequence[str]) -> None:
    """Decide the experiment for each unit, whose context is made here."""
    for unit in units:
        client.get_string_value(EXPERIMENT, OFF, EvaluationContext(unit, ATTRIBUTES))


def decide_many(client: OpenFeatureClient, unit: str) -> Mapping[str, object]:
    """Decide all experiments for one unit."""
    context = EvaluationContext(unit, ATTRIBUTES)
    return {key: client.get_string_value(key, OFF, context) for key in MANY}


class OpenFeature:
    """With and without the hook."""

    def __init__(self) -> None:
        self._exposures = Exposures()
        self._silent = client("silent", InMemoryProvider(flags([EXPERIMENT])))
        self._logging = client("logging", InMemoryProvider(flags([EXPERIMENT])))
        self._logging.add_hooks([self._exposures])
        self._many = client("many", InMemoryProvider(flags(MANY)))

    def evaluate(self, units: Sequence[str]) -> None:
        decide(self._silent, units)

    def assign(self, units: Sequence[str]) -> None:
        decide(self._logging, units)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        return decide_many(self._many, unit)

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        return self._silent.get_string_value(EXPERIMENT, OFF, EvaluationContext(unit, attributes))

    def settle(self) -> int:
        queued = len(self._exposures.queue)
        self._exposures.queue.clear()
        return queued


def start() -> OpenFeature:
    return OpenFeature()
