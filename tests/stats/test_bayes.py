"""Bayesian answers against integrals, closed forms and conjugate algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special
from scipy import stats as reference

from abplatform.stats import Margin, MeanStats, NotComputable, ProportionStats, bayes

ARMS = [(1000, 120, 1000, 100), (50, 1, 60, 4), (400, 0, 300, 3), (10_000, 30, 500, 480), (90, 89, 80, 78)]


def closed_form_chance(treatment, control):
    """P(beta > beta) for integer parameters (Miller, 2015): a finite sum; exact."""
    a, b = 1 + int(treatment.successes), 1 + int(treatment.n - treatment.successes)
    c, d = 1 + int(control.successes), 1 + int(control.n - control.successes)
    i = np.arange(a)
    return np.exp(special.betaln(c + i, b + d) - np.log(b + i) - special.betaln(1 + i, b) - special.betaln(c, d)).sum()


def posteriors(nt, st_, nc, sc):
    return reference.beta(1 + st_, 1 + nt - st_), reference.beta(1 + sc, 1 + nc - sc)


@pytest.mark.parametrize("arm", ARMS)
def test_chance_to_win_equals_the_closed_form_for_integers(arm):
    treatment, control = ProportionStats(*arm[:2]), ProportionStats(*arm[2:])
    got = bayes.compare_conversions(treatment, control).cell().chance_to_win
    assert got == pytest.approx(closed_form_chance(treatment, control), rel=1e-8, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 2000), st.floats(0, 1), st.integers(2, 2000), st.floats(0, 1))
def test_chance_to_win_equals_the_closed_form_everywhere(nt, rt, nc, rc):
    treatment, control = ProportionStats(nt, int(nt * rt)), ProportionStats(nc, int(nc * rc))
    cell = bayes.compare_conversions(treatment, control).cell()
    if cell.not_computable is None:
        assert cell.chance_to_win == pytest.approx(closed_form_chance(treatment, control), rel=1e-6, abs=1e-9)
        back = bayes.compare_conversions(control, treatment).cell()
        assert back.chance_to_win == pytest.approx(1 - cell.chance_to_win, abs=1e-9)
        assert back.absolute.lower == pytest.approx(-cell.absolute.upper, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_expected_loss_equals_scipys_integral(arm):
    first, second = posteriors(*arm)
    # E[(C - T)+] is the integral of P(T <= x) P(C > x).
    expected = integrate.quad(
        lambda x: first.cdf(x) * second.sf(x), 0, 1, points=[first.mean(), second.mean()], limit=400, epsabs=1e-14
    )[0]
    got = bayes.compare_conversions(ProportionStats(*arm[:2]), ProportionStats(*arm[2:])).cell()
    assert got.expected_loss == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("arm", ARMS)
def test_credible_bounds_hold_their_probability_by_scipys_integral(arm):
    first, second = posteriors(*arm)
    cell = bayes.compare_conversions(ProportionStats(*arm[:2]), ProportionStats(*arm[2:]), alpha=0.1).cell()

    def mass(inner):
        low, high = second.ppf(1e-13), second.isf(1e-13)
        cuts = np.linspace(low, high, 40)
        return integrate.quad(lambda y: second.pdf(y) * inner(y), low, high, points=cuts, limit=900, epsabs=1e-12)[0]

    for bound, level in ((cell.absolute.lower, 0.05), (cell.absolute.upper, 0.95)):
        assert mass(lambda y, d=bound: first.cdf(y + d)) == pytest.approx(level, abs=1e-7)
    for bound, level in ((cell.relative.lower, 0.05), (cell.relative.upper, 0.95)):
        assert mass(lambda y, r=bound: first.cdf((1 + r) * y)) == pytest.approx(level, abs=1e-7)
    worse = bayes.compare_conversions(
        ProportionStats(*arm[:2]), ProportionStats(*arm[2:]), margin=Margin(0.01), direction="decrease"
    ).cell()
    expected = mass(lambda y: first.sf(y + 0.01))
    assert worse.probability_worse_than_margin == pytest.approx(expected, abs=1e-9)
    relative = bayes.compare_conversions(
        ProportionStats(*arm[:2]), ProportionStats(*arm[2:]), margin=Margin(0.1, relative=True)
    ).cell()
    assert relative.probability_worse_than_margin == pytest.approx(mass(lambda y: first.cdf(0.9 * y)), abs=1e-9)


def test_large_counts_approach_the_normal_answer():
    arms = ProportionStats(10**7, 1_002_000), ProportionStats(10**7, 1_000_000)
    exact = bayes.compare_conversions(*arms).cell()
    z = 2e-4 / np.sqrt((0.1002 * 0.8998 + 0.09) / 1e7)
    assert exact.chance_to_win == pytest.approx(reference.norm.cdf(z), abs=1e-4)


def test_normal_posterior_is_the_conjugate_one():
    # Precision-weighted average of prior and data (Gelman et al., BDA3, eq. 2.10).
    cell = bayes.compare(MeanStats(400, 10.5, 3600), MeanStats(300, 10.0, 3600), prior_scale=0.4).cell()
    data, prior = 1 / (3600 / 399 / 400 + 3600 / 299 / 300), 1 / 0.16
    mean, sd = 0.5 * data / (data + prior), (data + prior) ** -0.5
    assert cell.absolute.estimate == pytest.approx(mean, rel=1e-12)
    assert cell.absolute.lower == pytest.approx(mean - 1.959963984540054 * sd, rel=1e-10)
    assert cell.chance_to_win == pytest.approx(reference.norm.cdf(mean / sd), rel=1e-12)
    loss = integrate.quad(lambda x: -x * reference.norm.pdf(x, mean, sd), -5, 0, epsabs=1e-14)[0]
    assert cell.expected_loss == pytest.approx(loss, rel=1e-8)
    assert cell.p_value is None


def test_normal_relative_interval_and_margins_equal_the_three_dimensional_algebra():
    # Independent: posterior of (treatment, control) from its precision matrix, then the ratio by quadrature.
    vt, vc, scale = 0.02, 0.03, 0.25
    pull = np.array([1.0, -1.0])
    precision = np.diag([1 / vt, 1 / vc]) + np.outer(pull, pull) / scale**2
    cov = np.linalg.inv(precision)
    mean = cov @ np.array([10.4 / vt, 10.0 / vc])
    arms = MeanStats(100, 10.4, vt * 9900), MeanStats(100, 10.0, vc * 9900)
    cell = bayes.compare(*arms, prior_scale=scale, margin=Margin(0.01, relative=True)).cell()
    assert cell.absolute.estimate == pytest.approx(mean[0] - mean[1])
    assert cell.relative.estimate == pytest.approx(mean[0] / mean[1] - 1)
    for bound, level in ((cell.relative.lower, 0.025), (cell.relative.upper, 0.975)):
        weight = np.array([1, -(1 + bound)])
        assert reference.norm.cdf(0, weight @ mean, np.sqrt(weight @ cov @ weight)) == pytest.approx(level, rel=1e-8)
    weight = np.array([1, -0.99])
    harm = reference.norm.cdf(0, weight @ mean, np.sqrt(weight @ cov @ weight))
    assert cell.probability_worse_than_margin == pytest.approx(harm, rel=1e-10)


def test_flat_prior_gives_the_one_sided_z_probability():
    cell = bayes.compare(ProportionStats(500, 70), ProportionStats(500, 50), prior_scale=1e6).cell()
    z = 0.04 / np.sqrt((0.14 * 0.86 + 0.09) / 500)
    assert cell.chance_to_win == pytest.approx(reference.norm.cdf(z), rel=1e-8)


@pytest.mark.parametrize("shift", [8.0, 30.0])
def test_expected_loss_keeps_its_digits_far_in_the_tail(shift):
    # Mills ratio expansion: E[(-X)+] = phi(a) / a^2 * (1 - 3 / a^2 + 15 / a^4 - ...).
    n = 10**6
    se = np.sqrt(2 * n / (n - 1) / n)
    cell = bayes.compare(MeanStats(n, shift * se, n), MeanStats(n, 0, n), prior_scale=1e8).cell()
    a2 = shift**2
    series = 1 - 3 / a2 + 15 / a2**2 - 105 / a2**3 + 945 / a2**4 - 10395 / a2**5
    assert cell.expected_loss == pytest.approx(se * reference.norm.pdf(shift) / a2 * series, rel=2e-4)


@pytest.mark.parametrize("which", ["normal", "beta"])
def test_direction_decrease_mirrors_win_loss_and_harm(which):
    def ask(*arms, **more):
        if which == "normal":
            return bayes.compare(*arms, prior_scale=0.05, margin=Margin(0.002), **more).cell()
        return bayes.compare_conversions(*arms, margin=Margin(0.002), **more).cell()

    a, b = ProportionStats(1000, 120), ProportionStats(1000, 100)
    down, up = ask(a, b, direction="decrease"), ask(b, a)
    assert down.chance_to_win == pytest.approx(up.chance_to_win, rel=1e-10)
    assert down.expected_loss == pytest.approx(up.expected_loss, rel=1e-10)
    assert down.probability_worse_than_margin == pytest.approx(up.probability_worse_than_margin, rel=1e-9)
    assert down.absolute.estimate == pytest.approx(-up.absolute.estimate)


@pytest.mark.parametrize(
    ("treatment", "control", "reason"),
    [
        (ProportionStats(0, 0), ProportionStats(0, 0), NotComputable.NO_UNITS),
        (ProportionStats(1, 0), ProportionStats(9, 3), NotComputable.ONE_UNIT),
        (ProportionStats(9, 0), ProportionStats(50, 0), NotComputable.ZERO_VARIANCE),
        (ProportionStats(9, 9), ProportionStats(50, 50), NotComputable.ZERO_VARIANCE),
    ],
)
def test_cells_that_show_only_the_prior_are_never_a_silent_half(treatment, control, reason):
    margin = Margin(0.1)
    for cell in (
        bayes.compare_conversions(treatment, control, margin=margin).cell(),
        bayes.compare(treatment, control, prior_scale=1, margin=margin).cell(),
    ):
        assert cell.not_computable == cell.relative_not_computable == reason
        assert (cell.chance_to_win, cell.expected_loss, cell.probability_worse_than_margin) == (None,) * 3
        assert (cell.absolute.estimate, cell.absolute.lower, cell.relative.upper) == (None,) * 3


def test_beta_binomial_tells_none_from_all_and_drops_only_the_lift_of_an_empty_control():
    cell = bayes.compare_conversions(ProportionStats(100, 100), ProportionStats(100, 0)).cell()
    assert cell.not_computable is None
    assert cell.chance_to_win == pytest.approx(1, abs=1e-12)
    assert cell.relative_not_computable == NotComputable.ZERO_CONTROL
    assert cell.relative.lower is None


def test_grids_answer_like_their_cells():
    treatment, control = ProportionStats([[100, 0], [300, 40]], [[20, 0], [31, 40]]), ProportionStats(200, 30)
    for ask in (bayes.compare_conversions, lambda *arms: bayes.compare(*arms, prior_scale=[0.1, 0.2])):
        grid = ask(treatment, control)
        assert grid.shape == (2, 2)
        assert grid.cell(0, 1).not_computable == NotComputable.NO_UNITS
    single = bayes.compare_conversions(ProportionStats(300, 31), control).cell()
    assert bayes.compare_conversions(treatment, control).cell(1, 0).chance_to_win == pytest.approx(single.chance_to_win)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: bayes.compare(a, a, prior_scale=0), "prior_scale"),
        (lambda a: bayes.compare(a, a, prior_scale=1, direction="left"), "direction"),
        (lambda a: bayes.compare(a, a, prior_scale=1, alpha=1), "alpha"),
        (lambda a: bayes.compare_conversions(a, MeanStats(2, 1, 1)), "control must be ProportionStats"),
        (lambda a: bayes.compare_conversions(a, a, alpha=0), "alpha"),
        (lambda a: bayes.BetaPrior(0.1, 1), "successes"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3))
