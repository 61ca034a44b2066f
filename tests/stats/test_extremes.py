"""Whatever finite statistics come in: no numpy warning, no half-answers, bounds around the estimate."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.stats import Margin, MeanStats, ProportionStats, RatioStats, bayes, fixed, sequential

sizes = st.sampled_from([0, 1, 2, 3, 500, 10**7, 10**15])
levels = st.sampled_from([0.0, 1e-300, -1e-160, 1.0, -1.0, 1e9, 1e80, -1e155, 1e308])
spreads = st.sampled_from([0.0, 1e-300, 1.0, 1e20, 1e160, 1e308])


@st.composite
def mean_arms(draw):
    n = draw(sizes)
    return MeanStats(n, draw(levels), draw(spreads)) if n else MeanStats(0, 0, 0)


@st.composite
def rate_arms(draw):
    n = draw(st.sampled_from([0, 1, 2, 500, 10**7]))
    return ProportionStats(n, draw(st.sampled_from([0, n // 1000, n // 2, n])))


@st.composite
def ratio_arms(draw):
    n = draw(sizes)
    if not n:
        return RatioStats(0, 0, 0, m2_y=0, m2_d=0, c_yd=0)
    spread = draw(st.sampled_from([0.0, 1.0, 1e20])), draw(st.sampled_from([0.0, 1.0, 1e20]))
    share = draw(st.sampled_from([-1.0, 0.0, 1.0]))
    c_yd = share * math.sqrt(spread[0]) * math.sqrt(spread[1])
    return RatioStats(n, draw(levels), draw(levels), m2_y=spread[0], m2_d=spread[1], c_yd=c_yd)


pairs = st.one_of(*(st.tuples(arm, arm) for arm in (mean_arms(), rate_arms(), ratio_arms())))
margins = st.builds(Margin, st.sampled_from([0.0, 0.01, 1.0, 1e300]), relative=st.booleans())


def answers(pair, margin):
    yield fixed.compare(*pair)
    yield sequential.compare(*pair, planned_units=1000)
    yield bayes.compare(*pair, prior_scale=1.0, margin=margin)
    if isinstance(pair[0], ProportionStats):
        yield bayes.compare_conversions(*pair, margin=margin)


@settings(max_examples=100, deadline=None)
@given(pairs, margins)
def test_every_cell_has_a_whole_answer_or_a_reason(pair, margin):
    for result in answers(pair, margin):
        cell = result.cell()
        numbers = cell.p_value if cell.p_value is not None else cell.chance_to_win
        if cell.not_computable is None:
            assert cell.absolute.lower <= cell.absolute.estimate <= cell.absolute.upper
            assert 0 <= numbers <= 1
        else:
            assert numbers is cell.absolute.lower is cell.absolute.upper is cell.relative.lower is None


@settings(max_examples=100, deadline=None)
@given(pairs, margins, st.sampled_from(["increase", "decrease"]))
def test_margin_tests_never_pass_without_a_bound(pair, margin, direction):
    for test in (
        fixed.non_inferiority(*pair, margin=margin, direction=direction),
        sequential.non_inferiority(*pair, margin=margin, planned_units=1000, direction=direction),
    ):
        if test.not_computable.item() is not None or not math.isfinite(test.bound):
            assert not test.non_inferior


def test_merging_beyond_double_precision_is_refused():
    with pytest.raises(ValueError, match="mean must be finite"):
        MeanStats(2, 1e308, 1) + MeanStats(2, -1e308, 1)
