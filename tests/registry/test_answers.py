import numpy as np
import pytest

from mainspring.core.errors import InvalidData
from mainspring.registry.answers import in_classes_of, scores_of, truth_of
from mainspring.registry.quality import Scores
from mainspring.registry.signature import ModelInfo, Signature

NOTHING = Signature([], [])
BINARY = ModelInfo(signature=NOTHING, task="binary", classes=["no", "yes"])
NUMBER = ModelInfo(signature=NOTHING, task="regression")


def test_labels_and_probabilities_are_found_under_their_usual_names():
    for names in (("label", "probabilities"), ("output_label", "output_probability")):
        found = scores_of(BINARY, dict(zip(names, (["yes", "no"], [[0.1, 0.9], [0.6, 0.4]]), strict=True)))
        assert list(found.label) == [1, 0]
        assert found.probabilities[0, 1] == 0.9


def test_probabilities_alone_give_the_label():
    assert list(scores_of(BINARY, {"any": np.array([[0.1, 0.9], [0.6, 0.4]])}).label) == [1, 0]
    assert list(scores_of(BINARY, {"probability": np.array([0.9, 0.2])}).label) == [1, 0]


def test_labels_alone_are_enough():
    found = scores_of(BINARY, {"label": ["yes", "maybe"]})
    assert list(found.label) == [1, -1]
    assert found.probabilities is None


def test_numbers_are_found_whatever_they_are_called():
    assert list(scores_of(NUMBER, {"variable": [[1.5], [2.5]]}).label) == [1.5, 2.5]
    assert list(scores_of(NUMBER, {"odd": [1, 2]}).label) == [1, 2]
    assert list(scores_of(NUMBER, {"prediction": [1], "sigma": [9]}).label) == [1]


def test_truth_is_coded_by_the_classes_of_the_model():
    assert list(truth_of(BINARY, ["yes", "no", "other"])) == [1, 0, -1]
    assert list(truth_of(NUMBER, [1, "2.5"])) == [1, 2.5]
    with pytest.raises(InvalidData, match="must be a number"):
        truth_of(NUMBER, ["many"])


def test_answers_that_do_not_fit_are_refused():
    with pytest.raises(InvalidData, match="3 probabilities per row for 2 classes"):
        scores_of(BINARY, {"probabilities": np.ones((2, 3))})
    with pytest.raises(InvalidData, match="none of the outputs"):
        scores_of(BINARY, {"embedding": np.ones(2, dtype=int)})
    with pytest.raises(InvalidData, match="classes of the model"):
        truth_of(ModelInfo(signature=NOTHING, task="binary"), ["a"])


def test_two_models_with_other_classes_are_compared_in_the_same_codes():
    three = ModelInfo(signature=NOTHING, task="multiclass", classes=["maybe", "yes", "no"])
    scores = Scores(np.array([0, 1, 2]), np.array([[0.6, 0.3, 0.1]] * 3))
    found = in_classes_of(BINARY, three, scores)
    assert list(found.label) == [-1, 1, 0]
    assert list(found.probabilities[0]) == [0.1, 0.3]
