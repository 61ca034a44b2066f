"""Templates of metrics: every one can be installed as it stands, and says all that it expects."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta

import pytest

from abplatform.domain.definition_check import Catalogue, check_definition
from abplatform.domain.metric import KINDS, RATES, Metric
from abplatform.domain.metric_check import check_metric
from abplatform.domain.templates import (
    LANGUAGES,
    SETS,
    STAGES,
    TEMPLATES,
    Language,
    Template,
    add_outcomes,
    check_prefix,
    choose_set,
    choose_templates,
    finance_events,
    name_set,
)
from abplatform.domain.templates.template import ExpectedEvent
from abplatform.errors import InvalidInput
from abplatform.warehouse.event_overview import find_needs
from tests.builders import a_metric_use, an_experiment

ALL = tuple(TEMPLATES.values())
EVENTS = tuple(each for each in vars(finance_events).values() if isinstance(each, ExpectedEvent))
EVERY = pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
CHINESE = re.compile("[\u4e00-\u9fff]")
PROMISES = re.compile(r"guarantee|promise|ensure|certain|risk-free|保证|承诺|确保|必定|稳赚|无风险|保本", re.IGNORECASE)


@pytest.mark.parametrize("prefix", ["", "app-"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_makes_a_sound_metric_whose_outcome_is_there(language: Language, prefix: str) -> None:
    made = {prefix + each.key: each.make_metric(language, prefix=prefix) for each in ALL}
    for metric in made.values():
        check_metric(metric, made)


def test_templates_of_all_sets_have_keys_of_their_own() -> None:
    assert sum(map(len, SETS.values())) == len(TEMPLATES)
    assert [name_set(each) for each in TEMPLATES.values()] == ["finance-growth"] * len(TEMPLATES)


def test_the_set_covers_every_stage_and_every_kind() -> None:
    chosen = choose_set("finance-growth")
    assert {each.stage for each in chosen} == set(STAGES)
    assert {each.metric.kind for each in chosen} == set(KINDS)


@EVERY
def test_words_are_there_in_both_languages_and_promise_nothing(template: Template) -> None:
    english, chinese = template.make_metric("en"), template.make_metric("zh")
    assert not CHINESE.search(english.name + english.description)
    assert CHINESE.search(chinese.name)
    assert CHINESE.search(chinese.description)
    for text in (english.name, english.description, chinese.name, chinese.description):
        assert not PROMISES.search(text)
    assert Metric(**{**_values(english), "name": chinese.name, "description": chinese.description}) == chinese


@EVERY
def test_the_events_that_a_template_describes_are_those_that_its_metric_reads(template: Template) -> None:
    described = {event.name: event for event in template.events}
    needs = find_needs(template.metric)
    assert set(described) == {need.event for need in needs}
    for need in needs:
        event = described[need.event]
        assert need.properties.keys() <= event.properties.keys()
        for name, numeric in need.properties.items():
            assert not numeric or event.properties[name].type == "number"
        if need.number and need.value is None:
            assert event.value is not None


def test_every_property_and_value_that_is_described_is_read_by_some_template() -> None:
    needs = [need for template in ALL for need in find_needs(template.metric)]
    for event in EVENTS:
        read = [need for need in needs if need.event == event.name]
        assert read, event.name
        assert set(event.properties) == {name for need in read for name in need.properties}, event.name
        assert (event.value is not None) == any(need.number and need.value is None for need in read), event.name


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_events_are_explained_in_both_languages(event: ExpectedEvent) -> None:
    words = [event.meaning, *([] if event.value is None else [event.value])]
    words += [each.meaning for each in event.properties.values()]
    for each in words:
        assert not CHINESE.search(each.say("en"))
        assert CHINESE.search(each.say("zh"))


@EVERY
def test_every_window_ends_so_that_all_units_are_seen_for_equally_long(template: Template) -> None:
    assert template.metric.window is not None
    assert template.metric.window.end <= timedelta(days=365)


@EVERY
def test_sums_and_counts_are_capped_against_whales(template: Template) -> None:
    metric = template.metric
    expected = 0.99 if metric.kind in {"sum", "count"} else None
    assert (metric.cap.quantile if metric.cap else None) == expected


@EVERY
def test_guardrails_alone_have_a_margin_and_are_better_when_lower(template: Template) -> None:
    is_guardrail = template.stage == "guardrail"
    assert (template.margin is not None) == is_guardrail
    assert not is_guardrail or template.metric.direction == "decrease"
    if template.margin is not None and template.metric.kind in RATES:
        assert template.margin.absolute is not None
        assert 0 < template.margin.absolute <= 0.005


def test_bad_debt_counts_only_customers_whose_loans_can_have_gone_bad() -> None:
    bad, early = TEMPLATES["bad-debt"].metric, TEMPLATES["early-overdue"].metric
    assert bad.where == {"days_past_due": {"$gte": 90}}
    assert early.where == {"days_past_due": {"$gte": 30}}
    assert early.outcome == "bad-debt"
    for metric, days_past_due in ((bad, 90), (early, 30)):
        assert metric.window is not None
        # A first instalment falls due after a month at the earliest.
        assert metric.window.end >= timedelta(days=30 + days_past_due)
        assert metric.minimum_age == metric.window.end


def test_an_experiment_takes_all_templates_with_their_margins() -> None:
    uses = [
        a_metric_use(
            each.key,
            role="guardrail" if each.margin else "secondary",
            mde=None,
            non_inferiority_margin=each.margin,
        )
        for each in ALL
        if each.key != "registration"
    ]
    catalogue = Catalogue(
        unit_type="user_id",
        metrics={each.key: each.metric for each in ALL},
        layers={},
        segments=frozenset(),
        experiments={},
    )
    check_definition(an_experiment(metrics=(a_metric_use("registration"), *uses)), catalogue)


def test_outcomes_come_along_and_first() -> None:
    chosen = add_outcomes(choose_templates(["ltv-30", "early-overdue", "purchase"]))
    assert [each.key for each in chosen] == ["ltv-365", "ltv-90", "ltv-30", "bad-debt", "early-overdue", "purchase"]


def test_templates_that_are_not_there_or_stand_there_twice_are_refused_by_place() -> None:
    with pytest.raises(InvalidInput) as refusal:
        choose_templates(["registration", "registration", "registratoin"])
    assert refusal.value.errors == {
        "templates.1": ["'registration' stands here more than once"],
        "templates.2": ["there is no template 'registratoin'; did you mean 'registration'?"],
    }
    with pytest.raises(InvalidInput, match="templates: must have at least one"):
        choose_templates([])
    with pytest.raises(InvalidInput, match="there is no set 'finance'; did you mean 'finance-growth'"):
        choose_set("finance")


@pytest.mark.parametrize("prefix", ["App-", "-", "应用", "x" * 60])
def test_a_prefix_that_makes_no_keys_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="prefix: makes no key"):
        check_prefix(prefix, choose_templates(["purchase"]))


def _values(metric: Metric) -> dict[str, object]:
    return {each.name: getattr(metric, each.name) for each in fields(metric)}
