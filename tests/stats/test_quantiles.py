"""Quantiles from counts below cut points: brute force, closed forms, coverage, degenerate cells, refusals."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference

from abplatform.stats import Caution, NotComputable, RatioStats, bayes, fixed, sequential
from abplatform.stats.sufficient.clusters import reduce_clusters
from abplatform.stats.sufficient.quantiles import QuantileStats, cut_points

Z = reference.norm.ppf(0.975)
MOMENTS = ("n", "mean_y", "mean_d", "m2_y", "m2_d", "c_yd")
levels = st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.9, 0.99])
seconds = st.lists(st.integers(0, 20), min_size=1, max_size=60)
events = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), max_size=40)
CUTS = np.arange(21.0)


def stacked(arms, q, cuts):
    """Many arms as one grid of cells."""
    parts = {name: np.stack([np.broadcast_to(getattr(arm.below, name), len(cuts)) for arm in arms]) for name in MOMENTS}
    return QuantileStats(RatioStats(**parts), q=q, cuts=cuts)


def clustered(rows, **options):
    return QuantileStats.of(
        [value for _, value in rows], clusters=[unit for unit, _ in rows], q=0.75, cuts=CUTS, **options
    )


def assert_same(left, right):
    for name in MOMENTS:
        np.testing.assert_allclose(getattr(left.below, name), getattr(right.below, name), rtol=1e-9, atol=1e-9)


# Point estimates


@given(seconds, levels)
def test_attained_is_the_smallest_value_that_a_share_of_q_does_not_exceed(values, q):
    # Brute force in exact arithmetic: the k-th smallest value with k / n >= q.
    rank = ceil(Fraction(str(q)) * len(values))
    assert float(QuantileStats.of(values, q=q).attained) == sorted(values)[rank - 1]


@given(seconds, st.integers(1, 127).map(lambda k: k / 128))
def test_attained_equals_numpys_inverted_cdf(values, q):
    # Levels that floating point holds exactly, so that numpy does not round to the neighbouring rank.
    expected = np.quantile(values, q, method="inverted_cdf")
    assert float(QuantileStats.of(values, q=q).attained) == expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60, unique=True), st.integers(1, 127))
def test_points_of_the_interval_equal_numpys_interpolated_inverse(values, level):
    expected = np.quantile(values, level / 128, method="interpolated_inverted_cdf")
    cell = QuantileStats.of(values, q=level / 128).interval()
    assert float(cell.estimate) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(seconds, levels)
def test_the_grouped_quantile_lies_in_the_step_below_the_attained_one(values, q):
    stats = QuantileStats.of(values, q=q, cuts=np.arange(-1, 21))
    middle = float(stats.interval().estimate)
    assert float(stats.attained) - 1 <= middle <= float(stats.attained)


# Variance


def test_variance_is_woodruffs_interval_over_its_width_in_standard_errors():
    values, q, n = np.random.default_rng(1).lognormal(size=400), 0.6, 400
    error = np.sqrt(q * (1 - q) / (n - 1))
    ends = np.quantile(values, [q - Z * error, q + Z * error], method="interpolated_inverted_cdf")
    # Interpolation between single events shrinks the binomial variance by at most 1 / (4 n q (1 - q)).
    assert float(QuantileStats.of(values, q=q).variance) ** 0.5 == pytest.approx(np.diff(ends)[0] / (2 * Z), rel=0.01)


@pytest.mark.parametrize("q", [0.25, 0.5, 0.9])
def test_variance_approaches_the_closed_form_of_a_known_density(q):
    # q (1 - q) / (n f^2); the values are the normal's own quantiles, so that nothing is random.
    n = 1_000_000
    values = reference.norm.ppf((np.arange(n) + 0.5) / n)
    expected = q * (1 - q) / n / reference.norm.pdf(reference.norm.ppf(q)) ** 2
    assert float(QuantileStats.of(values, q=q).variance) == pytest.approx(expected, rel=1e-3)


def test_variance_within_one_step_is_the_delta_method_of_the_interpolated_quantile():
    # Gradient of 1 + (q - F1) / (F2 - F1) by differences, with the covariance of two multinomial shares.
    q, n, shares = 0.5, 10_000, np.array([0.3, 0.8])

    def quantile(first, second):
        return 1 + (q - first) / (second - first)

    step = 1e-6
    gradient = [
        (quantile(*(shares + step * side)) - quantile(*(shares - step * side))) / (2 * step) for side in np.eye(2)
    ]
    covariance = np.array([[0.3 * 0.7, 0.3 * 0.2], [0.3 * 0.2, 0.8 * 0.2]]) / (n - 1)
    stats = QuantileStats.from_counts(n, [3000, 8000, 10_000], q=q, cuts=[1, 2, 3])
    assert float(stats.estimate) == pytest.approx(1.4, rel=1e-12)
    assert float(stats.variance) == pytest.approx(np.array(gradient) @ covariance @ gradient, rel=1e-6)


def test_clusters_of_identical_events_count_once():
    values = np.random.default_rng(2).gamma(2, size=300)
    once = QuantileStats.of(values, q=0.75)
    repeated = QuantileStats.of(np.repeat(values, 7), q=0.75, clusters=np.repeat(np.arange(300), 7))
    assert float(repeated.estimate) == pytest.approx(float(once.estimate), rel=1e-9)
    assert float(repeated.variance) == pytest.approx(float(once.variance), rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 21)), min_size=1, max_size=40))
def test_clusters_reduce_to_the_moments_of_a_dense_table(rows):
    # Brute force: one row per cut point, one column per cluster.
    labels, values = (np.array(part) for part in zip(*rows, strict=True))
    found = reduce_clusters(values.astype(float), labels, CUTS)
    units = np.unique(labels)
    below = [[np.sum((labels == unit) & (values <= cut)) for unit in units] for cut in CUTS]
    dense = RatioStats.of(below, [[np.sum(labels == unit) for unit in units]] * CUTS.size)
    for name in MOMENTS:
        expected = np.broadcast_to(getattr(dense, name), CUTS.shape)
        np.testing.assert_allclose(np.broadcast_to(getattr(found, name), CUTS.shape), expected, rtol=1e-9, atol=1e-9)


def test_units_with_one_value_each_give_the_same_by_counts_and_by_clusters():
    values = np.random.default_rng(3).integers(0, 20, size=(3, 200))
    plain = QuantileStats.of(values, q=[0.5, 0.75, 0.9], cuts=CUTS)
    by_cluster = QuantileStats.of(values, q=[0.5, 0.75, 0.9], cuts=CUTS, clusters=np.arange(200))
    np.testing.assert_allclose(plain.estimate, by_cluster.estimate, rtol=1e-12)
    np.testing.assert_allclose(plain.variance, by_cluster.variance, rtol=1e-9)


# Merging


@given(events, events, events)
def test_merging_is_associative_order_free_and_equals_one_pass(first, second, third):
    # Clusters of different parts are different clusters.
    parts = [[(f"{part}-{unit}", value) for unit, value in rows] for part, rows in enumerate((first, second, third))]
    a, b, c = (clustered(rows) for rows in parts)
    assert_same((a + b) + c, a + (b + c))
    assert_same(a + b, b + a)
    assert_same(a + b + c, clustered([row for rows in parts for row in rows]))


def test_merging_many_parts_keeps_a_share_that_equals_q():
    # Half of the events lie at or below 5 in every part: rounding must not push the median to the next cut point.
    parts = [QuantileStats.of([5, 6] * size, q=0.5, cuts=[4, 5, 6]) for size in range(1, 200)]
    assert float(sum(parts[1:], parts[0]).attained) == 5


# Coverage and error rates


def test_clustered_p90_intervals_cover_and_naive_ones_do_not():
    # Latencies of users: lognormal around the user's own level, as many requests as a geometric number gives. Their
    # margin is lognormal with variance .7^2 + .8^2, so that the true p90 is known; treatment is 10% slower.
    rng, runs, users, q = np.random.default_rng(20), 1200, 300, 0.9
    truth = np.exp(reference.norm.ppf(q) * np.hypot(0.7, 0.8))

    def latencies(size):
        requests = rng.geometric(0.15, size)
        user = np.repeat(np.arange(size), requests)
        return np.exp(0.7 * rng.normal(size=size)[user] + 0.8 * rng.normal(size=user.size)), user

    cuts = cut_points(latencies(3000)[0], q=q, n=150)
    arms, naive = ([], []), ([], [])
    for _ in range(runs):
        for which, factor in enumerate((1.1, 1.0)):
            values, user = latencies(users)
            arms[which].append(QuantileStats.of(factor * values, clusters=user, q=q, cuts=cuts))
            naive[which].append(QuantileStats.of(factor * values, q=q, cuts=cuts))

    def coverage(pair):
        result = fixed.compare(*(stacked(arm, q, cuts) for arm in pair))
        assert (result.not_computable == None).all()  # noqa: E711 - elementwise
        return np.mean((result.absolute.lower <= 0.1 * truth) & (0.1 * truth <= result.absolute.upper))

    slack = 3 * np.sqrt(0.05 * 0.95 / runs)
    assert 0.945 - slack < coverage(arms) < 0.96 + slack
    assert coverage(naive) < 0.9 - slack


def false_alarms(n, q, shares, runs=4000, seed=30):
    """Share of equal arms of whole seconds that a test at 5% calls different."""
    counts = np.random.default_rng(seed).multinomial(n, shares, size=(2, runs)).cumsum(axis=-1)
    arms = [
        QuantileStats.from_counts(np.full(runs, n), part, q=q, cuts=np.arange(len(shares)), closed=True)
        for part in counts
    ]
    return np.mean(fixed.compare(*arms).p_value < 0.05)


@pytest.mark.parametrize(("n", "q"), [(100, 0.5), (1000, 0.5), (1000, 0.9), (10_000, 0.95)])
def test_equal_arms_of_whole_seconds_differ_at_most_at_the_promised_rate(n, q):
    # Steps instead of interpolation give .14 at n = 100, q = .5.
    shares = np.diff(reference.poisson.cdf(np.arange(20), 3), prepend=0)
    assert false_alarms(n, q, shares / shares.sum()) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("q", [0.3, 0.5, 0.9])
def test_equal_arms_at_the_edge_of_a_popular_amount_are_not_called_different(q):
    # Popular amounts 1, 3, 7, 9, hardly anything between: q lies on the edge, where the estimate jumps by chance. The
    # plain width over 2 z would give .49. Two arms fall on different sides half of the time, hence no exact rate.
    shares = np.array([0.001, 1.2, 0.001, 0.8, 0.001, 0.001, 0.001, 1.6, 0.001, 0.4, 0.001])
    assert false_alarms(500, q, shares / shares.sum()) < 0.075


# Methods and properties


def two_arms(seed=4, factor=1.0):
    rng = np.random.default_rng(seed)
    cuts = np.linspace(0, 12, 121)
    unit = np.repeat(np.arange(300), 3)
    raw = [np.minimum(rng.gamma(2, scale, size=900), 11) for scale in (1.1, 1.0)]
    return [QuantileStats.of(factor * part, clusters=unit, q=0.5, cuts=factor * cuts) for part in raw]


def test_every_method_takes_quantiles_as_they_are():
    treatment, control = two_arms()
    difference = float(treatment.estimate - control.estimate)
    error = float(treatment.variance + control.variance) ** 0.5
    once = fixed.compare(treatment, control).cell()
    watched = sequential.compare(treatment, control, planned_units=600).cell()
    believed = bayes.compare(treatment, control, prior_scale=100.0).cell()
    assert (once.method, once.absolute.estimate) == ("quantile_t", difference)
    # Equal sizes: Welch's freedom follows from the two variances.
    share = float(treatment.variance) / error**2
    critical = reference.t.ppf(0.975, 299 / (share**2 + (1 - share) ** 2))
    assert once.absolute.upper == pytest.approx(difference + critical * error, rel=1e-9)
    assert watched.absolute.lower < once.absolute.lower
    assert believed.absolute.estimate == pytest.approx(difference, rel=1e-3)


def test_swapping_flips_signs_and_rescaling_keeps_p():
    there, back = (fixed.compare(*pair).cell() for pair in (two_arms(), two_arms()[::-1]))
    assert there.absolute.lower == pytest.approx(-back.absolute.upper)
    assert fixed.compare(*two_arms(factor=1000.0)).cell().p_value == pytest.approx(there.p_value, rel=1e-6)


def test_a_grid_of_metrics_and_variants_equals_its_cells():
    rng = np.random.default_rng(5)
    cuts = np.stack([CUTS, 2 * CUTS + 1])[:, None]
    counts = np.sort(rng.integers(0, 500, size=(2, 3, 21)), axis=-1)
    q = np.array([[0.3], [0.6]])
    grid = QuantileStats.from_counts(np.full((2, 3), 500), counts, q=q, cuts=cuts)
    for metric in range(2):
        for variant in range(3):
            cell = QuantileStats.from_counts(500, counts[metric, variant], q=q[metric, 0], cuts=cuts[metric, 0])
            assert float(grid.estimate[metric, variant]) == float(cell.estimate)
            assert float(grid.variance[metric, variant]) == float(cell.variance)


def test_one_arms_interval_inverts_the_shares():
    bounds = QuantileStats.of(np.arange(1, 1001), q=0.5).interval(0.01)
    # t quantile of 999 degrees of freedom; shares are value / 1000.
    half = reference.t.ppf(0.995, 999) * np.sqrt(0.25 / 999) * 1000
    assert (float(bounds.lower), float(bounds.upper)) == pytest.approx((500 - half, 500 + half), rel=1e-3)


# Degenerate cells


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        (QuantileStats.from_counts(0, [0, 0], q=0.5, cuts=[1, 2]), NotComputable.NO_UNITS),
        (QuantileStats.from_counts(1, [0, 1], q=0.5, cuts=[1, 2]), NotComputable.ONE_UNIT),
        # Nothing of the last 60% lies on the grid; nothing but the grid's first cut point bounds the lowest 60%.
        (QuantileStats.from_counts(100, [0, 40], q=0.5, cuts=[1, 2]), NotComputable.NOT_REACHED),
        (QuantileStats.from_counts(100, [60, 100], q=0.5, cuts=[1, 2]), NotComputable.NOT_REACHED),
        # The p90 of 20 units is known, an upper bound of it is not: .9 + 2 sqrt(.9 * .1 / 19) > 1.
        (QuantileStats.from_counts(20, np.arange(1, 21), q=0.9, cuts=np.arange(20)), NotComputable.NOT_REACHED),
        (QuantileStats.from_counts(100, [90, 100], q=0.5, cuts=[0, 1], closed=True), NotComputable.ZERO_VARIANCE),
        (QuantileStats.from_counts(100, [0, 100], q=0.5, cuts=[0, 1]), NotComputable.ZERO_VARIANCE),
    ],
)
def test_cells_without_inference_say_why(arm, reason):
    for result in (
        fixed.compare(arm, arm),
        sequential.compare(arm, arm, planned_units=100),
        bayes.compare(arm, arm, prior_scale=1.0),
    ):
        cell = result.cell()
        assert cell.not_computable == reason
        assert cell.p_value is cell.chance_to_win is cell.absolute.lower is None


def test_attained_is_known_where_the_interval_is_not():
    stats = QuantileStats.of(np.arange(1, 21), q=0.9)
    assert (float(stats.attained), bool(np.isnan(stats.estimate))) == (18.0, True)
    assert np.isnan(stats.interval().upper)
    assert float(stats.interval().lower) == pytest.approx(15.1, abs=0.1)


def test_no_events_and_events_beyond_the_grid_have_no_quantile():
    silent = RatioStats(5, [0.0, 0.0], 0.0, m2_y=0.0, m2_d=0.0, c_yd=0.0)
    for closed in (False, True):
        stats = QuantileStats(silent, q=0.5, cuts=[1, 2], closed=closed)
        assert np.isnan(stats.estimate)
        assert np.isnan(stats.attained)


def test_coarse_grids_and_gaps_are_flagged_and_fine_ones_are_not():
    values = np.random.default_rng(6).lognormal(size=2000)
    fine = QuantileStats.of(values, q=0.5, cuts=np.linspace(0.02, 9, 500))
    wide = QuantileStats.of(values, q=0.5, cuts=np.linspace(0.02, 9, 5))
    gap = QuantileStats.of(np.where(values < 1, values, values + 50), q=np.mean(values < 1))
    assert [int(each.cautions) & Caution.COARSE_QUANTILE for each in (fine, wide, gap)] == [0, 32, 32]


def test_few_clusters_are_flagged():
    assert int(QuantileStats.of(np.arange(39), q=0.5).cautions) & Caution.FEW_CLUSTERS
    assert not int(QuantileStats.of(np.arange(40), q=0.5).cautions) & Caution.FEW_CLUSTERS


@given(
    st.integers(0, 300),
    st.lists(st.integers(0, 300), min_size=1, max_size=12),
    st.lists(
        st.sampled_from([-1e308, -1e150, -1.0, 0.0, 1e-300, 1.0, 2.0, 1e9, 1e150, 1e308]), min_size=1, unique=True
    ),
    levels,
    st.booleans(),
)
def test_every_cell_has_a_whole_answer_or_a_reason(n, counts, cuts, q, closed):
    size = min(len(counts), len(cuts))
    at_most = np.sort(np.minimum(counts[:size], n))
    arm = QuantileStats.from_counts(n, at_most, q=q, cuts=sorted(cuts)[:size], closed=closed)
    cell = fixed.compare(arm, arm).cell()
    if cell.not_computable is None:
        assert cell.absolute.lower <= 0 <= cell.absolute.upper
        assert cell.p_value == 1
    else:
        assert cell.p_value is cell.absolute.lower is None


# Grids


@given(st.integers(1, 400), levels, st.integers(3, 60))
def test_cut_points_are_pilot_values_from_end_to_end_with_the_quantile_among_them(size, q, n):
    assume(n % 2 == 1)
    pilot = np.random.default_rng(size).gamma(1, size=size)
    cuts = cut_points(pilot, q=q, n=n)
    assert np.isin(cuts, pilot).all()
    assert (cuts[0], cuts[-1]) == (pilot.min(), pilot.max())
    assert np.quantile(pilot, q, method="inverted_cdf") in cuts
    assert cuts.size <= n


def test_a_grid_of_200_cut_points_keeps_the_answer_of_the_distinct_values():
    rng = np.random.default_rng(7)
    values, cuts = rng.lognormal(size=5000), cut_points(rng.lognormal(size=5000), q=0.9)
    exact, binned = QuantileStats.of(values, q=0.9), QuantileStats.of(values, q=0.9, cuts=cuts)
    error = float(exact.variance) ** 0.5
    assert float(binned.estimate) == pytest.approx(float(exact.estimate), abs=error / 20)
    assert float(binned.variance) ** 0.5 == pytest.approx(error, rel=0.05)


# Refusals


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: QuantileStats.of([1, np.nan], q=0.5), "values"),
        (lambda: QuantileStats.of([], q=0.5), "cuts must be given"),
        (lambda: QuantileStats.of([1, 2], q=0.5, cuts=[]), "cuts must not be empty"),
        (lambda: QuantileStats.of([1, 2], q=0.5, cuts=[[1, 2]]), "cuts must be one grid"),
        (lambda: QuantileStats.of([1, 2], q=1.0), "q must"),
        (lambda: QuantileStats.of([1, 2], q=0.5, clusters=[1]), "clusters"),
        (lambda: QuantileStats.of([1, 2], q=0.5, cuts=[2, 1]), "cuts must rise"),
        (lambda: QuantileStats.of([1, 2], q=0.5, cuts=[1, np.inf]), "cuts must be finite"),
        (lambda: QuantileStats.from_counts(3, [1, 4], q=0.5, cuts=[1, 2]), "at_most must not exceed"),
        (lambda: QuantileStats.from_counts(3, [2, 1], q=0.5, cuts=[1, 2]), "below must not fall"),
        (lambda: QuantileStats.from_counts(3, [-1, 1], q=0.5, cuts=[1, 2]), "at_most must not be negative"),
        (lambda: QuantileStats.from_counts(3, [1, 2, 3], q=0.5, cuts=[1, 2]), "below"),
        (lambda: QuantileStats.from_counts([3, 3], [[1], [2], [3]], q=0.5, cuts=[1]), "at_most"),
        (lambda: QuantileStats.from_counts([3, 3], [[1], [2]], q=[0.5] * 3, cuts=[1]), "q, cuts and below"),
        (lambda: QuantileStats(RatioStats.of([[2, 3]], [[1, 1]]), q=0.5, cuts=[1]), "below must count"),
        (lambda: cut_points([], q=0.5), "values"),
        (lambda: cut_points([1.0], q=0.5, n=2), "n must"),
        (lambda: cut_points([1.0], q=0.0), "q must"),
    ],
)
def test_impossible_input_is_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


@pytest.mark.parametrize(
    ("other", "name"),
    [({"q": 0.6, "cuts": [1, 2]}, "q"), ({"q": 0.5, "cuts": [1, 3]}, "cuts"), ({"q": 0.5, "cuts": [1, 2, 3]}, "cuts")],
)
def test_parts_of_different_quantiles_or_grids_do_not_merge(other, name):
    with pytest.raises(ValueError, match=f"{name} must be the same"):
        QuantileStats.of([1, 2], q=0.5, cuts=[1, 2]) + QuantileStats.of([1, 2], **other)


def test_statistics_are_frozen_down_to_their_arrays():
    stats = QuantileStats.of(np.arange(100), q=0.5)
    for array in (stats.cuts, stats.shares, stats.estimate, stats.variance):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_arms_of_different_levels_are_no_comparison() -> None:
    values = np.arange(1.0, 101.0)
    with pytest.raises(ValueError, match="the same q"):
        fixed.compare(QuantileStats.of(values, q=0.5), QuantileStats.of(values, q=0.9))


def test_anything_true_closes_the_grid_once():
    values, cuts = np.arange(10.0), np.arange(0.0, 12.0, 3.0)
    odd, plain = (QuantileStats.of(values, q=0.3, cuts=cuts, closed=closed) for closed in (2, True))
    assert odd.closed is True
    assert float(odd.variance) == float(plain.variance) > 0


def test_whole_floats_count_cut_points_and_others_are_refused():
    values = np.arange(100.0)
    assert cut_points(values, q=0.5, n=5.0).tolist() == cut_points(values, q=0.5, n=5).tolist()
    for n in (5.5, 2, [5, 6]):
        with pytest.raises(ValueError, match="n must be"):
            cut_points(values, q=0.5, n=n)
    with pytest.raises(ValueError, match="q must be one number"):
        cut_points(values, q=[0.5, 0.6])
