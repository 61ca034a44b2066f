"""Best of several variants: against pairs, symmetry, scipy's integrals and draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as reference

from abplatform.stats import EstimateStats, MeanStats, NotComputable, ProportionStats, bayes
from abplatform.stats.bayes import BetaPrior, NormalPrior, rank_variants

WIDE = NormalPrior(0, 1e8)


def normals(means, sds):
    return [EstimateStats(1000, mean, sd**2) for mean, sd in zip(means, sds, strict=True)]


def integrals(variants):
    """P(best) and E[max - own] by scipy: the loss by E[max] from the distribution function of the maximum."""
    low, high = min(v.ppf(1e-14) for v in variants), max(v.isf(1e-14) for v in variants)
    cuts = sorted({float(np.clip(v.mean() + k * v.std(), low, high)) for v in variants for k in (-6, -3, 0, 3, 6)})

    def others(x, i):
        return np.prod([v.cdf(x) for j, v in enumerate(variants) if j != i])

    def over(f):
        return sum(
            integrate.quad(f, a, b, epsabs=1e-13, limit=200)[0]
            for a, b in zip([low, *cuts], [*cuts, high], strict=True)
            if b > a
        )

    chance = [over(lambda x, i=i: variants[i].pdf(x) * others(x, i)) for i in range(len(variants))]
    top = high - over(lambda x: np.prod([v.cdf(x) for v in variants]))
    return chance, [top - v.mean() for v in variants]


def test_normal_variants_equal_scipys_integrals_at_very_different_widths():
    means, sds = [0.0, 0.3, 0.31, -2.0], [1.0, 0.01, 0.2, 3.0]
    chance, loss = integrals([reference.norm(m, s) for m, s in zip(means, sds, strict=True)])
    found = rank_variants(normals(means, sds), prior=WIDE)
    np.testing.assert_allclose(found.chance_best, chance, atol=1e-10)
    np.testing.assert_allclose(found.expected_loss, loss, atol=1e-10)


def test_rates_equal_scipys_integrals_at_very_different_sizes():
    counts = [(1000, 100), (100, 13), (10**6, 108_000), (20, 0)]
    chance, loss = integrals([reference.beta(1 + hits, 1 + n - hits) for n, hits in counts])
    found = rank_variants([ProportionStats(*count) for count in counts], prior=BetaPrior())
    np.testing.assert_allclose(found.chance_best, chance, atol=1e-9)
    np.testing.assert_allclose(found.expected_loss, loss, atol=1e-9)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize(
    ("n", "fewer", "more"),
    [(10**6, 1, 10**6 - 1), (10**5, 100, 99_900), (10**7, 10, 9 * 10**6), (10**9, 10, 5 * 10**8), (1000, 0, 1000)],
)
def test_expected_loss_of_distant_rates_is_that_of_the_pair(n, fewer, more, direction):
    # Nearly the distance of both posterior means, (1 + successes) / (2 + n); nothing but the empty line between.
    pair = ProportionStats(n, fewer), ProportionStats(n, more)
    found = rank_variants([*pair, ProportionStats(n, fewer)], prior=BetaPrior(), direction=direction)
    lost = float(bayes.compare_conversions(*pair, direction=direction).expected_loss)
    back = float(bayes.compare_conversions(*pair[::-1], direction=direction).expected_loss)
    assert max(lost, back) == pytest.approx((more - fewer) / (n + 2), rel=1e-12)
    two = rank_variants(pair, prior=BetaPrior(), direction=direction).expected_loss
    assert two == pytest.approx([lost, back], rel=1e-12, abs=1e-15)
    if direction == "increase":
        assert found.expected_loss == pytest.approx([lost, 0.0, lost], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize(("a", "b"), [((1000, 120), (1000, 100)), ((100, 0), (10**7, 100)), ((30, 1), (10**6, 10**5))])
def test_two_rates_are_the_comparison_of_the_pair(a, b, direction):
    pair = ProportionStats(*a), ProportionStats(*b)
    cell = bayes.compare_conversions(*pair, direction=direction).cell()
    found = rank_variants(pair, prior=BetaPrior(), direction=direction)
    assert found.chance_best[0] == pytest.approx(cell.chance_to_win, abs=1e-11)
    assert found.expected_loss[0] == pytest.approx(cell.expected_loss, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_two_normals_are_the_closed_form(direction):
    found = rank_variants(normals([1.0, 0.2], [0.3, 0.4]), prior=WIDE, direction=direction)
    chance = reference.norm.cdf(0.8 / 0.5)
    expected = chance if direction == "increase" else 1 - chance
    assert found.chance_best[0] == pytest.approx(expected, abs=1e-12)


def test_hopeless_variants_keep_their_digits():
    # P(X > Y) of normals 6 joint standard deviations apart; the better one loses E[max(0, Z - 6)].
    found = rank_variants(normals([0.0, 6.0], [0.6, 0.8]), prior=WIDE)
    assert found.chance_best[0] == pytest.approx(reference.norm.sf(6.0), rel=1e-8)
    loss = integrate.quad(lambda x: (x - 6) * reference.norm.pdf(x), 6, 20, epsabs=0)[0]
    assert found.expected_loss[1] == pytest.approx(loss, rel=1e-7)
    # Much further apart no panel sees both; what is left is 0, never negative.
    apart = rank_variants(normals([0.0, 40.0], [0.6, 0.8]), prior=WIDE)
    assert 0 <= apart.chance_best[0] < 1e-30
    assert 0 <= apart.expected_loss[1] < 1e-30


@pytest.mark.parametrize("prior", [WIDE, BetaPrior()])
def test_twenty_equal_variants_share_the_chance(prior):
    n = 5 * 10**8
    found = rank_variants([ProportionStats(n, 14 * n // 100)] * 20, prior=prior)
    np.testing.assert_allclose(found.chance_best, 0.05, rtol=1e-10)
    # Mean of the largest of 20 standard normals, E[max] = integral of x 20 phi(x) Phi(x)^19.
    norm = reference.norm
    largest = integrate.quad(lambda x: 20 * x * norm.pdf(x) * norm.cdf(x) ** 19, -8, 10, epsabs=1e-12)[0]
    # The skewness left in these rates is 1e-4.
    np.testing.assert_allclose(found.expected_loss / np.sqrt(0.14 * 0.86 / n), largest, rtol=1e-4)


def test_ranking_agrees_with_draws():
    rng = np.random.default_rng(20)
    means, sds, runs = rng.normal(size=6), rng.uniform(0.3, 2, 6), 200_000
    draws = rng.normal(means, sds, (runs, 6))
    found = rank_variants(normals(means, sds), prior=WIDE, direction="decrease")
    share = np.bincount(draws.argmin(axis=1), minlength=6) / runs
    np.testing.assert_allclose(found.chance_best, share, atol=4.5 * np.sqrt(0.25 / runs))
    loss = (draws - draws.min(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.expected_loss, loss, atol=4.5 * 3 / np.sqrt(runs))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 10)), min_size=2, max_size=6),
    st.sampled_from(["increase", "decrease"]),
)
def test_chances_sum_to_1_and_losses_differ_by_the_means(variants, direction):
    means, sds = zip(*variants, strict=True)
    found = rank_variants(normals(means, sds), prior=WIDE, direction=direction)
    assert found.chance_best.sum() == pytest.approx(1, abs=1e-11)
    good = 1 if direction == "increase" else -1
    np.testing.assert_allclose(
        found.expected_loss - found.expected_loss[0], good * (means[0] - np.array(means)), atol=1e-9
    )


def test_a_common_prior_shrinks_the_ranking_towards_equality():
    arms = normals([1.0, 1.5, 0.8], [0.5, 0.5, 0.5])
    shrunk, plain = (rank_variants(arms, prior=prior).chance_best for prior in (NormalPrior(1.0, 0.3), WIDE))
    assert 1 / 3 < shrunk.max() < plain.max()
    # Conjugate: means pull to 1 with weight .09 / (.09 + .25).
    weight = 0.09 / 0.34
    by_hand = normals(1 + weight * (np.array([1.0, 1.5, 0.8]) - 1), [np.sqrt(weight * 0.25)] * 3)
    np.testing.assert_allclose(shrunk, rank_variants(by_hand, prior=WIDE).chance_best, atol=1e-9)


def test_grids_answer_like_their_cells_and_degenerate_ones_say_why():
    arms = [ProportionStats([100, 0, 100, 1], [10, 0, 0, 1]), ProportionStats(100, [12, 3, 0, 5])]
    for prior in (BetaPrior(), WIDE):
        found = rank_variants(arms, prior=prior)
        assert found.chance_best.shape == (4, 2)
        alone = rank_variants([ProportionStats(100, 10), ProportionStats(100, 12)], prior=prior)
        np.testing.assert_allclose(found.chance_best[0], alone.chance_best, rtol=1e-12)
        reasons = [None, NotComputable.NO_UNITS, NotComputable.ZERO_VARIANCE, NotComputable.ONE_UNIT]
        assert list(found.not_computable) == reasons
        assert np.isnan(found.expected_loss[1:]).all()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a, m: rank_variants([a], prior=WIDE), "arms"),
        (lambda a, m: rank_variants([a] * 21, prior=WIDE), "arms"),
        (lambda a, m: rank_variants([a, m], prior=WIDE), "arms"),
        (lambda a, m: rank_variants([m, m], prior=BetaPrior()), "prior"),
        (lambda a, m: rank_variants([a, a], prior=NormalPrior(0, 1, relative=True)), "prior"),
        (lambda a, m: rank_variants([a, a], prior=WIDE, direction="best"), "direction"),
        (
            lambda a, m: rank_variants([ProportionStats([5, 5], 1), ProportionStats([5] * 3, 1)], prior=WIDE),
            r"arms\[0\]",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3), MeanStats(10, 1, 2))
