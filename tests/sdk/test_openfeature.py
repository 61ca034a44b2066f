"""The OpenFeature provider: values, types, reasons, errors and exposures, through OpenFeature's own client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import pytest
from abplatform_sdk import Client, testing
from abplatform_sdk.openfeature import AbplatformProvider
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails

from tests.assignment.documents import read_vectors
from tests.assignment.test_flags import PROMISED, carries_nothing
from tests.sdk.flagged import U1, an_experiment, bind, details, flags, offline

VECTORS = read_vectors("evaluations")
BERLIN = timezone(timedelta(hours=1))


class Bomb:
    """An object that fails whatever it is asked."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    api.shutdown()


def ask(provider: AbplatformProvider, key: str, value: Any, context: Any) -> FlagResolutionDetails[Any]:
    """Ask for a flag as the type that its value has."""
    for kind, resolve in (
        (bool, provider.resolve_boolean_details),
        (str, provider.resolve_string_details),
        (int, provider.resolve_integer_details),
        (float, provider.resolve_float_details),
    ):
        if isinstance(value, kind):
            return resolve(key, kind(), context)
    return provider.resolve_object_details(key, {"the": "default"}, context)


def is_usable(case: dict[str, Any]) -> bool:
    units, attributes = case.get("units") or {}, case.get("attributes")
    return isinstance(attributes, dict | None) and all(isinstance(value, str) and value for value in units.values())


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_flag_says_what_the_vectors_of_the_evaluator_say(case: dict[str, Any]) -> None:
    document, expected = VECTORS["snapshots"].get(case["snapshot"]), case["expected"]
    client = Client("http://127.0.0.1:9", "key", cache_dir=None) if document is None else Client.from_snapshot(document)
    attributes = case.get("attributes") or {}
    if case.get("units"):
        attributes = {**attributes, "units": case["units"]}
    if not is_usable(case):
        attributes = case.get("attributes") if isinstance(case.get("attributes"), list) else attributes
    value = expected["payload"]
    if value is None and document is not None and carries_nothing(document["experiments"].get(case["experiment"])):
        value = expected["variant"]
    context = EvaluationContext(case["unit_id"], attributes)
    given = ask(AbplatformProvider(client), case["experiment"], value, context)
    client.close(0)
    if not is_usable(case):
        assert (given.reason, given.error_code) == ("ERROR", "INVALID_CONTEXT")
        return
    assert (given.reason, given.error_code, given.variant) == (*PROMISED[expected["reason"]], expected["variant"])
    assert given.value == ({"the": "default"} if value is None else value)
    metadata = {name: expected[name] for name in ("reason", "in_experiment", "phase") if expected[name] is not None}
    assert metadata.items() <= given.flag_metadata.items()


@pytest.mark.parametrize(
    ("payload", "default", "value"),
    [
        (True, False, True),
        ("", "default", ""),
        (3, 0, 3),
        (-(2**70), 0, -(2**70)),
        (3.5, 0.0, 3.5),
        (3, 0.0, 3.0),
        (2**53, 0.0, 9007199254740992.0),
        ({"a": [1]}, {}, {"a": [1]}),
        ([1, {"a": None}], [], [1, {"a": None}]),
        ([], {"a": 1}, []),
    ],
)
def test_a_value_is_given_as_the_type_that_was_asked_for(payload: Any, default: Any, value: Any) -> None:
    answer = details(bind(offline([an_experiment(payload, None)])), "e", default)
    assert (answer.value, type(answer.value)) == (value, type(value))
    assert (answer.variant, answer.reason, answer.error_code) == ("v1", "SPLIT", None)


@pytest.mark.parametrize(
    ("payload", "default"),
    [
        (True, 7),
        (1, False),
        (True, 7.5),
        (3.0, 7),
        (3.5, 7),
        (2**53 + 1, 7.5),  # no float is equal to it
        (10**400, 7.5),
        ("3", 7),
        ("true", False),
        (3, "default"),
        ({"a": 1}, "default"),
        ("text", {"a": 1}),
        (0, [1]),
    ],
)
def test_a_value_of_another_type_is_a_mismatch_and_no_exposure(payload: Any, default: Any) -> None:
    asked, client = flags(an_experiment(payload))
    answer = details(asked, "e", default)
    assert (answer.value, answer.error_code, answer.reason) == (default, "TYPE_MISMATCH", "ERROR")
    assert "the value of e is not" in str(answer.error_message)
    assert client.exposures == []


