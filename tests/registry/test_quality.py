import numpy as np
import pytest
from sklearn import metrics as reference

from mainspring.core.errors import InvalidRequest
from mainspring.registry.quality import (
    METRICS,
    Scores,
    codes,
    default_metric,
    losses,
    measure,
    metric_named,
    trivial,
)


def classified(classes: int, rows: int = 600, seed: int = 3) -> tuple[np.ndarray, Scores]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes)).round(1)
    logits[np.arange(rows), truth] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, Scores(probabilities.argmax(axis=1), probabilities)


def regressed(rows: int = 600, seed: int = 3) -> tuple[np.ndarray, Scores]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(100, 20, rows)
    return truth, Scores(truth + rng.standard_t(4, rows) * 5)


def example(metric: str) -> tuple[np.ndarray, Scores]:
    tasks = METRICS[metric].tasks
    return regressed() if tasks == ("regression",) else classified(2 if tasks == ("binary",) else 3)


def test_binary_metrics_equal_the_reference():
    truth, s = classified(2)
    positive = s.probabilities[:, 1]
    assert measure("accuracy", truth, s) == pytest.approx(reference.accuracy_score(truth, s.label))
    assert measure("f1", truth, s) == pytest.approx(reference.f1_score(truth, s.label))
    assert measure("precision", truth, s) == pytest.approx(reference.precision_score(truth, s.label))
    assert measure("recall", truth, s) == pytest.approx(reference.recall_score(truth, s.label))
    assert measure("roc_auc", truth, s) == pytest.approx(reference.roc_auc_score(truth, positive))
    assert measure("average_precision", truth, s) == pytest.approx(reference.average_precision_score(truth, positive))
    assert measure("log_loss", truth, s) == pytest.approx(reference.log_loss(truth, s.probabilities))
    assert measure("brier", truth, s) == pytest.approx(reference.brier_score_loss(truth, positive))


def test_multiclass_metrics_equal_the_reference():
    truth, s = classified(4)
    assert measure("balanced_accuracy", truth, s) == pytest.approx(reference.balanced_accuracy_score(truth, s.label))
    assert measure("macro_f1", truth, s) == pytest.approx(reference.f1_score(truth, s.label, average="macro"))
    assert measure("log_loss", truth, s) == pytest.approx(reference.log_loss(truth, s.probabilities))
    assert measure("roc_auc", truth, s) == pytest.approx(
        reference.roc_auc_score(truth, s.probabilities, multi_class="ovr")
    )


def test_regression_metrics_equal_the_reference():
    truth, s = regressed()
    assert measure("rmse", truth, s) == pytest.approx(reference.root_mean_squared_error(truth, s.label))
    assert measure("mae", truth, s) == pytest.approx(reference.mean_absolute_error(truth, s.label))
    assert measure("r2", truth, s) == pytest.approx(reference.r2_score(truth, s.label))


@pytest.mark.parametrize("metric", METRICS)
def test_the_influence_of_a_row_is_what_leaving_it_out_changes(metric):
    truth, s = example(metric)
    influence = METRICS[metric].influence(truth, s.label, s.probabilities)
    assert influence.mean() == pytest.approx(0, abs=1e-9 * max(1, np.abs(influence).max()))
    everything = np.arange(len(truth))
    whole = measure(metric, truth, s)
    for row in range(0, len(truth), 37):
        rest = everything != row
        without = measure(
            metric, truth[rest], Scores(s.label[rest], None if s.probabilities is None else s.probabilities[rest])
        )
        assert (len(truth) - 1) * (whole - without) == pytest.approx(influence[row], abs=0.05 * influence.std() + 1e-9)


def test_a_value_that_is_no_class_counts_as_wrong():
    truth = codes(["a", "x"], ["a", "b"])
    s = Scores(np.array([0, 0]), np.array([[0.9, 0.1], [0.9, 0.1]]))
    assert list(truth) == [0, -1]
    assert measure("accuracy", truth, s) == 0.5
    assert measure("log_loss", truth, s) > 7


def test_the_same_class_is_known_in_every_spelling():
    assert list(codes([1, 1.0, True, "1", "true", np.int64(0), np.float64(0.0), None], [0, 1])) == [1] * 5 + [0, 0, -1]


def test_the_auc_of_one_class_is_not_defined():
    assert np.isnan(measure("roc_auc", np.zeros(3, int), Scores(np.zeros(3, int), np.full((3, 2), 0.5))))


def test_a_metric_of_another_task_is_refused_with_those_that_fit():
    with pytest.raises(InvalidRequest, match=r"rmse, mae, r2"):
        metric_named("accuracy", "regression")


def test_a_metric_of_probabilities_needs_them():
    with pytest.raises(InvalidRequest, match="probabilities"):
        measure("roc_auc", np.array([0, 1]), Scores(np.array([0, 1])))


def test_a_rare_class_is_measured_by_ranking():
    assert default_metric("binary", 0.1) == "roc_auc"
    assert default_metric("binary", 0.4) == default_metric("multiclass", 0.1) == "accuracy"
    assert default_metric("regression") == "rmse"


def test_the_trivial_model_looks_at_no_column():
    truth = np.array([0, 1, 1, 1])
    s = trivial("binary", truth, 2)
    assert measure("accuracy", truth, s) == 0.75
    assert measure("roc_auc", truth, s) == 0.5
    numbers = np.array([1.0, 3.0])
    assert measure("r2", numbers, trivial("regression", numbers, 0)) == 0


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier"])
def test_row_losses_of_classes_average_to_the_metric(metric):
    truth, s = classified(3)
    mean = losses(metric, truth, s).mean()
    assert mean == pytest.approx(1 - measure(metric, truth, s) if metric == "accuracy" else measure(metric, truth, s))


def test_row_losses_of_numbers_average_to_the_metric():
    truth, s = regressed()
    assert losses("mae", truth, s).mean() == pytest.approx(measure("mae", truth, s))
    assert losses("rmse", truth, s).mean() == pytest.approx(measure("rmse", truth, s) ** 2)
