"""`statsig-python-core`, written in Rust: specs from a data store, exposures flushed to a loopback sink."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from statsig_python_core import (
    DataStore,
    DataStoreResponse,
    ExperimentEvaluationOptions,
    Statsig,
    StatsigOptions,
    StatsigUser,
)

from benchmarks.sdk_peers.sink import Sink
from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, NOWHERE, OFF, VARIANTS

NEVER = 3_600_000
SILENTLY = ExperimentEvaluationOptions(disable_exposure_logging=True)


def specs(keys: Sequence[str]) -> dict[str, Any]:
    """The config specs of the experiments ``keys``."""
    conditions = {
        "abroad": _condition("user_field", "none", list(COUNTRIES), field="country"),
        "minor": _condition("user_field", "lt", ADULT, field="age"),
    }
    for key in keys:
        for place, variant in enumerate(VARIANTS, start=1):
            share = 1000 * place // len(VARIANTS)
            conditions[f"{key}-{variant}"] = _condition("user_bucket", "lt", share, additionalValues={"salt": key})
    return {
        "has_updates": True,
        "time": 1_767_225_600_000,
        "feature_gates": {},
        "dynamic_configs": {key: _experiment(key) for key in keys},
        "layer_configs": {},
        "condition_map": conditions,
        "experiment_to_layer": {},
    }


def _condition(kind: str, operator: str, target: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "targetValue": target, "operator": operator, "idType": "userID", **more}


def _experiment(key: str) -> dict[str, Any]:
    groups = [_rule(variant, f"{key}-{variant}", variant, isExperimentGroup=True) for variant in VARIANTS]
    return {
        "type": "dynamic_config",
        "entity": "experiment",
        "salt": key,
        "enabled": True,
        "isActive": True,
        "hasSharedParams": False,
        "idType": "userID",
        "version": 1,
        "defaultValue": {"group": OFF},
        "rules": [_rule("abroad", "abroad", OFF), _rule("minor", "minor", OFF), *groups],
    }


def _rule(name: str, condition: str, group: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "id": name,
        "groupName": name,
        "salt": name,
        "passPercentage": 100,
        "conditions": [condition],
        "returnValue": {"group": group},
        "idType": "userID",
        **more,
    }


class Store(DataStore):
    """Gives the specs."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__()
        self._specs = json.dumps(specs(keys))

    def get(self, key: str) -> DataStoreResponse:  # noqa: ARG002 (the name is the base class's)
        return DataStoreResponse(result=self._specs, time=1_767_225_600_000)


class StatsigPeer:
    """A client with one experiment and one with all, each with a user object per unit."""

    def __init__(self) -> None:
        self._sink = Sink()
        self._single = self._client([EXPERIMENT])
        self._many = self._client(MANY)
        self._counted = 0

    def _client(self, keys: Sequence[str]) -> Statsig:
        options = StatsigOptions(
            data_store=Store(keys),
            specs_url=NOWHERE,
            log_event_url=f"{self._sink.url}/v1/log_event",
            specs_sync_interval_ms=NEVER,
            event_logging_flush_interval_ms=NEVER,
            event_logging_max_queue_size=1_000_000,
            exposure_dedupe_max_keys=1_000_000,
            enable_id_lists=False,
            disable_country_lookup=True,
            output_log_level="none",
        )
        client = Statsig("secret-key", options)
        client.initialize().wait()
        return client

    def evaluate(self, units: Sequence[str]) -> None:
        client = self._single
        for unit in units:
            client.get_experiment(_user(unit, ATTRIBUTES), EXPERIMENT, SILENTLY).get_string("group", OFF)

    def assign(self, units: Sequence[str]) -> None:
        client = self._single
        for unit in units:
            client.get_experiment(_user(unit, ATTRIBUTES), EXPERIMENT).get_string("group", OFF)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        client, user = self._many, _user(unit, ATTRIBUTES)
        return {key: client.get_experiment(user, key, SILENTLY).get_string("group", OFF) for key in MANY}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        return self._single.get_experiment(_user(unit, attributes), EXPERIMENT, SILENTLY).get_string("group", OFF)

    def settle(self) -> int:
        self._single.flush_events().wait()
        received = self._sink.received
        queued, self._counted = received - self._counted, received
        return queued


def _user(unit: str, attributes: Mapping[str, Any]) -> StatsigUser:
    return StatsigUser(user_id=unit, country=attributes["country"], custom={"age": attributes["age"]})


def start() -> StatsigPeer:
    return StatsigPeer()
