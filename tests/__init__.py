"""The tests; the suites that ship with Mainspring explain their failures as the tests here do."""

import pytest

pytest.register_assert_rewrite("mainspring.testing")
