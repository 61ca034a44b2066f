"""A small body that unpacks to millions of empty arrays must cost no more than it has to."""

from __future__ import annotations

import tracemalloc

import pytest

from abplatform.domain.strict_json import DEEPEST, parse_json
from abplatform.errors import Unreadable

WIDE = 400_000


@pytest.mark.parametrize("leaf", ["[]", "{}", '"\\ud83d\\ude00"'])
def test_walking_a_wide_body_needs_no_memory_beside_it(leaf: str) -> None:
    body = ("[" * 50 + ",".join([leaf] * WIDE) + "]" * 50).encode()
    tracemalloc.start()
    try:
        value = parse_json(body)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value
    # While decoding, the text stands beside the values; walking adds nothing that grows with the width.
    assert peak - held < 4 * len(body)


def test_the_depth_is_bounded_whether_or_not_the_innermost_is_empty() -> None:
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    for inner in (b"", b"1"):
        with pytest.raises(Unreadable, match="nested deeper"):
            parse_json(b"[" * (DEEPEST + 1) + inner + b"]" * (DEEPEST + 1))


def test_a_bad_text_is_named_by_its_place() -> None:
    with pytest.raises(Unreadable, match=r"a\.1\.b"):
        parse_json(b'{"a": [{}, {"b": "\\ud83d"}]}')
    with pytest.raises(Unreadable, match="holds NUL"):
        parse_json(b'{"a": {"k\\u0000": 1}}')