def test_a_path_reads_a_part_of_the_payload_and_is_exposed_with_its_experiment() -> None:
    asked, client = flags(an_experiment({"copy": "10,000 earns 350", "button": {"px": 3, "colour": "red"}}))
    assert asked.get_string_value("e.copy", "default", U1) == "10,000 earns 350"
    assert asked.get_integer_value("e.button.px", 0, U1) == 3
    assert asked.get_object_value("e.button", {}, U1) == {"px": 3, "colour": "red"}
    assert [(event["experiment"], event["variant"]) for event in client.exposures] == [("e", "v0")]


@pytest.mark.parametrize(
    ("mine", "key"), [({"copy": None}, "e.copy"), ({}, "e.copy"), (None, "e"), ("text", "e.copy.deeper")]
)
def test_without_a_value_the_default_applies_and_the_variant_is_exposed(mine: Any, key: str) -> None:
    asked, client = flags(an_experiment(mine, {"copy": {"deeper": {"a": 1}}}))
    answer = details(asked, key, {"the": "default"})
    assert (answer.value, answer.variant, answer.reason) == ({"the": "default"}, "v1", "SPLIT")
    assert answer.error_code is None
    assert len(client.exposures) == 1


def test_without_any_payload_the_value_is_the_key_of_the_variant() -> None:
    asked, client = flags(testing.experiment("e", variants=["control"]))
    assert asked.get_string_value("e", "default", U1) == "control"
    assert asked.get_boolean_details("e", False, U1).error_code == "TYPE_MISMATCH"
    assert len(client.exposures) == 1


def test_only_units_whose_variant_fits_are_exposed() -> None:
    asked, client = flags(testing.experiment("e", variants={"control": "text", "treatment": 3}))
    answers = {f"u-{n}": details(asked, "e", "default", EvaluationContext(f"u-{n}")) for n in range(40)}
    fitting = {unit for unit, answer in answers.items() if answer.error_code is None}
    assert {answers[unit].value for unit in fitting} == {"text"}
    assert 0 < len(fitting) < 40
    assert {event["unit_id"] for event in client.exposures} == fitting


def test_a_unit_is_exposed_once_whatever_it_is_asked_as() -> None:
    asked, client = flags(an_experiment({"rate": 3}, dimensions=["channel"]))
    context = EvaluationContext("u-1", {"channel": "app", "phone": "138"})
    for _ in range(3):
        asked.get_integer_value("e.rate", 0, context)
        asked.get_float_value("e.rate", 0.0, context)
        asked.get_object_value("e", {}, context)
    (exposure,) = client.exposures
    assert (exposure["unit_id"], exposure["attributes"]) == ("u-1", {"channel": "app"})


def test_both_groups_of_a_holdout_are_exposed() -> None:
    holdouts = {"q3": {"unit_type": "user_id", "salt": "ab", "range": [0, 500_000]}}
    rule = an_experiment("mine", "other", holdouts=["q3"])
    client = testing.client(snapshot=testing.snapshot(rule, holdouts=holdouts))
    asked = bind(AbplatformProvider(client))
    for n in range(20):
        asked.get_string_value("e", "default", EvaluationContext(f"u-{n}"))
    groups = [event["group"] for event in client.exposures if "holdout" in event]
    assert (len(groups), set(groups)) == (20, {"held_out", "open"})


def test_exposures_can_be_turned_off() -> None:
    asked, client = flags(testing.experiment("e", variants={"control": "text", "treatment": 3}), log_exposures=False)
    for n in range(20):
        asked.get_string_value("e", "default", EvaluationContext(f"u-{n}"))
    assert client.exposures == []


def test_the_platforms_listeners_hear_what_is_resolved() -> None:
    asked, client = flags(an_experiment("text"))
    heard: list[Any] = []
    client.add_listener(heard.append)
    asked.get_string_value("e", "default", U1)
    asked.get_string_value("e", "default", U1)
    assert [decision.variant for decision in heard] == ["v0", "v0"]


