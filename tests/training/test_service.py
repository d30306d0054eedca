from datetime import timedelta

import numpy as np
import onnxruntime
import polars as pl
import pytest

from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.registry.gate_model import GatePolicy, Holdout
from mainspring.registry.mlmodel import read_mlmodel
from mainspring.registry.sample import decode_sample
from mainspring.registry.service import Registry
from mainspring.registry.signature import decode_info
from mainspring.serving.engine.session import open_session
from mainspring.storage.sql.journal import edges_up
from mainspring.training.candidates import CANDIDATES, Candidate
from mainspring.training.card import model_card
from mainspring.training.service import Training
from mainspring.training.split import RowRange
from tests.registry.conftest import FolderScorer
from tests.registry.mlflow_reader import open_with_mlflow, predict_with_mlflow
from tests.training.conftest import START, Platform, table


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_table_of_mixed_columns_becomes_one_graph_that_answers_like_the_trained_model(platform, task):
    result = platform.train(table(task))
    assert result.task == task
    assert (result.engine, result.proof.proved, result.proof.labels_differ) == ("onnx", True, 0)
    assert result.proof.largest <= result.proof.tolerance
    better = 1 if result.higher_is_better else -1
    assert better * (result.validation.value - result.baseline) > 0
    assert set(result.columns) == {"size", "age", "town", "member", "joined", "at"} - set(result.dropped)

    folder = platform.folder_of(result)
    sample = decode_sample((folder / "sample.json").read_bytes())
    session = open_session(folder)
    answers = session.predict(sample.columns)
    session.close()
    if task == "regression":
        np.testing.assert_allclose(answers["prediction"].ravel(), sample.expected["prediction"], rtol=1e-6)
    else:
        assert list(answers["label"]) == sample.expected["label"]
        np.testing.assert_allclose(answers["probabilities"], sample.expected["probabilities"], atol=1e-4)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_mlflow_opens_the_model_and_predicts_the_same(platform, task):
    frame = table(task)
    result = platform.train(frame)
    folder = platform.folder_of(result)
    sample = decode_sample((folder / "sample.json").read_bytes())
    model = open_with_mlflow(folder)
    assert model.metadata.signature.inputs.input_names() == result.columns
    assert len(model.input_example) == 5

    names = ["size", "age", "town", "member", "joined", "at"]
    as_pandas = frame.select(names).with_columns(pl.col("joined", "at").dt.replace_time_zone(None)).to_pandas()
    predicted = predict_with_mlflow(model, as_pandas)
    assert len(predicted) == len(frame)
    answers = dict(zip(map(repr, frame.select(names).rows()), range(len(frame)), strict=True))
    assert len(answers) == len(frame)
    column = "prediction" if task == "regression" else "label"
    rows = [_row_of(frame, sample.columns, number) for number in range(sample.rows)]
    found = predicted[column].iloc[rows].tolist()
    if task == "regression":
        np.testing.assert_allclose(found, sample.expected[column], rtol=1e-6)
    else:
        assert found == sample.expected[column]
        np.testing.assert_allclose(
            predicted[["probability_no", "probability_yes"]].iloc[rows], sample.expected["probabilities"], atol=1e-4
        )


def _row_of(frame: pl.DataFrame, columns: dict, number: int) -> int:
    # The rows are one hour apart.
    return int((columns["at"][number] - START.timestamp() * 1000) / 3_600_000)


def test_the_graph_takes_one_vector_per_column(platform):
    result = platform.train(table())
    session = onnxruntime.InferenceSession(str(platform.folder_of(result) / "model.onnx"))
    taken = {node.name: (node.type, len(node.shape)) for node in session.get_inputs()}
    assert taken["size"] == taken["member"] == ("tensor(float)", 1)
    assert taken["town"] == ("tensor(string)", 1)
    assert taken["joined"] == ("tensor(int64)", 1)
    assert [(node.name, node.type) for node in session.get_outputs()] == [
        ("label", "tensor(string)"),
        ("probabilities", "tensor(float)"),
    ]


def test_the_facts_say_what_the_model_takes_and_where_it_came_from(platform):
    result = platform.train(table())
    folder = platform.folder_of(result)
    info = decode_info((folder / "mainspring.json").read_bytes())
    kinds = {field.name: (field.type, field.kind) for field in info.signature.inputs}
    assert kinds["joined"] == ("long", "datetime")
    assert kinds["member"] == ("boolean", "boolean")
    assert next(f.levels for f in info.signature.inputs if f.name == "town")[0] == "Aachen"
    assert (info.task, info.classes, info.target) == ("binary", ["no", "yes"], "y")
    assert info.trained_on == ["dataset:people@1", result.run]
    assert read_mlmodel((folder / "MLmodel").read_bytes()).run_id == result.run.removeprefix("run:")


