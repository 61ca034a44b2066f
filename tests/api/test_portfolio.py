"""Results of more than one experiment over HTTP, against plain arithmetic on the same units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from abplatform.domain.events import name_holdout
from tests.api.conftest import Service
from tests.api.documents import decision_body, experiment_body, holdout_body, layer_body, metric_body
from tests.api.portfolios import ARMS, METRICS, Unit, bring, crossed, define, run_past, spend, start
from tests.api.problems import refusal, refused_fields

# Interactions


def by_hand(units: Sequence[Unit], other: str) -> tuple[float, float, float]:
    """Estimate, HC2 standard error and p-value of the interaction term of a regression on two dummies.

    Of a saturated model: the coefficient from the least squares of numpy, and the sandwich written out (MacKinnon and
    White, 1985); p from Student's t with Satterthwaite's (1946) degrees of freedom of the four cells.
    """
    first, second = (np.array([u.met[name] == "treatment" for u in units], dtype=float) for name in ("banner", other))
    y = np.array([round(unit.spent, 2) for unit in units])
    x = np.column_stack([np.ones_like(y), first, second, first * second])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ y
    residual, leverage = y - x @ beta, np.einsum("ij,jk,ik->i", x, bread, x)
    covariance = bread @ (x.T * (residual**2 / (1 - leverage))) @ x @ bread
    error = math.sqrt(covariance[3, 3])
    cells = [y[(first == a) & (second == b)] for a in (0, 1) for b in (0, 1)]
    parts = np.array([cell.var(ddof=1) / cell.size for cell in cells])
    freedom = parts.sum() ** 2 / sum(part**2 / (cell.size - 1) for part, cell in zip(parts, cells, strict=True))
    return beta[3], error, float(2 * scipy_stats.t.sf(abs(beta[3] / error), freedom))


def test_a_planted_interaction_is_found_and_an_absent_one_is_not(service: Service) -> None:
    define(service)
    start(service, "banner", "price", "colour")
    units = crossed(1_600)
    bring(service, units)
    found = service.caller("analyst").get("/experiments/banner/results/interactions")
    assert found.status_code == 200, found.text
    document = found.get_json()
    assert {each["experiment"]: each["units"] for each in document["experiments"]} == {"price": 1600, "colour": 1600}
    assert all(each["balance_p_value"] > 0.001 and not each["warnings"] for each in document["experiments"])
    seen = {(each["other"], each["metric"]): each for each in document["interactions"]}
    assert {pair for pair, each in seen.items() if each["found"]} == {("price", "revenue")}
    assert document["interactions"][0] == seen["price", "revenue"]
    for other in ("price", "colour"):
        estimate, error, p_value = by_hand(units, other)
        each = seen[other, "revenue"]
        assert each["absolute"]["estimate"] == pytest.approx(estimate)
        assert each["p_value"] == pytest.approx(p_value, rel=1e-9)
        half = (each["absolute"]["upper"] - each["absolute"]["lower"]) / 2
        assert half / error == pytest.approx(1.96, abs=0.005)  # of t with some hundred degrees of freedom
        groups = {(group["variant"], group["other_variant"]): group for group in each["groups"]}
        both = [u.spent for u in units if u.met["banner"] == u.met[other] == "treatment"]
        assert groups["treatment", "treatment"]["units"] == len(both)
        assert groups["treatment", "treatment"]["value"] == pytest.approx(np.mean(np.round(both, 2)))


def test_few_units_in_a_group_are_a_reason_and_count_in_the_adjustment(service: Service) -> None:
    define(service)
    start(service, "banner", "price")
    bring(service, [Unit(unit.name, unit.met, unit.spent) for unit in crossed(120)])
    document = service.admin.get("/experiments/banner/results/interactions?with=price").get_json()
    assert [each["experiment"] for each in document["experiments"]] == ["price"]
    assert {each["not_computable"] for each in document["interactions"]} == {"GROUP_TOO_SMALL"}
    assert {each["p_value"] for each in document["interactions"]} == {None}


def test_an_experiment_that_chooses_who_enters_another_is_warned_of(service: Service) -> None:
    define(service)
    start(service, "banner", "price")
    units = [
        Unit(f"u-{n}", {"banner": ARMS[n % 2], "price": ARMS[0] if n % 2 and n % 3 else ARMS[n // 2 % 2]}, 0.0)
        for n in range(600)
    ]
    bring(service, [*units, Unit("bought", {"banner": "control"}, 5.0)])
    (price,) = service.admin.get("/experiments/banner/results/interactions").get_json()["experiments"]
    table = np.array([[sum((u.met["banner"], u.met["price"]) == (a, b) for u in units) for b in ARMS] for a in ARMS])
    expected = scipy_stats.chi2_contingency(table, correction=False).pvalue
    assert price["balance_p_value"] == pytest.approx(expected, rel=1e-6)
    assert expected < 0.001
    assert "cannot be compared" in price["warnings"][0]


def test_experiments_that_cannot_interact_are_named(service: Service) -> None:
    define(service)
    assert service.admin.post("/layers", json=layer_body()).status_code == 201
    start(service, "banner", "beside", layer="home-page", coverage=0.5)
    start(service, "past")
    assert service.admin.post("/experiments/past/stop").status_code == 200
    start(service, "late")
    assert service.admin.post("/experiments", json=experiment_body("draft", metrics=METRICS)).status_code == 201
    path = "/experiments/{}/results/interactions"
    reasons = {
        ("banner", "beside"): "in the same layer",
        ("banner", "banner"): "is the experiment itself",
        ("banner", "draft"): "has not started",
        ("late", "past"): "did not run at the same time",
        ("banner", "baner"): "there is no experiment",
    }
    for (key, other), reason in reasons.items():
        answer = service.admin.get(path.format(key), query_string={"with": other})
        assert reason in refusal(answer, 422)["errors"]["with"][0]
    assert refused_fields(service.admin.get(path.format("banner"), query_string={"with": "no key!"})) == {"with"}
    assert refused_fields(service.admin.get(path.format("banner"), query_string={"phase": "2"})) == {"phase"}
    refusal(service.admin.get(path.format("draft")), 409)
    refusal(service.admin.get(path.format("nothing")), 404)
    names = [e["experiment"] for e in service.admin.get(path.format("late")).get_json()["experiments"]]
    assert sorted(names) == ["banner", "beside"]
    assert service.admin.get(path.format("past")).get_json()["interactions"]


# Holdouts


def test_a_holdout_compares_everybody_with_those_held_out(service: Service) -> None:
    define(service)
    assert service.admin.post("/holdouts", json=holdout_body(share=0.25)).status_code == 201
    start(service, "banner")
    rng = np.random.default_rng(3)
    groups = ["held_out" if number % 4 == 0 else "open" for number in range(1200)]
    units = [
        Unit(f"u-{number}", {name_holdout("q3"): group}, spend(rng, 10.0 if group == "held_out" else 13.0))
        for number, group in enumerate(groups)
    ]
    bring(service, units)
    bring(service, [Unit(f"b-{n}", {"banner": ARMS[n % 2]}, spend(rng, 8.0 + 2 * (n % 2))) for n in range(600)])
    look = service.admin.get("/experiments/banner/results").get_json()
    decided = service.admin.post("/experiments/banner/decide", json=decision_body(variant="treatment"))
    assert decided.status_code == 200, decided.text
    path = "/holdouts/q3/results"
    answer = service.caller("analyst").get(path, query_string={"metric": "revenue,buys", "method": "fixed"})
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    revenue, buys = document["metrics"]
    spent = {name: np.array([round(u.spent, 2) for u in units if name in u.met.values()]) for name in set(groups)}
    held, free = spent["held_out"], spent["open"]
    assert [variant["mean"] for variant in revenue["variants"]] == pytest.approx([held.mean(), free.mean()])
    (comparison,) = revenue["comparisons"]
    assert (comparison["variant"], comparison["control"]) == ("open", "held_out")
    assert comparison["absolute"]["estimate"] == pytest.approx(free.mean() - held.mean())
    welch = scipy_stats.ttest_ind(free, held, equal_var=False)
    assert comparison["p_value"] == pytest.approx(welch.pvalue)
    assert buys["variants"][1]["mean"] == pytest.approx((free > 0).mean())
    assert document["health"]["units"] == {"held_out": 300, "open": 900}
    assert document["health"]["sample_ratio"]["p_value"] == pytest.approx(1.0)  # of 300 to 900 at a share of 1/4
    (part,) = document["shipped"]
    own = {each["metric"]: each["comparisons"][0] for each in look["metrics"]}
    assert (part["experiment"], part["variant"]) == ("banner", "treatment")
    assert {each["metric"]: each["relative"] for each in part["estimates"]} == {
        name: each["relative"] for name, each in own.items()
    }
    assert document["sums"][0] == {
        "metric": "revenue",
        "relative": pytest.approx(own["revenue"]["relative"]["estimate"]),
        "measured": 1,
        "not_measured": 0,
    }
    watched = service.admin.get(path, query_string={"metric": "revenue"}).get_json()
    assert watched["method"] == "sequential"
    (sequence,) = watched["metrics"][0]["comparisons"]
    assert sequence["interval_kind"] == "confidence_sequence"
    assert sequence["absolute"]["upper"] > comparison["absolute"]["upper"]


def test_shares_other_than_those_of_the_holdout_are_a_mismatch(service: Service) -> None:
    define(service)
    service.admin.post("/holdouts", json=holdout_body(share=0.25))
    bring(service, [Unit(f"u-{n}", {name_holdout("q3"): "held_out" if n % 2 else "open"}, 1.0) for n in range(1200)])
    health = service.admin.get("/holdouts/q3/results?metric=buys").get_json()["health"]
    assert not health["ok"]
    assert health["sample_ratio"]["p_value"] == pytest.approx(scipy_stats.chisquare([600, 600], [300, 900]).pvalue)


def test_after_the_end_of_a_holdout_nothing_counts_any_more(service: Service) -> None:
    define(service)
    service.admin.post("/holdouts", json=holdout_body(share=0.5))
    before = [Unit(f"u-{n}", {name_holdout("q3"): ("open", "held_out")[n % 2]}, 1.0) for n in range(20)]
    bring(service, before)
    assert service.admin.post("/holdouts/q3/end").status_code == 200
    late = [Unit(f"late-{n}", {name_holdout("q3"): "open"}, 1.0) for n in range(20)]
    bring(service, late, at=service.platform.now() + timedelta(seconds=1))
    document = service.admin.get("/holdouts/q3/results?metric=buys").get_json()
    assert document["health"]["units"] == {"held_out": 10, "open": 10}
    assert document["ended_at"] is not None


def test_a_holdout_that_nobody_was_checked_against_says_so(service: Service) -> None:
    define(service)
    service.admin.post("/holdouts", json=holdout_body())
    document = service.admin.get("/holdouts/q3/results?metric=buys,revenue").get_json()
    assert "No unit was checked" in document["health"]["warnings"][0]
    assert {each["comparisons"][0]["not_computable"] for each in document["metrics"]} == {"NO_UNITS"}
    assert (document["shipped"], document["data_through"]) == ([], None)


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"metric": "buy"}, "metric", "there is no metric 'buy'; did you mean 'buys'?"),
        ({"metric": "buys,buys"}, "metric", "more than once"),
        ({"metric": ""}, "metric", "there is no metric ''"),
        ({"metric": ",".join(f"m{n}" for n in range(21))}, "metric", "1 to 20 metrics"),
        ({"metric": "capped"}, "metric", "has a cap by quantile"),
        ({"metric": "buys", "method": "bayesian"}, "method", "must be one of sequential, fixed"),
        ({}, "metric", "is required"),
        ({"metric": "buys", "phase": "1"}, "phase", "is not a field here"),
    ],
)
def test_what_a_holdout_cannot_be_asked_is_named(
    service: Service, query: Mapping[str, str], field: str, says: str
) -> None:
    define(service)
    capped = metric_body("capped", kind="sum", cap={"quantile": 0.99})
    assert service.admin.post("/metrics", json=capped).status_code == 201
    service.admin.post("/holdouts", json=holdout_body())
    errors = refusal(service.admin.get("/holdouts/q3/results", query_string=dict(query)), 422)["errors"]
    assert set(errors) == {field}
    assert says in errors[field][0]
    refusal(service.admin.get("/holdouts/nothing/results?metric=buys"), 404)


# Portfolios


def relative(units: Sequence[Unit], key: str) -> tuple[float, float]:
    """Relative effect and its standard error by the delta method, from the values."""
    control, treatment = (np.array([round(u.spent, 2) for u in units if u.met[key] == arm]) for arm in ARMS)
    first, second = (arm.var(ddof=1) / arm.size for arm in (control, treatment))
    ratio = treatment.mean() / control.mean()
    return ratio - 1, math.sqrt(second + ratio**2 * first) / control.mean()


def test_past_effects_are_shrunken_towards_what_they_have_in_common(service: Service) -> None:
    define(service)
    lifts = {"one": 0.5, "two": 0.0, "three": -0.1, "four": 0.05}
    units = run_past(service, lifts, ship=["one", "four"])
    start(service, "running")
    answer = service.caller("analyst").get("/portfolio?metric=revenue")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    found = {each["experiment"]: each for each in document["effects"]}
    assert set(found) == set(lifts)
    raw = {key: relative(units[key], key) for key in lifts}
    for key, (estimate, error) in raw.items():
        interval = found[key]["raw"]
        assert interval["estimate"] == pytest.approx(estimate)
        assert (interval["upper"] - interval["lower"]) / 2 / error == pytest.approx(1.966, abs=0.005)  # t of ~398
    # Posterior means by plain summation over a grid of the population's mean and scale, both with flat priors.
    estimates, errors = (np.array([pair[index] for pair in raw.values()]) for index in (0, 1))
    expected = posterior_means(estimates, errors)
    assert [found[key]["shrunken"]["estimate"] for key in raw] == pytest.approx(expected, abs=0.003)
    assert found["one"]["shrunken"]["estimate"] < found["one"]["raw"]["estimate"]
    assert found["three"]["shrunken"]["estimate"] > found["three"]["raw"]["estimate"]
    shipped = document["shipped"]
    assert {key for key, each in found.items() if each["shipped"]} == {"one", "four"}
    assert shipped["variants"] == 2
    assert shipped["naive"] == pytest.approx(raw["one"][0] + raw["four"][0])
    assert shipped["expected"] == pytest.approx(sum(found[key]["shrunken"]["estimate"] for key in ("one", "four")))
    assert (document["not_computable"], document["left_out"]) == (None, [])


def posterior_means(estimates: np.ndarray[Any, Any], errors: np.ndarray[Any, Any]) -> list[float]:
    means, scales = np.meshgrid(np.linspace(-3, 3, 601), np.linspace(0.0025, 6, 1200))
    log, total = np.zeros_like(means), np.zeros((estimates.size, *means.shape))
    for index, (y, s) in enumerate(zip(estimates, errors, strict=True)):
        variance = s**2 + scales**2
        log -= np.log(variance) / 2 + (y - means) ** 2 / (2 * variance)
        weight = scales**2 / variance
        total[index] = weight * y + (1 - weight) * means
    mass = np.exp(log - log.max())
    return [float((each * mass).sum() / mass.sum()) for each in total]


def test_two_experiments_are_too_few_and_what_says_nothing_is_listed(service: Service) -> None:
    define(service)
    run_past(service, {"one": 0.5, "two": 0.0}, ship=["one"])
    start(service, "unseen", "empty")
    for key in ("unseen", "empty"):
        assert service.admin.post(f"/experiments/{key}/stop").status_code == 200
    assert service.admin.get("/experiments/empty/results").status_code == 200
    document = service.admin.get("/portfolio?metric=revenue").get_json()
    assert (document["not_computable"], document["population"]) == ("TOO_FEW_EXPERIMENTS", None)
    assert [each["shrunken"] for each in document["effects"]] == [None, None]
    assert document["shipped"]["expected"] is None
    left = {(each["experiment"], each["variant"], each["reason"]) for each in document["left_out"]}
    assert left == {("unseen", None, "NO_LOOK"), ("empty", "treatment", "NO_UNITS")}


def test_a_portfolio_of_an_unknown_metric_is_refused(service: Service) -> None:
    define(service)
    errors = refusal(service.admin.get("/portfolio?metric=revenu"), 422)["errors"]
    assert errors == {"metric": ["there is no metric 'revenu'; did you mean 'revenue'?"]}
    assert refused_fields(service.admin.get("/portfolio")) == {"metric"}
    assert service.admin.get("/portfolio?metric=revenue").get_json()["effects"] == []


def test_results_can_be_broken_down_by_the_variants_of_another_experiment(service: Service) -> None:
    define(service)
    start(service, "banner", "price")
    units = [*crossed(800), Unit("alone", {"banner": "control"}, 0.0)]
    bring(service, [Unit(u.name, {k: v for k, v in u.met.items() if k != "colour"}, u.spent) for u in units])
    path = "/experiments/banner/results/breakdown"
    answer = service.admin.get(path, query_string={"by": "experiment:price"})
    assert answer.status_code == 200, answer.text
    revenue = next(each for each in answer.get_json()["metrics"] if each["metric"] == "revenue")
    found = {
        (each["slice"], variant["variant"]): (variant["units"], variant["mean"])
        for each in revenue["slices"]
        for variant in each["variants"]
    }
    for price in ARMS:
        for banner in ARMS:
            spent = [round(u.spent, 2) for u in units if (u.met["banner"], u.met.get("price")) == (banner, price)]
            assert found[price, banner] == (len(spent), pytest.approx(np.mean(spent)))
    assert found["(none)", "control"][0] == 1
    for other, says in (("banner", "is the experiment itself"), ("prize", "did you mean 'price'?")):
        refused = service.admin.get(path, query_string={"by": f"experiment:{other}"})
        assert says in refusal(refused, 422)["errors"]["by"][0]
