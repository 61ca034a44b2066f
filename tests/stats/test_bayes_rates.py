"""Beta-binomial answers against exact rational sums, other quadratures, and each other, where they are hardest."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special
from scipy import stats as reference

from abplatform.stats import Margin, NotComputable, ProportionStats, bayes
from abplatform.stats.bayes import quadrature
from abplatform.stats.bayes.beta import Beta, cumulants, log_cumulants
from abplatform.stats.bayes.quantiles import Contrast

UNEQUAL = [
    ((100, 3), (10**7, 400_000)),
    ((100, 0), (10**7, 100)),
    ((10**7, 99_000), (100, 1)),
    ((1000, 999), (10**6, 997_000)),
    ((30, 0), (500, 7)),
    ((2, 1), (2, 1)),
    ((10**7, 500), (10**7, 560)),
    ((24, 6), (23, 6)),
]


def exact_chance(treatment, control):
    """P(beta > beta) for integer parameters by Miller's (2015) finite sum, in 400-digit decimals."""
    (n, hits), (m, rivals) = treatment, control
    a, b, c, d = 1 + hits, 1 + n - hits, 1 + rivals, 1 + m - rivals
    with localcontext() as context:
        context.prec, context.Emin = 400, -(10**8)
        term = Decimal(1)
        for j in range(c):
            term *= Decimal(d + j) / Decimal(b + d + j)
        total = Decimal(0)
        for i in range(a):
            total += term
            term *= Decimal((c + i) * (b + i)) / Decimal((b + d + c + i) * (1 + i))
        return total


def tell(treatment, control, **options):
    return bayes.compare_conversions(ProportionStats(*treatment), ProportionStats(*control), **options).cell()


@pytest.mark.parametrize(
    ("treatment", "control"),
    [
        ((100, 0), (10**7, 100)),
        ((10**7, 500), (10**7, 560)),
        ((30, 1), (10**6, 800)),
        ((2, 1), (2, 1)),
        ((2, 0), (2, 2)),
        ((300, 290), (500, 480)),
        ((100, 40), (10**7, 900)),
    ],
)
def test_chance_to_win_is_within_1e_10_of_the_exact_sum_at_any_sizes(treatment, control):
    expected = float(exact_chance(treatment, control))
    assert tell(treatment, control).chance_to_win == pytest.approx(expected, abs=1e-10)
    # Counting failures instead turns the event round.
    mirrored = [(n, n - hits) for n, hits in (treatment, control)]
    assert tell(*mirrored).chance_to_win == pytest.approx(1 - expected, abs=1e-10)


@pytest.mark.parametrize(
    ("treatment", "control"),
    [((1000, 10), (1000, 100)), ((2000, 5), (900, 300)), ((400, 30), (10**6, 2 * 10**5)), ((1500, 60), (1500, 700))],
)
def test_chances_far_in_the_tail_keep_their_digits(treatment, control):
    expected = float(exact_chance(treatment, control))
    assert 0 < expected < 1e-9
    cell = tell(treatment, control)
    assert cell.chance_to_win == pytest.approx(expected, rel=1e-9, abs=0)
    # What the far side loses is tiny as well: E[max(0, T - C)] by integrating the product of the tails in logs.
    first, second = (reference.beta(1 + hits, 1 + n - hits) for n, hits in (treatment, control))
    meet = special.expit(np.linspace(special.logit(first.mean()) - 1, special.logit(second.mean()) + 1, 200_001))
    loss = integrate.simpson(np.exp(first.logsf(meet) + second.logcdf(meet)), x=meet)
    back = tell(control, treatment)
    assert back.expected_loss == pytest.approx(loss, rel=1e-6, abs=0)


def test_arms_without_any_overlap_give_no_negative_chance_and_no_nan():
    for treatment, control in [((10**6, 0), (10**6, 10**6)), ((2000, 10), (2000, 1800)), ((10**9, 1), (10**9, 10**8))]:
        cell = tell(treatment, control, margin=Margin(0.5, relative=True))
        assert 0 <= cell.chance_to_win < 1e-280
        assert 0 <= tell(control, treatment).expected_loss < 1e-280
        assert cell.expected_loss == pytest.approx(-cell.absolute.estimate, rel=1e-12)
        assert cell.probability_worse_than_margin == pytest.approx(1, abs=1e-11)