@pytest.mark.parametrize(
    ("fields", "context", "reason", "own"),
    [
        ({}, U1, "SPLIT", "ASSIGNED"),
        ({"shipped": "v1"}, U1, "TARGETING_MATCH", "SHIPPED"),
        ({"targeting": {"vip": True}}, U1, "DEFAULT", "NOT_TARGETED"),
        ({"coverage": 0.0}, U1, "DEFAULT", "NOT_IN_COVERAGE"),
        ({"status": "paused"}, U1, "DISABLED", "NOT_RUNNING"),
    ],
)
def test_the_reason_is_told_in_both_languages(
    fields: dict[str, Any], context: EvaluationContext, reason: str, own: str
) -> None:
    asked, client = flags(an_experiment("mine", "other", **fields))
    answer = asked.get_string_details("e", "default", context)
    assert (answer.reason, answer.flag_metadata["reason"]) == (reason, own)
    assert answer.flag_metadata == {
        "experiment": "e",
        "reason": own,
        "in_experiment": own == "ASSIGNED",
        "phase": 1,
        "flagSetId": "test",
        "version": "1",
    }
    assert len(client.exposures) == (own == "ASSIGNED")


def test_a_variant_forced_in_the_process_is_a_targeting_match() -> None:
    client = Client.from_snapshot(testing.snapshot(an_experiment("mine", "other")))
    asked = bind(AbplatformProvider(client))
    assert asked.get_string_details("e", "default", U1).reason == "SPLIT"
    client.force("e", "v0")
    answer = asked.get_string_details("e", "default", U1)
    assert (answer.value, answer.variant, answer.reason) == ("other", "v0", "TARGETING_MATCH")
    client.force("e", None)
    assert asked.get_string_value("e", "default", U1) == "mine"


@pytest.mark.parametrize(
    ("key", "context", "code", "message"),
    [
        ("none", U1, "FLAG_NOT_FOUND", "no experiment of that key"),
        ("e.copi", U1, "FLAG_NOT_FOUND", "no variant of e carries copi"),
        ("e.copy", EvaluationContext(), "TARGETING_KEY_MISSING", "user_id"),
        ("e.copy", EvaluationContext(""), "TARGETING_KEY_MISSING", "user_id"),
        ("e.copy", EvaluationContext(7), "TARGETING_KEY_MISSING", "user_id"),
        ("e.copy", None, "TARGETING_KEY_MISSING", "user_id"),
        ("e.copy", EvaluationContext("u-1", {"units": "d-1"}), "INVALID_CONTEXT", "units: must be an object"),
        ("e.copy", EvaluationContext("u-1", {"units": {"device_id": 7}}), "INVALID_CONTEXT", "units.device_id"),
        ("e.copy", EvaluationContext("u-1", {"units": {"device_id": ""}}), "INVALID_CONTEXT", "units.device_id"),
        ("newer", U1, "GENERAL", "hash_version"),
    ],
)
def test_an_error_has_its_code_and_names_what_is_wrong(
    key: str, context: EvaluationContext | None, code: str, message: str
) -> None:
    newer = {"newer": {**testing.experiment("newer")["newer"], "hash_version": 99}}
    asked, client = flags(an_experiment({"copy": "mine"}), newer)
    for _ in range(2):
        answer = asked.get_string_details(key, "default", context)
        assert (answer.value, answer.reason, answer.error_code) == ("default", "ERROR", code)
        assert message in str(answer.error_message)
    assert client.exposures == []


HOSTILE: list[tuple[Any, Any]] = [
    ("e", Bomb()),
    ("e", EvaluationContext("u-1", Bomb())),
    ("e", EvaluationContext("u-1", None)),
    ("e", EvaluationContext("u-1", {"units": Bomb()})),
    ("e", EvaluationContext("u-1", {"units": {"device_id": Bomb()}})),
    (Bomb(), U1),
    (["e"], U1),
    (None, U1),
]


