"""Asymptotic confidence sequences: formulas, properties, time-uniform calibration, the guard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as reference

from abplatform.stats import Margin, MeanStats, NotComputable, ProportionStats, SetKind, fixed, sequential

means = st.tuples(st.integers(2, 5000), st.floats(-100, 100), st.floats(0.01, 1e4)).map(
    lambda c: MeanStats(c[0], c[1], c[2] * c[0])
)
planned = st.integers(10, 10**6)


def null_paths(runs, looks, seed):
    """Standardised differences of two arms at equally spaced looks: a Gaussian random walk, A/A."""
    walk = np.random.default_rng(seed).normal(size=(runs, looks)).cumsum(axis=1)
    return walk / np.sqrt(np.arange(1, looks + 1))


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.1])
@pytest.mark.parametrize("size", [100, 20_000, 10**7])
def test_tuning_is_the_numeric_minimum_of_the_width_at_the_planned_size(alpha, size):
    found = optimize.minimize_scalar(
        lambda log_rho2: float(sequential.critical_value(size, np.exp(log_rho2), alpha)),
        bounds=(-30, 5),
        method="bounded",
        options={"xatol": 1e-10},
    )
    rho2 = float(sequential.tune_rho2(size, alpha))
    assert rho2 == pytest.approx(np.exp(found.x), rel=1e-4)
    # At the optimum the critical value is sqrt(u): both follow from the derivative being 0.
    assert float(sequential.critical_value(size, rho2, alpha)) == pytest.approx(np.sqrt(size * rho2 + 1))


def test_half_width_is_the_published_formula():
    arms = MeanStats(700, 5.2, 2800), MeanStats(500, 5.0, 2000)
    cell = sequential.compare(*arms, planned_units=4000, alpha=0.05).cell()
    se = np.sqrt(2800 / 699 / 700 + 2000 / 499 / 500)
    rho2 = float(sequential.tune_rho2(4000, 0.05))
    u = 1200 * rho2 + 1
    half = se * np.sqrt(u / (1200 * rho2) * np.log(u / 0.05**2))
    assert cell.absolute.upper - cell.absolute.estimate == pytest.approx(half, rel=1e-12)
    assert (cell.method, cell.interval_kind) == ("asymptotic_confidence_sequence", "confidence_sequence")


def test_e_value_is_the_normal_mixture_of_likelihood_ratios():
    # Independent: integrate exp(lam S - lam^2 n / 2) over lam ~ normal(0, rho^2), S = z sqrt(n).
    from scipy import integrate

    n, rho2, z = 200.0, 0.03, 2.3
    mixed = integrate.quad(
        lambda lam: np.exp(lam * z * np.sqrt(n) - lam**2 * n / 2) * reference.norm.pdf(lam, 0, np.sqrt(rho2)), -2, 2
    )[0]
    assert float(sequential.log_e_value(z, n, rho2)) == pytest.approx(np.log(mixed), rel=1e-9)
    # And the one-sided p-value is at least that of the half-normal mixture, so its error is no larger.
    half = (
        2
        * integrate.quad(
            lambda lam: np.exp(lam * z * np.sqrt(n) - lam**2 * n / 2) * reference.norm.pdf(lam, 0, np.sqrt(rho2)), 0, 2
        )[0]
    )
    one_sided = float(sequential.one_sided_p_value(z, n, rho2))
    assert 1 / half < one_sided < 1.1 / half


@given(means, means, planned, st.sampled_from([0.001, 0.05, 0.2]))
def test_sequence_and_fieller_exclude_zero_exactly_when_the_always_valid_p_is_below_alpha(a, b, size, alpha):
    result = sequential.compare(a, b, planned_units=size, alpha=alpha)
    cell = result.cell()
    if cell.relative_not_computable is None and abs(cell.p_value - alpha) > 1e-9 * alpha:
        rejects = cell.p_value < alpha
        assert (cell.absolute.lower > 0 or cell.absolute.upper < 0) == rejects
        assert bool(result.relative.excludes_zero) == rejects
        if cell.relative_kind == SetKind.BOUNDED:
            assert (cell.relative.lower > 0 or cell.relative.upper < 0) == rejects


@given(means, means, planned, st.floats(1e-3, 1e3))
def test_swapping_flips_signs_and_rescaling_keeps_p(a, b, size, factor):
    there, back = (sequential.compare(*pair, planned_units=size).cell() for pair in ((a, b), (b, a)))
    assert there.p_value == pytest.approx(back.p_value)
    assert there.absolute.lower == pytest.approx(-back.absolute.upper)
    scaled = [MeanStats(arm.n, arm.mean * factor, arm.m2 * factor**2) for arm in (a, b)]
    other = sequential.compare(*scaled, planned_units=size).cell()
    assert other.p_value == pytest.approx(there.p_value, rel=1e-6, abs=1e-300)


@given(means, means, planned)
def test_watching_costs_width(a, b, size):
    watched, once = sequential.compare(a, b, planned_units=size).cell(), fixed.compare(a, b).cell()
    if min(int(a.n), int(b.n)) > 30:
        assert watched.absolute.lower < once.absolute.lower


bounds = st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 5)), min_size=1, max_size=20)


@given(bounds)
def test_running_intersection_never_widens_and_lies_in_every_look(looks):
    lower = np.array([centre - half for centre, half in looks])
    upper = np.array([centre + half for centre, half in looks])
    low, high = sequential.running_intersection(lower, upper)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert (low >= lower).all()
    assert (high <= upper).all()


def test_running_intersection_skips_looks_without_bounds():
    low, high = sequential.running_intersection([np.nan, -1, np.nan], [np.nan, 1, np.nan])
    np.testing.assert_array_equal(low, [np.nan, -1, -1])
    np.testing.assert_array_equal(high, [np.nan, 1, 1])


@pytest.mark.parametrize(("looks", "published"), [(5, 0.142), (20, 0.248), (100, 0.374)])
def test_simulator_reproduces_the_known_error_of_naive_peeking(looks, published):
    # Armitage, McPherson and Rowe (1969), table 2: repeated tests at 5%.
    runs = 20_000
    crossed = (np.abs(null_paths(runs, looks, looks)) > reference.norm.isf(0.025)).any(axis=1).mean()
    assert crossed == pytest.approx(published, abs=slack(published, runs) + 0.0005)


@pytest.mark.parametrize("tuned_at", [0.05, 0.5, 1.0])
def test_sequence_watched_at_500_looks_errs_at_most_alpha(tuned_at):
    runs, looks, batch = 4000, 500, 100
    n = batch * np.arange(1, looks + 1)
    rho2 = sequential.tune_rho2(tuned_at * n[-1], 0.05)
    z = null_paths(runs, looks, 7)
    wrong = (sequential.p_value(z, n, rho2) < 0.05).any(axis=1).mean()
    assert wrong <= 0.05 + slack(0.05, runs)
    # Not by never rejecting: a sequence tuned inside the window spends a good part of its alpha.
    assert wrong > 0.01


def test_one_sided_sequence_watched_at_500_looks_errs_at_most_alpha():
    runs, looks = 4000, 500
    n = 100 * np.arange(1, looks + 1)
    z = null_paths(runs, looks, 8)
    p = sequential.one_sided_p_value(z, n, sequential.tune_rho2(25_000, 0.1))
    wrong = (p < 0.05).any(axis=1).mean()
    assert 0.01 < wrong <= 0.05 + slack(0.05, runs)


def test_real_conversions_watched_from_the_guard_on_err_at_most_alpha():
    # Whole path, estimated variances: Bernoulli .3, 200 looks of 50 units per arm.
    rng = np.random.default_rng(3)
    runs, looks, batch = 2000, 200, 50
    counts = rng.binomial(batch, 0.3, size=(2, runs, looks)).cumsum(axis=-1)
    n = np.broadcast_to(batch * np.arange(1, looks + 1), counts[0].shape)
    result = sequential.compare(ProportionStats(n, counts[0]), ProportionStats(n, counts[1]), planned_units=20_000)
    blocks = sequential.efficacy_guard(np.stack([n, n], -1), np.moveaxis(counts, 0, -1))
    rejected = (result.p_value < 0.05) & (blocks == None)  # noqa: E711 - elementwise
    assert rejected.any(axis=1).mean() <= 0.05 + slack(0.05, runs)


def test_effect_is_found_with_80_percent_power_at_1_7_times_the_fixed_size():
    # Both sizes in standardised information z^2: fixed needs (1.960 + 0.842)^2 = 7.849 for 80% power.
    runs, looks = 4000, 100
    drift = np.sqrt(1.7 * 7.849 * np.arange(1, looks + 1) / looks)
    n = 100 * np.arange(1, looks + 1)
    z = null_paths(runs, looks, 4) + drift
    power = (sequential.p_value(z, n, sequential.tune_rho2(n[-1], 0.05)) < 0.05).any(axis=1).mean()
    assert power == pytest.approx(0.80, abs=0.03)


def test_one_sided_bound_is_the_published_boundary_and_close_to_two_sided_at_twice_alpha():
    n = np.array([100.0, 5000, 10**6])
    rho2 = float(sequential.tune_rho2(5000, 0.1))
    u = n * rho2 + 1
    published = np.sqrt(2 * u / (n * rho2) * np.log(1 + np.sqrt(u) / 0.1))
    one = sequential.one_sided_critical_value(n, rho2, 0.05)
    np.testing.assert_allclose(one, published, rtol=1e-12)
    two = sequential.critical_value(n, rho2, 0.1)
    assert (one > two).all()
    assert (one < 1.02 * two).all()


@given(means, means, st.floats(0, 5), st.sampled_from(["increase", "decrease"]), st.booleans())
def test_margin_is_excluded_by_its_bound_exactly_when_p_is_below_alpha(a, b, size, direction, relative):
    got = sequential.non_inferiority(
        a, b, margin=Margin(size, relative=relative), planned_units=2000, direction=direction
    )
    if np.isfinite(got.bound) and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        safe = got.bound > got.limit if direction == "increase" else got.bound < got.limit
        assert bool(safe) == bool(got.p_value < 0.05) == bool(got.non_inferior)


def test_no_units_are_no_evidence_and_no_warning():
    cell = sequential.compare(MeanStats(0, 0, 0), MeanStats(0, 0, 0), planned_units=10).cell()
    assert cell.not_computable == NotComputable.NO_UNITS
    assert cell.p_value is None
    assert float(sequential.p_value(0.0, 0, 0.1)) == 1
    assert float(sequential.one_sided_p_value(-3.0, 50, 0.1)) == 1
    assert float(sequential.p_value(200.0, 10**6, 0.1)) == 0


def test_extreme_arguments_have_the_limits_of_the_formulas_and_no_warning():
    # A square beyond all floats is certainty, unless there are no units at all.
    for z in (1e200, np.inf):
        for function in (sequential.p_value, sequential.one_sided_p_value):
            assert function(z, [0, 10], 0.1).tolist() == [1, 0]
        assert sequential.log_e_value(z, [0, 10], 0.1).tolist() == [0, np.inf]
    for function in (sequential.p_value, sequential.one_sided_p_value, sequential.log_e_value):
        assert np.isnan(function(np.nan, [0, 10], 0.1)).all()
    for function in (sequential.critical_value, sequential.one_sided_critical_value):
        assert function([0, 1e-320], 0.1, 0.05).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("alpha", [1e-300, 1e-170, 1.0001e-100, 0.9999e-100, 1e-20, 0.05, 0.6])
def test_tuning_solves_its_equation_at_any_error_rate(alpha):
    # u - ln u = 1 - 2 ln alpha at the narrowest interval.
    u = 1 + 100 * float(sequential.tune_rho2(100, alpha))
    assert u - np.log(u) == pytest.approx(1 - 2 * np.log(alpha), rel=1e-12)
    assert sequential.compare(MeanStats(9, 1, 1), MeanStats(9, 1, 1), planned_units=18, alpha=alpha).p_value == 1
    # The one-sided formula as it stands, in logarithms: ln(1 + x) is ln x where x is huge.
    if alpha < 1e-20:
        expected = np.sqrt(2 * 1.5 * (np.log(3) / 2 - np.log(2) - np.log(alpha)))
        assert float(sequential.one_sided_critical_value(20, 0.1, alpha)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [1 - 1e-10, float(np.nextafter(1, 0))])
def test_tuning_keeps_its_digits_at_error_rates_near_one(alpha):
    # With d = u - 1 the equation is d - ln(1 + d) = -2 ln alpha, and its left side is d^2 / 2 but for d^3 / 3.
    d = 100 * float(sequential.tune_rho2(100, alpha))
    assert d == pytest.approx(np.sqrt(-4 * np.log(alpha)), rel=d)


def test_margin_answers_have_the_shape_of_the_whole_grid():
    plan = {"planned_units": 300, "direction": "increase"}
    for relative in (False, True):
        got = sequential.non_inferiority(
            *two_cells(), margin=Margin(0.1, relative=relative), alpha=[[0.01], [0.05], [0.1]], **plan
        )
        for name in ("bound", "limit", "p_value", "non_inferior", "not_computable"):
            assert getattr(got, name).shape == (3, 2)


def two_cells():
    return ProportionStats([100, 200], [30, 40]), ProportionStats([100, 200], [30, 50])


def test_guard_pairs_arms_that_are_broadcast():
    # The arms lie along the first axis of the common grid, which only one of the two arrays has.
    for n, nonzero in (([[600, 600], [600, 600]], [150, 50]), ([600, 600], [[150, 150], [150, 50]])):
        assert sequential.efficacy_guard(n, nonzero, axis=0).tolist() == [None, "TOO_FEW_NONZERO"]


@pytest.mark.parametrize(
    ("n", "nonzero", "block"),
    [
        ([500, 500], [100, 100], None),
        ([499, 9000], [200, 900], "TOO_FEW_UNITS"),
        ([9000, 500], [900, 99], "TOO_FEW_NONZERO"),
        ([9000, 9000, 10], [900, 900, 5], "TOO_FEW_UNITS"),
    ],
)
def test_guard_names_what_is_missing_in_any_arm(n, nonzero, block):
    assert sequential.efficacy_guard(n, nonzero).item() == block


@pytest.mark.parametrize(
    ("n", "nonzero", "block"),
    [
        ([200, 500], [50, 50], None),
        ([199, 200], [199, 200], "TOO_FEW_CLUSTERS"),
        ([200, 500], [49, 400], "TOO_FEW_NONZERO_CLUSTERS"),
        # One of them has more than 2.5 times the other: skewness does not cancel.
        ([501, 200], [300, 200], "TOO_FEW_CLUSTERS"),
        ([500, 9000], [99, 900], "TOO_FEW_NONZERO_CLUSTERS"),
        ([500, 9000], [100, 900], None),
        ([0, 0], [0, 0], "TOO_FEW_CLUSTERS"),
    ],
)
def test_guard_of_clusters_asks_for_more_where_arms_are_uneven(n, nonzero, block):
    assert sequential.cluster_guard(n, nonzero).item() == block
    assert sequential.cluster_guard([n, [900, 900]], [nonzero, [800, 800]]).tolist() == [block, None]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: sequential.efficacy_guard(5, 1), "n must have"),
        (lambda: sequential.efficacy_guard([[]], [[]]), "n must have"),
        (lambda: sequential.efficacy_guard([5, 5], [1, 1], axis=2), "axis 2"),
        (lambda: sequential.efficacy_guard([5, 5], [6, 1]), "nonzero"),
        (lambda: sequential.cluster_guard(5, 1), "n must have"),
        (lambda: sequential.cluster_guard([5, 5], [6, 1]), "nonzero"),
        (lambda: sequential.tune_rho2(0, 0.05), "planned_units"),
        (lambda: sequential.tune_rho2(1e-320, 0.05), "planned_units"),
        (lambda: sequential.tune_rho2([1, 2], [0.1, 0.2, 0.3]), "planned_units"),
        (lambda: sequential.critical_value(5, 0, 0.05), "rho2"),
        (lambda: sequential.critical_value(-5, 1, 0.05), "n must not be negative"),
        (lambda: sequential.critical_value([1, 2], [1, 2, 3], 0.05), "rho2"),
        (lambda: sequential.critical_value([1, 2], 1, [0.1, 0.2, 0.3]), "alpha"),
        (lambda: sequential.one_sided_critical_value(-5, 1, 0.05), "n must not be negative"),
        (lambda: sequential.one_sided_critical_value([1, 2], 1, [0.1, 0.2, 0.3]), "alpha"),
        (lambda: sequential.p_value(1, -5, 1), "n must not be negative"),
        (lambda: sequential.p_value(1, np.inf, 1), "n must be finite"),
        (lambda: sequential.p_value(1, 1e200, 1e200), "n times rho2"),
        (lambda: sequential.p_value([1, 2], [1, 2, 3], 1), "z "),
        (lambda: sequential.log_e_value(1, -5, 1), "n must not be negative"),
        (lambda: sequential.one_sided_p_value(1, -5, 1), "n must not be negative"),
        (lambda: sequential.one_sided_p_value([1, 2], [1, 2, 3], 1), "z "),
        (lambda: sequential.running_intersection([1, 2], [1]), "lower and upper"),
        (lambda: sequential.running_intersection(1.0, 2.0), "lower and upper"),
        (lambda: sequential.running_intersection([1.0], [2.0], axis=1), "axis 1"),
        (lambda: sequential.compare(*two_cells(), planned_units=[1, 2, 3]), "planned_units"),
        (lambda: sequential.compare(*two_cells(), planned_units=9, alpha=[0.1, 0.2, 0.3]), "alpha"),
        *(
            (
                lambda change=change: sequential.non_inferiority(
                    *two_cells(), **{"margin": Margin(1), "planned_units": 9, "direction": "increase"} | change
                ),
                name,
            )
            for change, name in (
                ({"planned_units": [1, 2, 3]}, "planned_units"),
                ({"alpha": [0.1, 0.2, 0.3]}, "alpha"),
                ({"margin": Margin([1, 2, 3])}, "margin"),
            )
        ),
        (
            lambda: sequential.non_inferiority(
                MeanStats(2, 0, 1),
                MeanStats(2, 0, 1),
                margin=Margin(0),
                planned_units=9,
                alpha=0.5,
                direction="increase",
            ),
            "alpha",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
