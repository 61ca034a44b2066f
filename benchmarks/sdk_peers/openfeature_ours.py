"""`openfeature-sdk` with the provider of `abplatform_sdk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from abplatform_sdk import Client
from abplatform_sdk.openfeature import AbplatformProvider
from openfeature.evaluation_context import EvaluationContext

from benchmarks.sdk_peers.openfeature import client, decide, decide_many
from benchmarks.sdk_peers.ours import Clients
from benchmarks.sdk_peers.snapshots import document
from benchmarks.sdk_peers.work import EXPERIMENT, MANY, OFF, VARIANTS


class Provider:
    """With and without exposures. The payloads are the names of the variants, as in the in-memory provider."""

    def __init__(self) -> None:
        self._clients = Clients(document([EXPERIMENT], VARIANTS))
        self._silent = client("silent", AbplatformProvider(self._clients.open(), log_exposures=False))
        many = Clients(document(MANY, VARIANTS)).open()
        self._many = client("many", AbplatformProvider(many, log_exposures=False))
        self._open()

    def _open(self) -> None:
        self._own: Client = self._clients.open()
        self._logging = client("logging", AbplatformProvider(self._own))

    def evaluate(self, units: Sequence[str]) -> None:
        decide(self._silent, units)

    def assign(self, units: Sequence[str]) -> None:
        decide(self._logging, units)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        return decide_many(self._many, unit)

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        details = self._silent.get_string_details(EXPERIMENT, OFF, EvaluationContext(unit, attributes))
        return details.value if details.flag_metadata.get("in_experiment") else OFF

    def settle(self) -> int:
        stats = self._own.stats()
        if stats.dropped or stats.evaluation_errors:
            raise RuntimeError(f"exposures were dropped: {stats}")
        self._own.close(0)
        self._open()
        return stats.produced


def start() -> Provider:
    return Provider()
