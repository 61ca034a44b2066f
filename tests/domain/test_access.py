"""Keys as values."""

from __future__ import annotations

from tests.builders import NOW, a_key, later


def test_a_key_is_in_force_until_it_is_revoked() -> None:
    assert a_key().in_force(later(days=10_000))
    revoked = a_key(revoked_at=NOW)
    assert revoked.in_force(later(microseconds=-1))
    assert not revoked.in_force(NOW)
    assert not revoked.in_force(later(days=1))
