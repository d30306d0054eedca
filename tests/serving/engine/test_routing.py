"""A unit keeps its arm while the canary's share grows, whatever the worker, and the shares are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mainspring.serving.engine.routing import Split

UNITS = [f"user-{number}".encode() for number in range(20_000)]


def test_a_growing_share_never_moves_a_unit_back() -> None:
    before: set[bytes] = set()
    for share in (0.0, 0.01, 0.05, 0.25, 0.5, 0.99, 1.0):
        split = Split("salt", share)
        now = {unit for unit in UNITS if split.canary(unit)}
        assert before <= now
        assert abs(len(now) / len(UNITS) - share) < 0.01
        before = now
    assert before == set(UNITS)


@given(
    st.lists(st.binary(max_size=80), min_size=1, max_size=30),
    st.text(max_size=80),
    st.lists(st.floats(0, 1), min_size=2, max_size=8).map(sorted),
)
def test_no_unit_leaves_the_canary_at_any_growth_of_any_rollout(
    units: list[bytes], salt: str, shares: list[float]
) -> None:
    taken: set[bytes] = set()
    for share in [0.0, *shares, 1.0]:
        # Each worker makes its own when the snapshot comes; none remembers the one before.
        now = {unit for unit in units if Split(salt, share).canary(unit)}
        assert taken <= now
        taken = now
    assert taken == set(units)


def test_rollouts_with_other_salts_choose_other_units() -> None:
    one = {unit for unit in UNITS if Split("first", 0.1).canary(unit)}
    two = {unit for unit in UNITS if Split("second", 0.1).canary(unit)}
    expected = 0.1 * len(one)
    assert 0.7 * expected < len(one & two) < 1.3 * expected


@given(st.binary(min_size=1, max_size=40), st.text(max_size=10), st.floats(0, 1))
def test_the_canary_takes_the_units_whose_place_is_below_its_share(unit: bytes, salt: str, share: float) -> None:
    split = Split(salt, share)
    assert 0 <= split.place(unit) <= 1
    assert split.canary(unit) == Split(salt, share).canary(unit)
    if abs(split.place(unit) - share) > 1e-9:
        assert split.canary(unit) == (split.place(unit) < share)
