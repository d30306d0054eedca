"""Passwords are kept so that who reads them learns nothing, and are recognised again."""

from __future__ import annotations

import pytest

from mainspring.access.passwords import hashed, matches


@pytest.mark.parametrize("password", ["x", "zażółć gęślą jaźń", " with blanks ", "x" * 1000])
def test_a_password_is_recognised_and_no_other(password: str) -> None:
    kept = hashed(password)
    assert matches(password, kept)
    assert not matches(password + "x", kept)
    assert not matches("", kept)


def test_what_is_kept_is_salted_and_says_how_it_was_made() -> None:
    first, second = hashed("open sesame"), hashed("open sesame")
    assert first != second
    assert first.startswith("scrypt$15$8$1$")
    assert "sesame" not in first
    # What was kept under other costs is still recognised.
    cheap = "scrypt$4$1$1$AAAAAAAAAAAAAAAAAAAAAA==$"
    assert not matches("open sesame", cheap + "A" * 43 + "=")