@pytest.mark.parametrize(("key", "context"), HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_that_is_resolved_or_tracked_raises(key: Any, context: Any) -> None:
    provider = offline([an_experiment("mine")])
    answer = provider.resolve_string_details(key, "default", context)
    assert (answer.value, answer.reason) == ("default", "ERROR")
    assert answer.error_code in ("GENERAL", "INVALID_CONTEXT")
    provider.track(key, context, key)


def test_an_attribute_that_cannot_be_read_harms_only_the_clause_that_reads_it() -> None:
    rule = an_experiment("mine", "other", targeting={"country": "CN"})
    odd: Any = {"country": "CN", "bomb": Bomb(), "set": {1}, "nan": float("nan"), "when": datetime(2026, 1, 1)}  # noqa: DTZ001
    assert bind(offline([rule])).get_string_value("e", "default", EvaluationContext("u-1", odd)) == "mine"


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"units": {"device_id": "d-1"}}, "mine"),
        ({"device_id": "d-1"}, "mine"),
        ({"device_id": "d-2", "units": {"device_id": "d-1"}}, "mine"),
        ({"device_id": 7, "units": None}, "default"),
        ({}, "default"),
    ],
)
def test_ids_of_other_unit_types_stand_in_units_or_under_their_names(attributes: Any, value: str) -> None:
    rule = an_experiment("mine", "other", unit_type="device_id", targeting={"device_id": "d-1"})
    asked, client = flags(rule)
    answer = asked.get_string_details("e", "default", EvaluationContext("u-1", attributes))
    assert answer.value == value
    assert [event["units"] for event in client.exposures] == ([{"device_id": "d-1"}] if value == "mine" else [])


@pytest.mark.parametrize(
    ("when", "value"),
    [
        (datetime(2026, 1, 1, 1, 0, 0, 5000, tzinfo=BERLIN), "mine"),
        (datetime(2026, 1, 1, 0, 0, 0, 4999, tzinfo=UTC), "other"),
        (datetime(2026, 1, 1, 0, 0, 0, 5000), "other"),  # noqa: DTZ001 (has no zone, so nobody knows when it is)
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "other"),  # has no place in UTC
    ],
)
def test_a_date_with_a_zone_is_compared_as_the_text_that_javascript_writes(when: datetime, value: str) -> None:
    rule = an_experiment("mine", "other", targeting={"since": {"$gte": "2026-01-01T00:00:00.005Z"}})
    context = EvaluationContext("u-1", {"since": when})
    # Control, which is the first variant, is what units get that are not targeted.
    assert bind(offline([rule])).get_string_value("e", "default", context) == value


def test_what_a_product_does_to_an_answer_does_not_reach_the_next() -> None:
    asked = bind(offline([an_experiment({"list": [1]})]))
    first = asked.get_object_details("e", {}, U1)
    first.value["list"].append(2)
    first.flag_metadata["experiment"] = "another"
    second = asked.get_object_details("e", {}, U1)
    assert (second.value, second.flag_metadata["experiment"]) == ({"list": [1]}, "e")
    default = {"a": [1]}
    assert asked.get_object_value("none", default, U1) is default


def test_keys_that_a_product_makes_up_are_not_kept() -> None:
    provider = offline([an_experiment({"copy": "mine"})])
    for n in range(50):
        for key in (f"none-{n}", f"e.field-{n}", f"e.copy.{n}", "e.copy"):
            provider.resolve_string_details(key, "default", U1)
    assert [list(kept) for kept in provider._page.flags.values() if kept] == [["e.copy"]]


def test_asyncio_gets_the_same_answers() -> None:
    payload = {"b": True, "s": "text", "i": 3, "f": 3.5, "o": [1]}
    asked, client = flags(an_experiment(payload))

    async def work() -> list[Any]:
        return [
            await asked.get_boolean_value_async("e.b", False, U1),
            await asked.get_string_value_async("e.s", "", U1),
            await asked.get_integer_value_async("e.i", 0, U1),
            await asked.get_float_value_async("e.f", 0.0, U1),
            await asked.get_object_value_async("e.o", [], U1),
            await asked.get_string_value_async("e.i", "default", U1),
        ]

    assert asyncio.run(work()) == [*payload.values(), "default"]
    assert len(client.exposures) == 1
