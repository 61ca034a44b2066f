"""Pseudonyms of units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain.pseudonym import pseudonymise

KEY = b"k" * 32


def test_a_pseudonym_is_the_hmac_of_type_and_id() -> None:
    # Source: printf '7:user_idu-1' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert pseudonymise(KEY, "user_id", "u-1") == "6e8c3018393f58c782d49e2321eabdcabe625a9a070be2db548ef18e262b7fbd"


def test_another_key_type_or_id_gives_another_pseudonym() -> None:
    pseudonyms = {
        pseudonymise(KEY, "user_id", "u-1"),
        pseudonymise(b"j" * 32, "user_id", "u-1"),
        pseudonymise(KEY, "device_id", "u-1"),
        pseudonymise(KEY, "user_id", "U-1"),
        pseudonymise(KEY, "user_id", "u-1 "),
    }
    assert len(pseudonyms) == 5


def test_type_and_id_cannot_be_shifted_into_each_other() -> None:
    assert pseudonymise(KEY, "user", "_idx") != pseudonymise(KEY, "user_id", "x")


@given(st.text(min_size=1))
def test_any_id_has_a_pseudonym_that_does_not_show_it(unit_id: str) -> None:
    pseudonym = pseudonymise(KEY, "user_id", unit_id)
    assert len(pseudonym) == 64
    assert set(pseudonym) <= set("0123456789abcdef")
