"""`eppo-server-sdk`, whose evaluator is written in Rust: configuration from memory, no poller."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import eppo_client

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, NOWHERE, OFF, VARIANTS


def configuration(keys: Sequence[str], *, log: bool) -> bytes:
    """The universal flag configuration of the experiments ``keys``; ``log`` says whether assignments are logged."""
    document = {
        "createdAt": "2026-01-01T00:00:00.000Z",
        "format": "SERVER",
        "environment": {"name": "benchmark"},
        "flags": {key: _flag(key, log=log) for key in keys},
        "bandits": {},
    }
    return json.dumps(document).encode()


def _flag(key: str, *, log: bool) -> dict[str, Any]:
    conditions = [
        {"attribute": "country", "operator": "ONE_OF", "value": list(COUNTRIES)},
        {"attribute": "age", "operator": "GTE", "value": ADULT},
    ]
    splits = [
        {
            "variationKey": variant,
            "shards": [{"salt": f"{key}-split", "ranges": [{"start": 5000 * place, "end": 5000 * (place + 1)}]}],
        }
        for place, variant in enumerate(VARIANTS)
    ]
    return {
        "key": key,
        "enabled": True,
        "variationType": "STRING",
        "variations": {variant: {"key": variant, "value": variant} for variant in VARIANTS},
        "allocations": [{"key": "adults", "rules": [{"conditions": conditions}], "splits": splits, "doLog": log}],
        "totalShards": 10_000,
    }


class Logger(eppo_client.AssignmentLogger):
    """Appends what the SDK reports: a logger can hardly do less."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[object] = []

    def log_assignment(self, event: dict[str, Any]) -> None:
        self.queue.append(event)


class Eppo:
    """Whether an assignment is logged is a property of the flag, hence a client with and one without."""

    def __init__(self) -> None:
        self._logger = Logger()
        self._silent = self._client([EXPERIMENT], log=False)
        self._logging = self._client([EXPERIMENT], log=True)
        self._many = self._client(MANY, log=False)

    def _client(self, keys: Sequence[str], *, log: bool) -> eppo_client.EppoClient:
        return eppo_client.init(
            eppo_client.ClientConfig(
                api_key="sdk-key",
                base_url=NOWHERE,
                assignment_logger=self._logger,
                poll_interval_seconds=None,
                initial_configuration=eppo_client.Configuration(flags_configuration=configuration(keys, log=log)),
            )
        )

    def evaluate(self, units: Sequence[str]) -> None:
        client = self._silent
        for unit in units:
            client.get_string_assignment(EXPERIMENT, unit, ATTRIBUTES, OFF)

    def assign(self, units: Sequence[str]) -> None:
        client = self._logging
        for unit in units:
            client.get_string_assignment(EXPERIMENT, unit, ATTRIBUTES, OFF)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        client = self._many
        return {key: client.get_string_assignment(key, unit, ATTRIBUTES, OFF) for key in MANY}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        return self._silent.get_string_assignment(EXPERIMENT, unit, attributes, OFF)

    def settle(self) -> int:
        queued = len(self._logger.queue)
        self._logger.queue.clear()
        return queued


def start() -> Eppo:
    return Eppo()
