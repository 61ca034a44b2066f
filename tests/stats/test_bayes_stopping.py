"""Stopping by expected loss and the verdict on a guardrail: rules on numbers, so that tables of cases suffice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from abplatform.stats import EstimateStats, MeanStats, ProportionStats, bayes, fixed
from abplatform.stats.bayes import GuardrailVerdict, StopReason, judge_guardrail, should_stop


def posterior_at(effect, *, direction="increase", sd=1.0):
    """A comparison whose posterior is normal(effect, sd^2): a flat prior."""
    variance = sd**2 / 2
    pair = EstimateStats(1000, effect, variance), EstimateStats(1000, 0.0, variance)
    return bayes.compare(*pair, prior_scale=1e8, direction=direction)


@pytest.mark.parametrize(
    ("effect", "units", "direction", "reason"),
    [
        # E[max(0, -X)] of normal(a, 1) is phi(a) - a Phi(-a): .00849 at a = 2.
        (2.0, 1000, "increase", StopReason.TREATMENT_LOSS_BELOW_THRESHOLD),
        (-2.0, 1000, "increase", StopReason.CONTROL_LOSS_BELOW_THRESHOLD),
        (-2.0, 1000, "decrease", StopReason.TREATMENT_LOSS_BELOW_THRESHOLD),
        (2.0, 1000, "decrease", StopReason.CONTROL_LOSS_BELOW_THRESHOLD),
        # .0111 at a = 1.9.
        (1.9, 1000, "increase", StopReason.LOSS_ABOVE_THRESHOLD),
        (-1.9, 1000, "increase", StopReason.LOSS_ABOVE_THRESHOLD),
        (5.0, 999, "increase", StopReason.MINIMUM_UNITS_NOT_REACHED),
        (0.0, 1000, "increase", StopReason.LOSS_ABOVE_THRESHOLD),
    ],
)
def test_stops_for_the_likelier_choice_once_its_loss_is_small(effect, units, direction, reason):
    found = should_stop(
        posterior_at(effect, direction=direction),
        units=units,
        minimum_units=1000,
        loss_threshold=0.01,
        direction=direction,
    )
    assert found.reason.item() == reason
    assert bool(found.stop) == ("BELOW_THRESHOLD" in reason)


def test_losses_are_divided_by_the_base_and_a_base_of_0_gives_no_verdict():
    found = should_stop(posterior_at(2.0), units=9, minimum_units=1, loss_threshold=0.01, base=[1.0, 0.5, 0.0])
    assert list(found.reason) == [
        StopReason.TREATMENT_LOSS_BELOW_THRESHOLD,
        StopReason.LOSS_ABOVE_THRESHOLD,
        StopReason.NOT_COMPUTABLE,
    ]
    # Loss of a standard normal at 2: phi(2) - 2 Phi(-2).
    loss = norm.pdf(2) - 2 * norm.cdf(-2)
    np.testing.assert_allclose(found.treatment_loss[:2], [loss, 2 * loss], rtol=1e-8)
    np.testing.assert_allclose(found.control_loss[:2], [2 + loss, 4 + 2 * loss], rtol=1e-8)


def test_cells_without_a_posterior_never_stop():
    empty = ProportionStats([0, 100], [0, 50])
    found = should_stop(bayes.compare_conversions(empty, empty), units=10**6, minimum_units=0, loss_threshold=1.0)
    assert list(found.reason) == [StopReason.NOT_COMPUTABLE, StopReason.CONTROL_LOSS_BELOW_THRESHOLD]


@given(st.floats(-5, 5), st.floats(1e-4, 1), st.floats(1, 100))
def test_a_laxer_threshold_never_keeps_an_experiment_running(effect, threshold, factor):
    strict, lax = (
        should_stop(posterior_at(effect), units=1, minimum_units=1, loss_threshold=limit)
        for limit in (threshold, threshold * factor)
    )
    assert bool(lax.stop) >= bool(strict.stop)
    # One choice never loses less than both: the losses differ by the mean.
    assert float(strict.control_loss - strict.treatment_loss) == pytest.approx(effect, abs=1e-9)


def test_guardrail_is_judged_by_the_probability_of_harm_and_missing_data_are_no_pass():
    assert list(judge_guardrail([0.0, 0.049, 0.05, 0.95, 0.951, 1.0, np.nan])) == [
        GuardrailVerdict.NON_INFERIOR,
        GuardrailVerdict.NON_INFERIOR,
        GuardrailVerdict.INCONCLUSIVE,
        GuardrailVerdict.INCONCLUSIVE,
        GuardrailVerdict.WORSE,
        GuardrailVerdict.WORSE,
        GuardrailVerdict.NOT_COMPUTABLE,
    ]
    assert judge_guardrail(0.2, safe_below=0.3).item() == "non_inferior"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c, **o: should_stop(fixed.compare(MeanStats(9, 1, 2), MeanStats(9, 1, 2)), **o), "comparison"),
        (lambda c, **o: should_stop(c, **(o | {"loss_threshold": 0})), "loss_threshold"),
        (lambda c, **o: should_stop(c, **(o | {"units": -1})), "units"),
        (lambda c, **o: should_stop(c, **(o | {"minimum_units": 1.5})), "minimum_units"),
        (lambda c, **o: should_stop(c, **o, base=-1), "base"),
        (lambda c, **o: should_stop(c, **o, direction="up"), "direction"),
        (lambda c, **o: judge_guardrail(1.2), "probability_worse"),
        (lambda c, **o: judge_guardrail(0.2, safe_below=0), "safe_below"),
        (lambda c, **o: judge_guardrail(0.2, safe_below=0.5, harmful_above=0.4), "harmful_above"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(posterior_at(1.0), units=5, minimum_units=1, loss_threshold=0.1)


@pytest.mark.parametrize("name", ["units", "minimum_units", "loss_threshold", "base"])
def test_shapes_that_do_not_fit_name_the_parameter(name):
    arm = MeanStats([100, 200, 300], 1.0, 100.0)
    given = {"units": 1, "minimum_units": 1, "loss_threshold": 1.0} | {name: [1, 2]}
    with pytest.raises(ValueError, match=rf"{name} \(2,\)"):
        bayes.should_stop(bayes.compare(arm, arm, prior_scale=1.0), **given)


@pytest.mark.parametrize("name", ["safe_below", "harmful_above"])
def test_thresholds_of_guardrails_that_do_not_fit_are_named(name):
    with pytest.raises(ValueError, match=rf"{name} \(2,\)"):
        bayes.judge_guardrail([0.1, 0.2, 0.3], **{name: [0.4, 0.5]})


def test_what_is_no_comparison_and_no_probability_is_refused_by_name():
    with pytest.raises(ValueError, match="comparison must be Comparison"):
        bayes.should_stop(0.5, units=1, minimum_units=1, loss_threshold=1.0)
    with pytest.raises(ValueError, match="probability_worse must be numbers"):
        bayes.judge_guardrail("likely")
