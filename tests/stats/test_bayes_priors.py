"""Informative normal priors, absolute and relative, and regions of practical equivalence, against other algebra."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as reference

from abplatform.stats import EstimateStats, Margin, MeanStats, NotComputable, ProportionStats, bayes
from abplatform.stats.bayes import BetaPrior, NormalPrior, Region, locate_effect


def arms(t, c, vt, vc, shared=0.0):
    return EstimateStats(5000, t, vt, shared_variance=shared), EstimateStats(5000, c, vc, shared_variance=shared)


def joint_posterior(t, c, vt, vc, *, contrast, centre, scale, shared=0.0):
    """Posterior of (treatment, control) from precision matrices; the prior is on ``contrast @ (both means)``."""
    data = np.linalg.inv(np.array([[vt + shared, shared], [shared, vc + shared]]))
    pull = np.asarray(contrast)
    precision = data + np.outer(pull, pull) / scale**2
    cov = np.linalg.inv(precision)
    return cov @ (data @ np.array([t, c]) + pull * centre / scale**2), cov


@pytest.mark.parametrize("shared", [0.0, 0.05])
@pytest.mark.parametrize(
    ("prior", "contrast", "centre", "scale"),
    [
        (NormalPrior(0.3, 0.2), (1, -1), 0.3, 0.2),
        (NormalPrior(-0.1, 5.0), (1, -1), -0.1, 5.0),
        # effect - m control is treatment - (1 + m) control, of scale 0.02 |10|.
        (NormalPrior(0.03, 0.02, relative=True), (1, -1.03), 0.0, 0.2),
    ],
)
def test_posterior_equals_the_precision_matrices(prior, contrast, centre, scale, shared):
    t, c, vt, vc = 10.4, 10.0, 0.02, 0.03
    mean, cov = joint_posterior(t, c, vt, vc, contrast=contrast, centre=centre, scale=scale, shared=shared)
    cell = bayes.compare(*arms(t, c, vt, vc, shared), prior=prior, margin=Margin(0.01, relative=True)).cell()
    effect = np.array([1, -1])
    sd = np.sqrt(effect @ cov @ effect)
    assert cell.absolute.estimate == pytest.approx(effect @ mean, rel=1e-10)
    assert cell.absolute.upper == pytest.approx(effect @ mean + 1.959963984540054 * sd, rel=1e-9)
    assert cell.chance_to_win == pytest.approx(reference.norm.cdf(effect @ mean / sd), rel=1e-10)
    for bound, level in ((cell.relative.lower, 0.025), (cell.relative.upper, 0.975)):
        weight = np.array([1, -(1 + bound)])
        assert reference.norm.cdf(0, weight @ mean, np.sqrt(weight @ cov @ weight)) == pytest.approx(level, rel=1e-8)
    weight = np.array([1, -0.99])
    harm = reference.norm.cdf(0, weight @ mean, np.sqrt(weight @ cov @ weight))
    assert cell.probability_worse_than_margin == pytest.approx(harm, rel=1e-9)


def test_prior_scale_is_short_for_a_prior_around_0():
    pair = MeanStats(400, 10.5, 3600), MeanStats(300, 10.0, 3600)
    short, long = bayes.compare(*pair, prior_scale=0.4).cell(), bayes.compare(*pair, prior=NormalPrior(0, 0.4)).cell()
    assert short == long
    # Centred at 0, a relative prior is the absolute one of the same share of the control mean.
    assert bayes.compare(*pair, prior=NormalPrior(0, 0.04, relative=True)).cell() == short


def exact_relative(t, c, vt, vc, m, s):
    """Mean effect and chance to win with the lift ~ normal(m, s^2) exactly and a flat control mean, by integration.

    Given a lift r the control mean integrates out: ``t - (1 + r) c ~ normal(0, vt + (1 + r)^2 vc)``.
    """

    def weight(r):
        v = vt + (1 + r) ** 2 * vc
        return np.exp(-((t - (1 + r) * c) ** 2) / (2 * v) - (r - m) ** 2 / (2 * s**2)) / np.sqrt(v)

    def effect(r):
        return r * (c / vc + (1 + r) * t / vt) / (1 / vc + (1 + r) ** 2 / vt)

    r = np.linspace(-0.9, 1.5, 400_001)
    total = integrate.simpson(weight(r), x=r)
    positive = np.linspace(0, 1.5, 200_001)
    return integrate.simpson(weight(r) * effect(r), x=r) / total, integrate.simpson(
        weight(positive), x=positive
    ) / total


@pytest.mark.parametrize(("noise", "slack"), [(0.0025, 0.001), (0.005, 0.002), (0.01, 0.004)])
@pytest.mark.parametrize(("m", "s"), [(0, 0.02), (0, 0.05), (0.02, 0.02), (0.05, 0.05), (-0.05, 0.05)])
def test_a_relative_prior_is_nearly_the_exact_one_where_control_is_well_known(noise, slack, m, s):
    # Its width is taken at the estimate of the control mean, an error of the order of that mean's relative error.
    for z in (-2, 0, 1, 3):
        variance = (noise * 10) ** 2
        t = 10 + z * np.sqrt(2 * variance)
        mean, chance = exact_relative(t, 10.0, variance, variance, m, s)
        cell = bayes.compare(*arms(t, 10.0, variance, variance), prior=NormalPrior(m, s, relative=True)).cell()
        assert cell.chance_to_win == pytest.approx(chance, abs=slack)
        assert cell.absolute.estimate == pytest.approx(mean, abs=4 * slack * np.sqrt(2 * variance))


def test_a_relative_prior_follows_the_sign_of_control():
    # Losses of 10 per unit that shrink to 9.5 are a lift of +5%; mirrored, the same numbers fall by 5%.
    prior, mirrored = NormalPrior(0.03, 0.02, relative=True), NormalPrior(-0.03, 0.02, relative=True)
    loss = bayes.compare(*arms(-9.5, -10.0, 0.02, 0.03), prior=prior).cell()
    gain = bayes.compare(*arms(9.5, 10.0, 0.02, 0.03), prior=mirrored).cell()
    assert loss.absolute.estimate == pytest.approx(-gain.absolute.estimate, rel=1e-12)
    assert loss.relative.upper == pytest.approx(-gain.relative.lower, rel=1e-12)


def test_without_a_control_mean_a_relative_prior_has_no_answer():
    pair = MeanStats(10, 1.0, 4.0), MeanStats(10, 0.0, 0.0)
    cell = bayes.compare(*pair, prior=NormalPrior(0, 0.1, relative=True)).cell()
    assert cell.not_computable == cell.relative_not_computable == NotComputable.ZERO_CONTROL
    assert (cell.chance_to_win, cell.absolute.estimate) == (None, None)
    assert bayes.compare(*pair, prior_scale=0.1).cell().not_computable is None


values = st.floats(-50, 50)
variances = st.floats(1e-3, 10)


@given(values, values, variances, variances, st.floats(-5, 5), st.floats(0.01, 100), st.sampled_from([1e-6, 0.3, 1e5]))
def test_rescaling_metric_and_prior_changes_no_probability(t, c, vt, vc, m, s, factor):
    plain = bayes.compare(*arms(t, c, vt, vc), prior=NormalPrior(m, s)).cell()
    scaled_arms = arms(t * factor, c * factor, vt * factor**2, vc * factor**2)
    scaled = bayes.compare(*scaled_arms, prior=NormalPrior(m * factor, s * factor)).cell()
    assert scaled.chance_to_win == pytest.approx(plain.chance_to_win, rel=1e-6, abs=1e-12)
    assert scaled.absolute.estimate == pytest.approx(plain.absolute.estimate * factor, rel=1e-6, abs=1e-9 * factor)


@given(values, values, variances, variances, st.floats(-5, 5), st.floats(0.01, 100))
def test_swapping_arms_and_prior_mirrors_and_losses_fit_the_mean(t, c, vt, vc, m, s):
    first, second = arms(t, c, vt, vc)
    cell = bayes.compare(first, second, prior=NormalPrior(m, s)).cell()
    back = bayes.compare(second, first, prior=NormalPrior(-m, s)).cell()
    assert back.chance_to_win == pytest.approx(1 - cell.chance_to_win, abs=1e-12)
    assert back.expected_loss - cell.expected_loss == pytest.approx(cell.absolute.estimate, rel=1e-9, abs=1e-12)
    # The posterior mean lies between prior mean and estimate.
    low, high = sorted((m, t - c))
    assert low - 1e-9 <= cell.absolute.estimate <= high + 1e-9


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("prior", [NormalPrior(0.0, 0.03), BetaPrior(2, 30)])
def test_region_is_what_margins_on_both_sides_leave(relative, prior):
    pair = ProportionStats(4000, 420), ProportionStats(4100, 400)
    size = 0.1 if relative else 0.008
    found = locate_effect(*pair, region=Region(-size, size, relative=relative), prior=prior)
    ask = bayes.compare if isinstance(prior, NormalPrior) else bayes.compare_conversions
    margin = Margin(size, relative=relative)
    below = ask(*pair, prior=prior, margin=margin).cell().probability_worse_than_margin
    above = ask(*pair, prior=prior, margin=margin, direction="decrease").cell().probability_worse_than_margin
    assert float(found.below) == pytest.approx(below, rel=1e-9)
    assert float(found.above) == pytest.approx(above, rel=1e-9)
    assert float(found.below + found.within + found.above) == pytest.approx(1, abs=1e-12)


def test_region_of_rates_equals_scipys_integral():
    first, second = reference.beta(1 + 30, 1 + 270), reference.beta(1 + 20, 1 + 280)
    expected = integrate.quad(lambda x: second.pdf(x) * (first.cdf(x + 0.02) - first.cdf(x - 0.02)), 0, 1, epsabs=1e-13)
    found = locate_effect(
        ProportionStats(300, 30), ProportionStats(300, 20), region=Region(-0.02, 0.02), prior=BetaPrior()
    )
    assert float(found.within) == pytest.approx(expected[0], abs=1e-9)


@given(values, variances, st.floats(0.01, 10), st.floats(0, 5), st.floats(0.01, 5))
def test_a_wider_region_holds_more(t, v, s, size, more):
    assume(abs(t) < 40)
    pair = arms(t, 0.0, v, v)
    narrow, wide = (
        float(locate_effect(*pair, region=Region(-half, half), prior=NormalPrior(0, s)).within)
        for half in (size + 0.01, size + 0.01 + more)
    )
    assert 0 <= narrow <= wide + 1e-15
    assert wide <= 1


def test_a_region_far_from_the_posterior_keeps_its_digits():
    # P(|X - 30| < 1 | sd 1) of a posterior at 0 is the difference of two upper tails.
    pair = arms(0.0, 0.0, 0.5, 0.5)
    found = locate_effect(*pair, region=Region(9, 11), prior=NormalPrior(0, 1e9))
    assert float(found.within) == pytest.approx(reference.norm.sf(9) - reference.norm.sf(11), rel=1e-9)


def test_region_carries_the_reasons_of_its_cells():
    region = Region(-0.1, 0.1, relative=True)
    pair = ProportionStats([0, 100], [0, 10]), ProportionStats([50, 100], [5, 0])
    for prior in (NormalPrior(0, 0.1), BetaPrior()):
        found = locate_effect(*pair, region=region, prior=prior)
        assert list(found.not_computable) == [NotComputable.NO_UNITS, NotComputable.ZERO_CONTROL]
        assert np.isnan(found.within).all()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: NormalPrior(np.nan, 1), "mean"),
        (lambda a: NormalPrior(0, 0), "scale"),
        (lambda a: NormalPrior(0, np.inf), "scale"),
        (lambda a: NormalPrior(0, 1e200), "scale"),
        (lambda a: NormalPrior(0, 1e-200), "scale"),
        (lambda a: NormalPrior([0, 1], [1, 2, 3]), "mean"),
        (lambda a: bayes.compare(a, a), "prior"),
        (lambda a: bayes.compare(a, a, prior=NormalPrior(), prior_scale=1), "prior"),
        (lambda a: bayes.compare(a, a, prior_scale=-1), "prior_scale"),
        (lambda a: Region(0.1, 0.1), "upper"),
        (lambda a: Region(np.nan, 1), "lower"),
        (lambda a: locate_effect(a, a, region=Region(-1, 1), prior=BetaPrior()), "prior"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(MeanStats(10, 3, 4))


THREE = MeanStats([100, 200, 300], [1.0, 2.0, 3.0], [100.0, 200.0, 300.0])
RATES = ProportionStats([100, 200, 300], [10, 20, 30])
TWO_NORMAL, TWO_BETA = NormalPrior([0.0, 0.0], 1.0), BetaPrior([1.0, 2.0], 1.0)
HALF = Region([-1.0, -2.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: bayes.compare(THREE, THREE, prior=TWO_NORMAL), r"prior \(2,\)"),
        (lambda: bayes.compare(THREE, THREE, prior_scale=[1.0, 2.0]), r"prior_scale \(2,\)"),
        (lambda: bayes.compare(THREE, THREE, prior_scale=1.0, alpha=[0.1, 0.2]), r"alpha \(2,\)"),
        (lambda: bayes.compare(THREE, THREE, prior_scale=1.0, margin=Margin([1.0, 2.0])), r"margin \(2,\)"),
        (lambda: bayes.compare_conversions(RATES, RATES, prior=TWO_BETA), r"prior \(2,\)"),
        (lambda: bayes.compare_conversions(RATES, RATES, alpha=[0.1, 0.2]), r"alpha \(2,\)"),
        (lambda: bayes.compare_conversions(RATES, RATES, margin=Margin([1.0, 2.0])), r"margin \(2,\)"),
        (lambda: bayes.locate_effect(THREE, THREE, region=HALF, prior=NormalPrior()), r"region \(2,\)"),
        (lambda: bayes.locate_effect(THREE, THREE, region=Region(-1, 1), prior=TWO_NORMAL), r"prior \(2,\)"),
        (lambda: bayes.locate_effect(RATES, RATES, region=HALF, prior=BetaPrior()), r"region \(2,\)"),
        (lambda: bayes.locate_effect(RATES, RATES, region=Region(-1, 1), prior=TWO_BETA), r"prior \(2,\)"),
        (lambda: bayes.rank_variants([THREE, THREE], prior=TWO_NORMAL), r"prior \(2,\)"),
        (lambda: bayes.rank_variants([RATES, RATES], prior=TWO_BETA), r"prior \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit_name_the_parameter(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: bayes.compare(THREE, THREE, prior=1.0), "prior must be NormalPrior"),
        (lambda: bayes.compare(THREE, THREE, prior=BetaPrior()), "prior must be NormalPrior"),
        (lambda: bayes.compare(THREE, THREE, prior_scale=1.0, margin=0.1), "margin must be Margin"),
        (lambda: bayes.compare_conversions(RATES, RATES, prior=NormalPrior()), "prior must be BetaPrior"),
        (lambda: bayes.compare_conversions(RATES, RATES, margin=0.1), "margin must be Margin"),
        (lambda: bayes.locate_effect(THREE, THREE, region=(-1, 1), prior=NormalPrior()), "region must be Region"),
        (lambda: bayes.locate_effect(THREE, THREE, region=Region(-1, 1), prior=None), "prior must be NormalPrior"),
        (lambda: bayes.rank_variants([THREE, THREE], prior=1.0), "prior must be NormalPrior"),
    ],
)
def test_arguments_of_another_class_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_one_pair_of_arms_is_ranked_under_several_priors():
    arms = [ProportionStats(100, 10), ProportionStats(100, 20)]
    found = bayes.rank_variants(arms, prior=BetaPrior([1.0, 50.0], 1.0)).expected_loss
    each = [bayes.rank_variants(arms, prior=BetaPrior(hits, 1.0)).expected_loss for hits in (1.0, 50.0)]
    np.testing.assert_allclose(found, each, rtol=1e-9)