def test_every_trial_is_a_run_below_the_training(platform):
    result = platform.train(table(), trials=4)
    parent = platform.tracking.get_run(result.run.removeprefix("run:"))
    assert parent.run.status == "finished"
    assert [used.dataset for used in parent.inputs] == ["dataset:people@1"]
    assert parent.metrics["accuracy"].number == result.validation.value
    assert len(result.trials) == 4
    for trial in result.trials:
        run = platform.tracking.get_run(trial.run.removeprefix("run:"))
        assert (run.run.parent, run.run.status) == (parent.run.id, "finished")
        assert run.params["candidate"] == trial.candidate
        assert run.metrics["accuracy"].number == trial.value


def test_the_run_is_linked_to_the_dataset_and_holds_the_model(platform):
    result = platform.train(table())
    with platform.database.read() as connection:
        assert "dataset:people@1" in {edge.source for edge in edges_up(connection, [result.run])}
    files = [a.path for a in platform.tracking.list_artifacts(result.run.removeprefix("run:"))]
    assert "model/model.onnx" in files


def test_the_same_seed_gives_the_same_model(platform):
    first = platform.train(table(), trials=5, seed=3)
    again = platform.training.train("dataset:people@1", "y", trials=5, seed=3)
    assert first.run != again.run
    assert [(t.candidate, t.parameters, t.value) for t in first.trials] == [
        (t.candidate, t.parameters, t.value) for t in again.trials
    ]
    graphs = [(platform.folder_of(r) / "model.onnx").read_bytes() for r in (first, again)]
    assert graphs[0] == graphs[1]


def test_a_second_call_with_the_token_trains_nothing(platform):
    first = platform.train(table(), token="once")
    again = platform.training.train("dataset:people@1", "y", token="once")
    assert again == first
    assert platform.training.get(first.run) == first
    assert len(platform.tracking.search_runs(["training"]).runs) == 1 + len(first.trials)


def test_a_training_that_was_cut_off_goes_on_in_the_same_run(platform):
    class CutOff(BaseException):
        pass

    class Cut(Training):
        def _keep(self, result, token):
            raise CutOff

    version = platform.datasets.import_frame("people", table(), check=False)
    cut = Cut(platform.database, platform.datasets, platform.tracking, platform.objects, threads=1)
    with pytest.raises(CutOff):
        cut.train(version.ref, "y", trials=2, token="t")
    result = platform.training.train(version.ref, "y", trials=2, token="t")
    runs = platform.tracking.search_runs(["training"]).runs
    assert len(runs) == 3
    assert {details.run.status for details in runs} == {"finished"}
    assert result.run in {details.run.ref for details in runs}


def test_candidates_are_judged_on_later_rows_when_there_is_a_time(platform):
    # The rule turns over in time: whoever learned from later rows would be right on them.
    frame = table(rows=800)
    late = pl.col("at") >= START + timedelta(hours=640)
    frame = frame.with_columns(y=pl.when(late).then(pl.lit("new")).otherwise("y"))
    result = platform.train(frame, time="at", metric="accuracy")
    assert result.split == "time"
    assert result.validation.rows == 160
    assert result.validation.value == 0.0


def test_new_rows_count_for_more_where_the_world_turned(platform):
    rng = np.random.default_rng(0)
    rows = 3000
    x = rng.normal(size=rows)
    turned = np.arange(rows) > 2000
    y = np.where(turned, -x, x) + rng.normal(0, 0.2, rows) > 0
    frame = pl.DataFrame({"x": x, "z": rng.normal(size=rows), "y": y}).with_columns(
        at=pl.Series([START + timedelta(minutes=minute) for minute in range(rows)])
    )
    result = platform.train(frame, time="at", trials=8, metric="accuracy")
    assert result.parameters["half_life"] > 0
    assert result.validation.value > 0.7
    assert max(t.value for t in result.trials if not t.parameters["half_life"]) < 0.3


def test_a_retraining_starts_from_what_was_best_and_needs_few_trials(platform):
    first = platform.train(table(), trials=5)
    again = platform.training.train(
        "dataset:people@1", "y", trials=2, start_from=first.parameters, rows=RowRange(first=100)
    )
    assert again.trials[0].candidate == first.parameters["candidate"]
    assert again.rows == 500


def test_rows_may_be_chosen_by_time(platform):
    middle = RowRange(since=START + timedelta(hours=100), until=START + timedelta(hours=300))
    assert platform.train(table(), time="at", rows=middle).rows == 200
    with pytest.raises(InvalidRequest, match="time column"):
        platform.train(table(), rows=middle, name="again")


def test_the_search_ends_when_its_time_is_up(platform):
    result = platform.train(table(), trials=500, budget_s=0.5)
    assert 1 <= len(result.trials) < 100


