"""The memory of what never changes is bounded, by weight and by time."""

from __future__ import annotations

from abplatform.warehouse.recent import Recent


def test_the_least_recently_used_goes_when_there_is_no_room() -> None:
    recent = Recent[str, str](3)
    recent.put("a", "A")
    recent.put("b", "B")
    recent.put("a", "A")
    assert recent.get("a") == "A"
    recent.put("c", "C", weight=2)

    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    recent.put("large", "alone", weight=9)
    assert [recent.get(key) for key in ("a", "c", "large")] == [None, None, "alone"]


def test_what_nobody_asks_for_is_forgotten() -> None:
    now = 0.0
    recent = Recent[int, int](1_000_000, idle=60, clock=lambda: now)
    for number in range(1_000):
        now += 1
        recent.fetch(number, lambda: 7)
        recent.fetch(0, lambda: 8)

    # One comes each second; the first is asked for again and again.
    assert [number for number in range(1_000) if recent.get(number) is not None] == [0, *range(939, 1_000)]
    assert recent.get(0) == 7
