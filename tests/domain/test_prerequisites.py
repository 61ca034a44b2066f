"""Which experiments an experiment may need, and who must stay because others need them."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.checks import Faults
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Prerequisite, Status, Variant
from abplatform.domain.prerequisites import check_prerequisites, dependants, unready
from tests.builders import a_draft, an_experiment, an_external_experiment
from tests.domain.refusals import faults_of


def needing(key: str, *others: str, **changes: Any) -> ExperimentDefinition:
    needs = tuple(Prerequisite(experiment=other, variants=("treatment",)) for other in others)
    return an_experiment(key, prerequisites=needs, **changes)


def stored(definition: ExperimentDefinition, status: Status = "running", **changes: Any) -> Experiment:
    return a_draft(definition.key, definition=definition, status=status, **changes)


def faults(definition: ExperimentDefinition, *others: Experiment) -> dict[str, list[str]]:
    found = Faults()
    check_prerequisites(definition, {each.key: each for each in others}, found)
    return faults_of(found.raise_any)


def a_chain(length: int) -> list[Experiment]:
    """``c0`` needs ``c1`` needs ... up to that many steps."""
    return [
        stored(needing(f"c{number}", *([f"c{number + 1}"] if number < length else []))) for number in range(length + 1)
    ]


def test_prerequisites_that_are_there_pass_drafts_too() -> None:
    assert faults(needing("a", "b", "c"), stored(needing("b", "c"), "draft"), stored(needing("c"), "paused")) == {}


@pytest.mark.parametrize(
    ("definition", "path", "message"),
    [
        (needing("a", "nowhere"), "prerequisites.0.experiment", "there is no experiment 'nowhere'"),
        (needing("a", "imported"), "prerequisites.0.experiment", "there is no experiment 'imported' that is served"),
        (needing("a", "old"), "prerequisites.0.experiment", "'old' is archived"),
        (needing("a", "b", "b"), "prerequisites.1.experiment", "more than once"),
        (needing("a", *map(str, range(11))), "prerequisites", "at most 10"),
        (
            an_experiment("a", prerequisites=(Prerequisite(experiment="b", variants=()),)),
            "prerequisites.0.variants",
            "at least one",
        ),
        (
            an_experiment("a", prerequisites=(Prerequisite(experiment="b", variants=("control", "nobody")),)),
            "prerequisites.0.variants.1",
            "'b' has no variant 'nobody'",
        ),
        (
            an_experiment("a", prerequisites=(Prerequisite(experiment="b", variants=("control", "control")),)),
            "prerequisites.0.variants.1",
            "more than once",
        ),
    ],
)
def test_a_prerequisite_that_cannot_hold_is_named_by_its_path(
    definition: ExperimentDefinition, path: str, message: str
) -> None:
    others = [stored(needing("b")), stored(an_external_experiment()), stored(needing("old"), "archived")]
    assert message in " ".join(faults(definition, *others)[path])


def test_circles_are_refused_over_drafts_too_and_at_any_length() -> None:
    assert "a would need itself" in faults(needing("a", "a"))["prerequisites"][0]
    chain = [stored(needing("b", "c"), "draft"), stored(needing("c", "d")), stored(needing("d", "a"), "draft")]
    assert "a would need itself" in faults(needing("a", "b"), *chain)["prerequisites"][0]
    assert faults(needing("a"), *chain) == {}, "what is stored of it does not count"


def test_a_chain_is_ten_deep_at_most_wherever_the_new_link_is() -> None:
    assert faults(needing("top", "c0"), *a_chain(9)) == {}
    assert "a chain of 11" in faults(needing("top", "c0"), *a_chain(10))["prerequisites"][0]
    below = [stored(needing("low"))]
    assert faults(needing("c5", "low"), *a_chain(5), *below) == {}
    lengthened = faults(needing("c10", "low"), *a_chain(10), *below)
    assert "a chain of 11" in lengthened["prerequisites"][0]


def test_what_would_take_too_many_evaluations_is_refused() -> None:
    """Evaluation asks for each prerequisite anew: ten that need ten each make over a hundred evaluations."""
    leaves = [stored(needing(f"leaf-{number}")) for number in range(10)]
    middle = [stored(needing(f"mid-{number}", *(leaf.key for leaf in leaves))) for number in range(10)]
    found = faults(needing("top", *(each.key for each in middle)), *leaves, *middle)
    assert "top would take more than 100 evaluations" in found["prerequisites"][0]
    assert faults(needing("top", *(each.key for each in middle[:9])), *leaves, *middle) == {}, "1 + 9 x 11 = 100"


def test_needed_experiments_must_have_started() -> None:
    experiments = {
        each.key: each for each in (stored(needing(status), status) for status in ("draft", "running", "stopped"))
    }
    assert unready(needing("a", "draft", "running", "stopped"), experiments) == ("draft",)
    assert unready(needing("a"), experiments) == ()


def test_dependants_are_those_whose_units_depend_on_it_now() -> None:
    variants = (Variant(key="control"), Variant(key="treatment"))
    experiments = [
        stored(needing(status, "b", variants=variants), status)
        for status in ("draft", "running", "paused", "closed", "stopped", "archived")
    ]
    shipped = stored(needing("shipped", "b"), "stopped", shipped="treatment")
    assert dependants("b", [*experiments, shipped]) == ("running", "paused", "closed", "shipped")
    assert dependants("b", experiments, drafts=True) == ("draft", "running", "paused", "closed")
    assert dependants("other", experiments) == ()
