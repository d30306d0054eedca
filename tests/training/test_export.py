import numpy as np
import onnx
import pytest

from mainspring.core.errors import Unsupported
from mainspring.training.candidates import CANDIDATES, Learning, Problem, fit, score
from mainspring.training.export import add_model
from mainspring.training.graph import Graph, open_graph, run_graph


def learned(name, classes, *, missing=False, shift=0.0, rows=1500):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(rows, 4)).astype(np.float32)
    signal = features[:, 0] + features[:, 1] ** 2 + rng.normal(0, 0.3, rows)
    truth = np.digitize(signal, np.linspace(0, 2, classes - 1)) if classes else signal * 40 + shift
    if missing:
        features[rng.random(features.shape) < 0.1] = np.nan
    task = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    problem = Problem(task, classes, "accuracy", 0)
    return fit(CANDIDATES[name], problem, CANDIDATES[name].start[0], Learning(features, truth)), features


def exported(fitted, classes, width=4):
    graph = Graph()
    columns = [graph.input(f"x{place}", "float") for place in range(width)]
    rows = graph.node("Reshape", graph.node("Concat", *columns, axis=0), graph.longs(width, -1))
    return graph.build(add_model(graph, graph.node("Transpose", rows, perm=[1, 0]), fitted, classes))


def answers(graph, features):
    return run_graph(open_graph(graph), {f"x{n}": np.ascontiguousarray(c) for n, c in enumerate(features.T)})


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("name", ["linear", "boosting", "extra_trees"])
def test_a_classifier_answers_in_onnx_as_in_python(name, classes):
    fitted, features = learned(name, classes, missing=name != "linear")
    graph = exported(fitted, [f"class {n}" for n in range(classes)])
    onnx.checker.check_model(onnx.load_from_string(graph))
    label, probabilities = answers(graph, features)
    expected = score(fitted, features)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-6)
    assert list(label) == [f"class {n}" for n in expected.label]


@pytest.mark.parametrize("shift", [0.0, 2e9])
@pytest.mark.parametrize("name", ["linear", "boosting", "extra_trees"])
def test_a_number_keeps_its_digits_in_onnx(name, shift):
    fitted, features = learned(name, 0, shift=shift)
    (found,) = answers(exported(fitted, None), features)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.ravel(), score(fitted, features).label, rtol=0, atol=1e-3)


def test_a_row_on_a_threshold_goes_the_same_way():
    # Whole numbers make thresholds at halves of 32-bit neighbours, the case in which rounding up would go wrong.
    rng = np.random.default_rng(0)
    base = np.float32(16_777_000)
    features = (base + rng.integers(0, 200, (2000, 1))).astype(np.float32)
    truth = (features[:, 0] % 3 == 0).astype(int)
    fitted = fit(
        CANDIDATES["boosting"],
        Problem("binary", 2, "accuracy", 0),
        CANDIDATES["boosting"].start[0],
        Learning(features, truth),
    )
    _, probabilities = answers(exported(fitted, [0, 1], width=1), features)
    np.testing.assert_allclose(probabilities, score(fitted, features).probabilities, atol=1e-6)


def test_labels_hold_where_no_tree_ever_subtracts():
    features = np.arange(400, dtype=np.float32).reshape(-1, 1)
    truth = (np.arange(400) < 390).astype(int)
    parameters = {"rate": 0.1, "leaves": 2, "leaf_rows": 300, "l2": 0.0, "trees": 3}
    fitted = fit(CANDIDATES["boosting"], Problem("binary", 2, "accuracy", 0), parameters, Learning(features, truth))
    label, probabilities = answers(exported(fitted, [0, 1], width=1), features)
    assert list(label) == list(score(fitted, features).label)
    np.testing.assert_allclose(probabilities, score(fitted, features).probabilities, atol=1e-6)


def test_whole_classes_come_back_as_whole_numbers():
    fitted, features = learned("linear", 2)
    label, _ = answers(exported(fitted, [3, 8]), features)
    assert set(label.tolist()) == {3, 8}


def test_an_estimator_without_translation_is_said():
    fitted, _ = learned("linear", 2)

    class Unknown:
        classes_ = (0, 1)

    import msgspec

    with pytest.raises(Unsupported, match="Unknown has no translation"):
        exported(msgspec.structs.replace(fitted, estimator=Unknown()), [0, 1])
