"""Capped means and skewness: scipy, merging, equality with plain means, warnings, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from abplatform.stats import Caution, MeanStats, NotComputable, bayes, fixed, sequential
from abplatform.stats.sufficient.capped import CappedStats, cap_from_history
from abplatform.stats.sufficient.moments import SkewStats

values = st.lists(st.floats(-1e4, 1e4, allow_subnormal=False), max_size=30)
amounts = st.lists(st.one_of(st.just(0.0), st.floats(0, 1e4, allow_subnormal=False)), min_size=2, max_size=40)


def assert_same(left, right, *, scale):
    for name in ("n", "mean", "m2"):
        one, other = getattr(left.base, name), getattr(right.base, name)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(left.m3, right.m3, rtol=1e-9, atol=1e-9 * scale)


# Skewness


@pytest.mark.parametrize("draw", ["lognormal", "normal", "exponential"])
def test_skewness_equals_scipy(draw):
    raw = getattr(np.random.default_rng(1), draw)(size=(3, 500))
    np.testing.assert_allclose(SkewStats.of(raw).skewness, reference.skew(raw, axis=-1), rtol=1e-10)


@given(values, values, values)
def test_merging_third_moments_is_associative_order_free_and_equals_one_pass(first, second, third):
    a, b, c = (SkewStats.of(part) for part in (first, second, third))
    scale = 1 + max(map(abs, first + second + third), default=0) ** 3
    assert_same((a + b) + c, a + (b + c), scale=scale)
    assert_same(a + b, b + a, scale=scale)
    assert_same(a + b + c, SkewStats.of(first + second + third), scale=scale)


def test_merged_skewness_of_many_parts_equals_scipy():
    parts = np.random.default_rng(2).lognormal(size=(200, 50)) + np.arange(200)[:, None]
    merged = SkewStats.of(parts[0])
    for part in parts[1:]:
        merged = merged + SkewStats.of(part)
    assert float(merged.skewness) == pytest.approx(reference.skew(parts.ravel()), rel=1e-10)


def test_merging_keeps_the_skewness_of_deviations_around_1e9():
    # Values 1e9 and, one in ten, 1e9 + 10: skewness (1 - 2p) / sqrt(p (1 - p)) for p = .1, closed form.
    block = SkewStats.of(1e9 + 10.0 * (np.arange(1000) % 10 == 0))
    merged = block + block + block
    assert float(merged.skewness) == pytest.approx(0.8 / 0.3, rel=1e-9)


def test_third_moments_from_raw_sums_equal_centred_ones():
    raw = np.random.default_rng(3).gamma(2, size=400)
    sums = SkewStats.from_sums(400, raw.sum(), np.square(raw).sum(), sum_cubes=(raw**3).sum())
    assert float(sums.skewness) == pytest.approx(reference.skew(raw), rel=1e-9)


def test_raw_sums_without_digits_left_stay_within_the_possible():
    # Means of 1e7 with deviations of 1: the cubes cancel, skewness is bounded by sqrt(n) all the same.
    raw = 1e7 + np.random.default_rng(4).normal(size=1000)
    stats = SkewStats.from_sums(1000, raw.sum(), np.square(raw).sum(), sum_cubes=(raw**3).sum())
    assert abs(float(stats.skewness)) <= np.sqrt(1000)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e9 / 3])
def test_constants_have_no_skewness(value):
    assert np.isnan(SkewStats.of([value] * 50).skewness)


# Capped means


@given(amounts, amounts)
def test_below_the_cap_every_answer_is_that_of_the_plain_mean(first, second):
    plain = [MeanStats.of(part) for part in (first, second)]
    for cap in (None, 2e4):
        capped = [CappedStats.of(part, cap=cap) for part in (first, second)]
        for compare in (
            fixed.compare,
            lambda *arms: sequential.compare(*arms, planned_units=100),
            lambda *arms: bayes.compare(*arms, prior_scale=1.0),
        ):
            mine, peer = compare(*capped).cell(), compare(*plain).cell()
            assert (mine.absolute, mine.relative, mine.p_value) == (peer.absolute, peer.relative, peer.p_value)
            assert (mine.chance_to_win, mine.not_computable) == (peer.chance_to_win, peer.not_computable)
            assert set(mine.warnings) - {"HEAVY_TAIL"} == set(peer.warnings)


def test_the_capped_mean_is_that_of_numpy_and_the_uncapped_one_stands_beside():
    raw = np.random.default_rng(5).lognormal(0, 2, size=(2, 400))
    cap = np.array([5.0, 20.0])
    stats = CappedStats.of(raw, cap=cap)
    tested = np.minimum(raw, cap[:, None])
    np.testing.assert_allclose(stats.estimate, tested.mean(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(stats.variance, tested.var(axis=-1, ddof=1) / 400, rtol=1e-12)
    np.testing.assert_allclose(stats.uncapped_mean, raw.mean(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(stats.skewness, reference.skew(tested, axis=-1), rtol=1e-9)
    np.testing.assert_array_equal(stats.share_capped, (raw > cap[:, None]).mean(axis=-1))


@given(amounts, amounts, st.one_of(st.none(), st.floats(1, 1e4)))
def test_merging_capped_arms_is_order_free_and_equals_one_pass(first, second, cap):
    a, b = (CappedStats.of(part, cap=cap) for part in (first, second))
    for merged in (a + b, b + a):
        whole = CappedStats.of(first + second, cap=cap)
        assert_same(merged.tested, whole.tested, scale=1 + max(first + second) ** 3)
        assert_same(merged.uncapped, whole.uncapped, scale=1 + max(first + second) ** 3)
        assert int(merged.capped) == int(whole.capped)


@pytest.mark.parametrize(("n", "heavy"), [(10, True), (795, True), (800, False), (5000, False)])
def test_heavy_tails_warn_below_355_times_squared_skewness(n, heavy):
    # One in five is 1, the others 0: squared skewness (1 - 2p)^2 / (p (1 - p)) is 2.25, times 355 is 798.75.
    arm = CappedStats.of(np.arange(n) % 5 == 0)
    assert bool(int(arm.cautions) & Caution.HEAVY_TAIL) == heavy


def test_a_cap_takes_the_warning_away_and_the_comparison_carries_it():
    raw = np.random.default_rng(6).lognormal(0, 2, size=(2, 3000))
    plain, capped = ([CappedStats.of(part, cap=cap) for part in raw] for cap in (None, 10.0))
    assert fixed.compare(*plain).cell().warnings == ("HEAVY_TAIL",)
    assert fixed.compare(*capped).cell().warnings == ()


def test_metrics_with_and_without_a_cap_share_a_grid():
    raw = np.arange(1.0, 9.0).reshape(2, 4)
    stats = CappedStats.of(raw, cap=[np.inf, 6.0])
    np.testing.assert_allclose(stats.estimate, [2.5, 5.75])
    assert stats.capped.tolist() == [0, 2]


# The cap


def test_the_cap_is_a_quantile_of_the_values_that_are_not_zero():
    history = np.concatenate([np.zeros(99_000), np.random.default_rng(7).permutation(np.arange(1.0, 1001.0))])
    assert np.quantile(history, 0.99, method="inverted_cdf") == 0
    assert cap_from_history(history) == 990
    assert cap_from_history(history, quantile=0.5) == 500


# Degenerate cells and refusals


@pytest.mark.parametrize(
    ("raw", "reason"),
    [([], NotComputable.NO_UNITS), ([3.0], NotComputable.ONE_UNIT), ([3.0, 3.0], NotComputable.ZERO_VARIANCE)],
)
@pytest.mark.parametrize("cap", [None, 2.0])
def test_cells_without_inference_say_why(raw, reason, cap):
    arm = CappedStats.of(raw, cap=cap)
    cell = fixed.compare(arm, arm).cell()
    assert cell.not_computable == reason
    assert cell.p_value is cell.absolute.lower is None
    assert np.isnan(arm.skewness)
    assert np.isnan(arm.share_capped) == (not raw)


def test_a_cap_below_every_value_leaves_no_variation():
    arm = CappedStats.of([5.0, 7.0, 9.0], cap=2.0)
    assert fixed.compare(arm, arm).cell().not_computable == NotComputable.ZERO_VARIANCE
    assert float(arm.share_capped) == 1


TWO = SkewStats.of([1.0, 3.0])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: CappedStats.of([1, np.inf]), "values"),
        (lambda: CappedStats.of([1, 2], cap=0), "cap must be greater than 0"),
        (lambda: CappedStats.of([1, 2], cap=np.nan), "cap must be finite"),
        (lambda: CappedStats.of([1, 2], cap="x"), "cap must be numbers"),
        (lambda: CappedStats.of([[1, 2]] * 3, cap=[1, 2]), "cap"),
        (lambda: CappedStats(TWO, SkewStats.of([1, 2, 3]), cap=9), "tested and uncapped"),
        (lambda: CappedStats(TWO, TWO, capped=3, cap=9), "capped must not exceed"),
        (lambda: CappedStats(TWO, TWO, capped=1), "capped must be 0"),
        (lambda: CappedStats(TWO, SkewStats.of([1, 2]), cap=9), "tested must not have a larger"),
        (lambda: CappedStats(TWO, TWO, cap=1.5), "tested must not have a mean above"),
        (lambda: CappedStats.of([1, 2], cap=3) + CappedStats.of([1, 2], cap=4), "cap must be the same"),
        (lambda: CappedStats.of([1, 2], cap=3) + CappedStats.of([1, 2]), "cap must be the same"),
        (lambda: SkewStats(MeanStats.of([1, 3]), 3.0), "m3 exceeds"),
        (lambda: SkewStats(MeanStats.of([1, 3]), np.nan), "m3 must be finite"),
        (lambda: SkewStats(MeanStats.of([]), 1.0), "m3 must be 0"),
        (lambda: SkewStats.of([1e150, -1e150]), "m3 must be finite"),
        (lambda: cap_from_history([0.0, 0.0]), "values"),
        (lambda: cap_from_history([-5.0, -1.0]), "values"),
        (lambda: cap_from_history([1.0], quantile=1.0), "quantile"),
    ],
)
def test_impossible_input_is_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_statistics_are_frozen_down_to_their_arrays():
    stats = CappedStats.of([1.0, 9.0], cap=[4.0])
    for array in (stats.cap, stats.capped, stats.tested.m3, stats.uncapped.m3):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_cap_from_history_has_one_quantile():
    with pytest.raises(ValueError, match="quantile must be one number"):
        cap_from_history([1.0, 2.0], quantile=[0.5, 0.6])