def test_the_search_ends_when_its_budget_is_spent_before_the_first_trial(platform):
    assert len(platform.train(table(), trials=500, budget_s=1e-9).trials) == 1


def bayes(problem, parameters):
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB()


def test_a_model_without_translation_is_pickled_and_served_in_a_process_of_its_own(platform):
    platform.training.candidates = {"bayes": Candidate("bayes", "linear", bayes, lambda trial: {}, [{}])}
    result = platform.train(table())
    assert result.engine == "process"
    assert "GaussianNB" in result.proof.reason
    folder = platform.folder_of(result)
    assert not (folder / "model.onnx").exists()
    assert "process" in decode_info((folder / "mainspring.json").read_bytes()).notes[-1]
    sample = decode_sample((folder / "sample.json").read_bytes())
    session = open_session(folder, trusted=True)
    answers = session.predict(sample.columns)
    session.close()
    assert list(answers["label"]) == sample.expected["label"]
    np.testing.assert_allclose(answers["probabilities"], sample.expected["probabilities"], atol=1e-9)


def test_mlflow_opens_a_pickled_model(platform):
    import pandas

    platform.training.candidates = {"bayes": Candidate("bayes", "linear", bayes, lambda trial: {}, [{}])}
    folder = platform.folder_of(platform.train(table()))
    sample = decode_sample((folder / "sample.json").read_bytes())
    moments = {name: pandas.to_datetime(sample.columns[name], unit="ms") for name in ("joined", "at")}
    frame = pandas.DataFrame({**sample.columns, **moments})
    assert list(predict_with_mlflow(open_with_mlflow(folder), frame)) == sample.expected["label"]


def test_an_export_that_differs_is_not_served(platform, monkeypatch):
    monkeypatch.setattr("mainspring.training.export._rounded_down", lambda threshold: (threshold * 1.5).astype("f4"))
    platform.training.candidates = {"boosting": CANDIDATES["boosting"]}
    result = platform.train(table())
    assert not result.proof.proved
    assert result.proof.largest > result.proof.tolerance
    assert result.engine == "process"


def test_a_target_of_one_value_is_refused_and_leaves_no_run(platform):
    with pytest.raises(InvalidData, match="'yes' in every row"):
        platform.train(table().with_columns(y=pl.lit("yes")))
    assert platform.tracking.list_experiments() == []


def test_a_failed_training_fails_its_run(platform):
    def fail(problem, parameters):
        raise ValueError("no such luck")

    platform.training.candidates = {"bad": Candidate("bad", "trees", fail, lambda trial: {}, [{}])}
    with pytest.raises(InvalidData, match="no such luck"):
        platform.train(table())
    assert {d.run.status for d in platform.tracking.search_runs(["training"]).runs} == {"failed"}


def test_a_hundred_rows_are_enough_and_are_judged_by_turns(platform):
    result = platform.train(table(rows=100), trials=2)
    assert (result.split, result.validation.rows) == ("folds", 100)
    assert result.proof.proved


def test_an_unknown_training_is_not_found(platform):
    with pytest.raises(NotFound, match="run:nothing"):
        platform.training.get("run:nothing")


def test_arguments_that_make_no_sense_are_refused(platform):
    with pytest.raises(InvalidRequest, match="at least one trial"):
        platform.train(table(), trials=0)
    with pytest.raises(InvalidRequest, match="rmse"):
        platform.training.train("dataset:people@1", "y", metric="rmse")


@pytest.fixture
def on_each_database(database, tmp_path):
    return Platform(database, tmp_path)


def test_results_are_kept_on_each_database(on_each_database):
    platform = on_each_database
    platform.training.candidates = {"linear": CANDIDATES["linear"]}
    result = platform.train(table(rows=120), trials=1, token="x")
    assert platform.training.get(result.run) == result
    assert platform.training.train("dataset:people@1", "y", token="x") == result


def test_a_trained_model_is_registered_as_it_is_and_passes_its_gates(platform):
    frame = table(rows=800)
    result = platform.train(frame, rows=RowRange(end=600))
    registry = Registry(platform.database, platform.objects, FolderScorer(platform.objects, platform.folder / "open"))
    version = registry.register(
        "people", result.digest, run=result.run, dataset=result.dataset, card=model_card(result), trusted=True
    )
    assert version.digest == result.digest
    later = frame[600:]
    moments = {name: later[name].dt.timestamp("ms").to_list() for name in ("joined", "at")}
    columns = {name: later[name].to_list() for name in result.columns} | moments
    held = Holdout(columns=columns, truth=later["y"].to_list(), dataset=result.dataset)
    report = registry.evaluate_gates("people", 1, held, policy=GatePolicy(protected=["member"], max_p99_ms=1000))
    assert report.check("not_worse_than_baseline").low > 0
    assert report.check("error_gap.member").value is not None
