"""What a driver lacks is expected to fail, and only that."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from mainspring.testing.capabilities import expect_what_is_lacking, needs

class Suite:
    @pytest.fixture(autouse=True)
    def _lacking(self, request):
        expect_what_is_lacking(request, {"flying": "penguins do not"})

    @needs("flying")
    def test_flies(self):
        assert FLIES

    @needs("swimming")
    def test_swims(self):
        pass

class TestPenguin(Suite):
    pass
"""


@pytest.mark.parametrize(("flies", "outcome"), [(False, {"xfailed": 1}), (True, {"failed": 1})])
def test_a_lacking_capability_is_expected_to_fail_and_a_surprise_when_it_works(
    pytester: pytest.Pytester, flies: bool, outcome: dict[str, int]
) -> None:
    pytester.makepyfile(f"FLIES = {flies}\n{SUITE}")
    pytester.runpytest("-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=1, **outcome)
