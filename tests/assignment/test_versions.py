from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment.versions import MAX_LENGTH, parse_version

# Semantic Versioning 2.0.0, section 11: the example of point 4, and that of point 2 after it.
ASCENDING = [
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
    "1.0.0", "2.0.0", "2.1.0", "2.1.1",
]  # fmt: skip


def test_versions_ascend_as_in_the_standard() -> None:
    keys = [parse_version(text) for text in ASCENDING]
    assert all(lower is not None and higher is not None and lower < higher for lower, higher in combinations(keys, 2))


@pytest.mark.parametrize(
    "text",
    ["", "v", "+7", "-1", "1.", ".1", "1..2", "1.x", "1.2.3-", "1.2.3-a..b", "1.2.3-a_b", " 1.2", "1.2 ", "1,2",
     "latest", "1.2.3-ü", "١.٢", "1.²", "-1.2", "vv1", "V1", "1" * (MAX_LENGTH + 1), 1, 1.2, None, True, ["1.2"]],
    ids=lambda text: repr(text)[:16],
)  # fmt: skip
def test_what_is_no_version_has_no_key(text: object) -> None:
    assert parse_version(text) is None


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
@settings(derandomize=True)
def test_releases_are_ordered_by_their_numbers_padded_with_zeros(one: list[int], other: list[int]) -> None:
    width = max(len(one), len(other))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (one, other)]
    first, second = (parse_version(".".join(map(str, numbers))) for numbers in (one, other))
    assert first is not None
    assert second is not None
    assert (first < second) == (padded[0] < padded[1])
    assert (first == second) == (padded[0] == padded[1])


@given(st.text(max_size=20))
@settings(derandomize=True)
def test_a_leading_v_and_build_metadata_are_ignored(build: str) -> None:
    assert parse_version(f"v3.2.0+{build}") == parse_version("3.2.0")
