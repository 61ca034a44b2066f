"""How products use the OpenFeature provider, as the type checker sees it. Read by mypy, never run."""

from typing import assert_type

from abplatform_sdk import Client
from abplatform_sdk.openfeature import AbplatformProvider
from abplatform_sdk.opentelemetry import OpenTelemetryHook
from abplatform_sdk.testing import TestingClient
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import FeatureProvider
from openfeature.track import TrackingEventDetails

provider = AbplatformProvider.connect("http://localhost:8080", "key", init_timeout=2.5, poll_interval=5)
assert_type(provider, AbplatformProvider)
follows_the_protocol: FeatureProvider = provider
AbplatformProvider(Client("http://localhost:8080", "key"), log_exposures=False)
AbplatformProvider(TestingClient(variants={"rate-display": "treatment"}))
AbplatformProvider("http://localhost:8080")  # type: ignore[arg-type]
AbplatformProvider(Client("http://localhost:8080", "key"), False)  # type: ignore[call-arg]
AbplatformProvider.connect("http://localhost:8080", "key", pol_interval=5)  # type: ignore[call-arg]
AbplatformProvider.connect("http://localhost:8080")  # type: ignore[call-arg]

api.set_provider_and_wait(provider, "shop")
api.add_hooks([OpenTelemetryHook(), OpenTelemetryHook(context_id=lambda unit: unit[:2])])
OpenTelemetryHook(lambda unit: unit)  # type: ignore[call-arg]
OpenTelemetryHook(context_id=len)  # type: ignore[arg-type]

client = api.get_client("shop")
context = EvaluationContext("u-1", {"country": "CN", "units": {"device_id": "d-1"}})
assert_type(client.get_boolean_value("new-checkout", False, context), bool)
assert_type(client.get_string_value("rate-display.copy", "3.5% a year", context), str)
client.track("purchase", context, TrackingEventDetails(350.0, {"product": "term-deposit"}))

assert_type(provider.resolve_boolean_details("new-checkout", False, context), FlagResolutionDetails[bool])
assert_type(provider.resolve_string_details("rate-display.copy", "", context), FlagResolutionDetails[str])
assert_type(provider.resolve_integer_details("limits.days", 30, context), FlagResolutionDetails[int])
assert_type(provider.resolve_float_details("limits.rate", 3.5), FlagResolutionDetails[float])
provider.resolve_integer_details("limits.days", "30")  # type: ignore[arg-type]