def held_below(first, second, *, image, inverse):
    """P(first <= image(second)), image increasing: panels in the quantiles of one rate, scipy's tail of the other.

    The nodes belong to the rate with fewer events, which may end in a cusp; the panels end where the other one rises.
    """
    over_first = min(first.args) < min(second.args)
    node, other = (first, second) if over_first else (second, first)
    ends = other.ppf([1e-12, 1e-4, 0.1, 0.5, 0.9, 1 - 1e-4, 1 - 1e-12])
    cuts = np.unique(np.clip([0, *node.cdf(image(ends) if over_first else inverse(ends)), 1], 0, 1))
    points, weights = special.roots_legendre(400)
    half = np.diff(cuts)[:, None] / 2
    x = node.ppf(cuts[:-1, None] + half * (points + 1))
    tail = second.sf(inverse(x)) if over_first else first.cdf(image(x))
    return float((tail * weights * half).sum())


@pytest.mark.parametrize("arms", UNEQUAL)
@pytest.mark.parametrize("prior", [(1, 1), (0.5, 0.5), (3.7, 20)])
def test_bounds_hold_their_probability_by_a_rule_of_other_nodes(arms, prior):
    cell = tell(*arms, prior=bayes.BetaPrior(*prior))
    first, second = (reference.beta(prior[0] + hits, prior[1] + n - hits) for n, hits in arms)
    for d, level in ((cell.absolute.lower, 0.025), (cell.absolute.upper, 0.975)):
        held = held_below(first, second, image=lambda c, d=d: c + d, inverse=lambda t, d=d: t - d)
        assert held == pytest.approx(level, abs=1e-7)
    if cell.relative.lower is not None:
        for k, level in ((1 + cell.relative.lower, 0.025), (1 + cell.relative.upper, 0.975)):
            held = held_below(first, second, image=lambda c, k=k: c * k, inverse=lambda t, k=k: t / k)
            assert held == pytest.approx(level, abs=1e-7)


@pytest.mark.parametrize("smallest", [1, 3, 20, 200])
def test_nodes_suffice_against_many_more(smallest, monkeypatch):
    rng = np.random.default_rng(smallest)
    n = rng.integers(2 * smallest + 2, 10**5, (2, 40))
    hits = np.minimum(rng.integers(smallest, 3 * smallest + 1, (2, 40)), n)
    treatment, control = ProportionStats(n[0], hits[0]), ProportionStats(n[1], hits[1])
    few = bayes.compare_conversions(treatment, control)
    monkeypatch.setattr(quadrature, "_SIZES", ((0.0, 600, 500),))
    many = bayes.compare_conversions(treatment, control)
    width = many.absolute.upper - many.absolute.lower
    np.testing.assert_allclose(few.chance_to_win, many.chance_to_win, atol=1e-10, rtol=0)
    np.testing.assert_allclose(few.expected_loss / width, many.expected_loss / width, atol=1e-10, rtol=0)
    np.testing.assert_allclose(few.absolute.lower / width, many.absolute.lower / width, atol=1e-7, rtol=0)


counts = st.integers(2, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@settings(max_examples=60, deadline=None)
@given(counts, counts, st.sampled_from(["increase", "decrease"]))
def test_swapping_arms_mirrors_everything_and_losses_fit_the_posterior_mean(first, second, direction):
    cell, back = tell(first, second, direction=direction), tell(second, first, direction=direction)
    if cell.not_computable is not None:
        assert back.not_computable == cell.not_computable
        return
    width = cell.absolute.upper - cell.absolute.lower
    assert cell.chance_to_win + back.chance_to_win == pytest.approx(1, abs=1e-10)
    assert back.absolute.lower == pytest.approx(-cell.absolute.upper, abs=1e-6 * width)
    good = 1 if direction == "increase" else -1
    gain = back.expected_loss - cell.expected_loss
    assert gain == pytest.approx(good * cell.absolute.estimate, abs=1e-12)
    assert cell.absolute.lower < cell.absolute.upper
    assert min(cell.expected_loss, back.expected_loss) >= 0


@settings(max_examples=30, deadline=None)
@given(counts, counts)
def test_one_more_conversion_of_the_treatment_never_lowers_its_chance(treatment, control):
    n, hits = treatment
    if hits < n:
        less, more = tell(treatment, control), tell((n, hits + 1), control)
        if less.not_computable is None and more.not_computable is None:
            assert more.chance_to_win >= less.chance_to_win - 1e-11
            assert more.absolute.lower >= less.absolute.lower - 1e-7


def test_a_grid_of_all_kinds_of_cells_answers_like_each_of_them():
    # Blocks, sizes of rules and the far path are chosen per cell; none may leak into another.
    rng = np.random.default_rng(4)
    n = np.exp(rng.uniform(np.log(2), np.log(1e6), (2, 700))).astype(int)
    hits = rng.binomial(n, rng.beta(0.5, 2, (2, 700)))
    grid = bayes.compare_conversions(ProportionStats(n[0], hits[0]), ProportionStats(n[1], hits[1]))
    for index in rng.integers(0, 700, 25):
        cell, alone = grid.cell(int(index)), tell((n[0, index], hits[0, index]), (n[1, index], hits[1, index]))
        assert cell.not_computable == alone.not_computable
        if alone.not_computable is None:
            assert cell.chance_to_win == pytest.approx(alone.chance_to_win, rel=1e-9, abs=1e-13)
            assert cell.absolute.lower == pytest.approx(alone.absolute.lower, rel=1e-7, abs=1e-12)


def test_prior_alpha_and_margin_may_differ_by_cell():
    arms = ProportionStats(500, 60), ProportionStats(480, 40)
    grid = bayes.compare_conversions(
        *arms, prior=bayes.BetaPrior([1, 5], [1, 95]), alpha=[[0.05], [0.2]], margin=Margin([0.0, 0.01])
    )
    assert grid.shape == (2, 2)
    alone = bayes.compare_conversions(*arms, prior=bayes.BetaPrior(5, 95), alpha=0.2, margin=Margin(0.01)).cell()
    cell = grid.cell(1, 1)
    assert cell.absolute.upper == pytest.approx(alone.absolute.upper, rel=1e-12)
    assert cell.probability_worse_than_margin == pytest.approx(alone.probability_worse_than_margin, rel=1e-12)
    # A margin of 0 is worse exactly when it does not win.
    assert grid.cell(0, 0).probability_worse_than_margin == pytest.approx(1 - grid.cell(0, 0).chance_to_win, abs=1e-11)


def test_a_relative_margin_of_all_cannot_be_exceeded():
    assert tell((100, 5), (100, 10), margin=Margin(1.0, relative=True)).probability_worse_than_margin == 0
    # ... even where the treatment's rate is pressed against the edge of the other's range.
    cell = tell((334_777, 334_776), (21, 14), margin=Margin(0.3, relative=True))
    assert cell.probability_worse_than_margin == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 1000), (7, 3), (2e4, 9e6)])
