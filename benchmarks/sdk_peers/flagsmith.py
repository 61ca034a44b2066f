"""`flagsmith`: local evaluation of an environment document, events buffered and never due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flagsmith import Flagsmith
from flagsmith.analytics import EventProcessorConfig
from urllib3 import Retry

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, NOWHERE, OFF, VARIANTS

NEVER = 86_400
SEGMENT = 1


def environment(keys: Sequence[str]) -> dict[str, Any]:
    """The environment document of the experiments ``keys``: multivariate features for a segment of adults."""
    conditions = [
        {"property_": "country", "operator": "IN", "value": ",".join(COUNTRIES)},
        {"property_": "age", "operator": "GREATER_THAN_INCLUSIVE", "value": str(ADULT)},
    ]
    segment = {
        "id": SEGMENT,
        "name": "adults",
        "rules": [{"type": "ALL", "conditions": conditions, "rules": []}],
        "feature_states": [_state(number, key, split=True) for number, key in enumerate(keys, start=1)],
    }
    return {
        "api_key": "ser.key",
        "name": "benchmark",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "project": {"id": 1, "name": "benchmark", "segments": [segment]},
        "feature_states": [_state(number, key, split=False) for number, key in enumerate(keys, start=1)],
        "identity_overrides": [],
    }


def _state(number: int, key: str, *, split: bool) -> dict[str, Any]:
    values = [
        {
            "id": 2 * number + place,
            "mv_fs_value_uuid": f"00000000-0000-0000-0000-{2 * number + place:012d}",
            "multivariate_feature_option": {"value": variant, "key": variant},
            "percentage_allocation": 50.0,
        }
        for place, variant in enumerate(VARIANTS)
    ]
    return {
        "enabled": True,
        "feature": {"id": number, "name": key},
        "feature_state_value": OFF,
        "featurestate_uuid": f"00000000-0000-0000-{int(split):04d}-{number:012d}",
        "feature_segment": {"priority": 0} if split else None,
        "multivariate_feature_state_values": values if split else [],
    }


class Document:
    """Gives the environment document."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys

    def get_environment(self) -> Any:
        return environment(self._keys)


class FlagsmithPeer:
    """Exposures are tracked by the product itself, as local evaluation knows no experiments."""

    def __init__(self) -> None:
        self._client = self._open([EXPERIMENT])
        self._many = self._open(MANY)

    def _open(self, keys: Sequence[str]) -> Flagsmith:
        return Flagsmith(
            environment_key="ser.key",
            api_url=f"{NOWHERE}/api/v1/",
            enable_local_evaluation=True,
            environment_refresh_interval_seconds=NEVER,
            retries=Retry(0),
            offline_handler=Document(keys),
            enable_events=True,
            event_processor_config=EventProcessorConfig(
                events_api_url=NOWHERE, max_buffer_items=1_000_000, flush_interval_seconds=NEVER
            ),
        )

    def evaluate(self, units: Sequence[str]) -> None:
        client, traits = self._client, dict(ATTRIBUTES)
        for unit in units:
            client.get_identity_flags(unit, traits).get_feature_value(EXPERIMENT)

    def assign(self, units: Sequence[str]) -> None:
        client, traits = self._client, dict(ATTRIBUTES)
        for unit in units:
            value = client.get_identity_flags(unit, traits).get_feature_value(EXPERIMENT)
            client.track_exposure_event(EXPERIMENT, unit, value)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        flags = self._many.get_identity_flags(unit, dict(ATTRIBUTES))
        return {flag.feature_name: flag.value for flag in flags.all_flags()}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        return str(self._client.get_identity_flags(unit, dict(attributes)).get_feature_value(EXPERIMENT))

    def settle(self) -> int:
        processor: Any = self._client._event_processor  # noqa: SLF001 (nothing else tells what is buffered)
        buffer, seen = processor._buffer, processor._buffered_exposure_keys  # noqa: SLF001 (as above)
        queued = len(buffer)
        buffer.clear()
        seen.clear()
        return queued


def start() -> FlagsmithPeer:
    return FlagsmithPeer()
