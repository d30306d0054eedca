"""When the answers became worse."""

import numpy as np
import pytest

from mainspring.loop.change import losses_of, worse_since


@pytest.mark.parametrize("newest", [40, 200, 900])
def test_a_sudden_loss_is_found_near_its_beginning(newest):
    rng = np.random.default_rng(1)
    losses = np.concatenate([rng.random(1_000) < 0.2, rng.random(newest) < 0.65]).astype(float)
    found = worse_since(losses)
    assert found is not None
    assert abs(found - newest) <= max(20, newest // 10)


def test_of_what_becomes_worse_step_by_step_only_the_last_step_is_recent():
    rng = np.random.default_rng(3)
    losses = np.concatenate([rng.random(600) < share for share in (0.15, 0.3, 0.45, 0.6)]).astype(float)
    found = worse_since(losses, fewest=150)
    assert found is not None
    assert 150 <= found <= 900
    steady = np.concatenate([rng.random(1_000) < 0.15, rng.random(800) < 0.6]).astype(float)
    assert abs((worse_since(steady, fewest=150) or 0) - 800) <= 80


def test_answers_that_became_better_or_stayed_have_no_beginning():
    rng = np.random.default_rng(2)
    steady = (rng.random((50, 800)) < 0.3).astype(float)
    assert sum(worse_since(losses) is not None for losses in steady) <= 3
    better = np.concatenate([rng.random(400) < 0.5, rng.random(400) < 0.1]).astype(float)
    assert worse_since(better) is None


def test_few_rows_or_no_mistake_at_all_say_nothing():
    assert worse_since(np.ones(10)) is None
    assert worse_since(np.zeros(500)) is None
    assert worse_since(np.empty(0)) is None


def test_losses_are_mistakes_of_labels_and_bounded_squares_of_numbers():
    assert losses_of(np.array([0, 1, 2]), np.array([0, 1, 1]), numbers=False).tolist() == [0, 0, 1]
    squares = losses_of(np.zeros(1_000), np.append(np.ones(999), 1e6), numbers=True)
    assert squares.max() < 1e3
    assert losses_of(np.empty(0), np.empty(0), numbers=True).size == 0