def test_density_support_and_cumulants_are_those_of_scipy(a, b):
    beta, same = Beta.of(np.array([float(a)]), np.array([float(b)])), reference.beta(a, b)
    x = same.ppf([0.001, 0.3, 0.9])
    expected = same.pdf(x) * x * (1 - x)
    np.testing.assert_allclose(beta.logit_density(x[None], 1 - x[None])[0], expected, rtol=1e-9)
    assert same.cdf(special.expit(beta.low[0])) < 1e-11
    assert same.sf(special.expit(beta.high[0])) < 1e-11
    mean, variance, skewness, kurtosis = (float(part) for part in same.stats("mvsk"))
    moments = [mean, variance, skewness * variance**1.5, kurtosis * variance**2]
    np.testing.assert_allclose([part[0] for part in cumulants(beta)], moments, rtol=1e-9)
    logs = [special.polygamma(order, a) - special.polygamma(order, a + b) for order in range(4)]
    # Only where a search begins.
    np.testing.assert_allclose([part[0] for part in log_cumulants(beta)], logs, rtol=0.05)


def test_the_density_of_a_contrast_is_the_derivative_of_its_distribution():
    first = Beta.of(np.array([30.0, 3.0, 1.0]), np.array([200.0, 9.0, 60.0]))
    second = Beta.of(np.array([20.0, 2.0, 5.0]), np.array([210.0, 5.0, 90.0]))
    for relative in (False, True):
        contrast = Contrast(first, second, np.full(3, relative))
        for at in (-0.1, 0.02):
            x, step = np.full(3, at), 1e-5
            numeric = (contrast.cdf(x + step) - contrast.cdf(x - step)) / (2 * step)
            np.testing.assert_allclose(contrast.cdf_and_density(x)[1], numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("hits", "units"), [(0, 0), (0, 9), (9, 9)])
def test_degenerate_cells_cost_no_neighbour_its_answer(hits, units):
    grid = bayes.compare_conversions(ProportionStats([units, 100], [hits, 12]), ProportionStats([units, 90], [hits, 9]))
    assert grid.cell(0).not_computable in {NotComputable.NO_UNITS, NotComputable.ZERO_VARIANCE}
    assert grid.cell(1).chance_to_win == pytest.approx(tell((100, 12), (90, 9)).chance_to_win, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: bayes.compare_conversions(a, a, alpha=[0.1, 0.2, np.nan]), "alpha"),
        (
            lambda a: bayes.compare_conversions(a, a, alpha=[0.1, 0.2], margin=Margin([0.1] * 3)),
            r"alpha \(2,\), margin \(3,\)",
        ),
        (lambda a: bayes.compare_conversions("x", a), "treatment must be ProportionStats"),
        (lambda a: bayes.BetaPrior(1, np.inf), "failures"),
        (lambda a: bayes.BetaPrior([1, 2], [1, 2, 3]), "successes"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3))
