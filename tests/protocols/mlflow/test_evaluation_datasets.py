"""MLflow's client makes, fills, reads, finds and deletes evaluation datasets here as with its own server."""

from __future__ import annotations

import json
import uuid

import httpx2
import mlflow
import pandas
import pytest
from mlflow.entities import DatasetRecord
from mlflow.exceptions import MlflowException
from mlflow.genai import datasets

import mainspring


@pytest.fixture
def experiment(tracking_url: str) -> str:
    """The id of an experiment that only this test uses, which is the active one."""
    mlflow.set_tracking_uri(tracking_url)
    return mlflow.set_experiment(f"e-{uuid.uuid4().hex}").experiment_id


def fresh() -> str:
    return f"qa-{uuid.uuid4().hex}"


def records_of(made: datasets.EvaluationDataset) -> list[DatasetRecord]:
    return list(mlflow.MlflowClient().get_dataset(made.dataset_id).records)


def test_a_dataset_comes_back_as_it_was_made(experiment: str) -> None:
    other = mlflow.create_experiment(fresh())
    made = datasets.create_dataset(name=fresh(), experiment_id=[other, experiment], tags={"team": "ads", "n": "1"})
    found = datasets.get_dataset(dataset_id=made.dataset_id)
    assert made.dataset_id.startswith("d-") and len(made.dataset_id) == 34
    assert (found.name, found.digest, found.created_time) == (made.name, made.digest, made.created_time)
    assert found.tags == made.tags
    assert {key: found.tags[key] for key in ("team", "n")} == {"team": "ads", "n": "1"}
    assert (found.schema, found.profile, found.created_by) == (None, None, found.tags["mlflow.user"])
    assert found.experiment_ids == [other, experiment]
    assert found.to_df().empty
    assert datasets.get_dataset(name=made.name).dataset_id == made.dataset_id
    assert datasets.create_dataset(name=fresh()).experiment_ids == [experiment]


def test_records_are_merged_by_their_inputs(experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    made.merge_records([{"inputs": {"q": "a"}, "expectations": {"x": 1, "y": 0.5}, "tags": {"v": "1"}}])
    made.merge_records(
        [
            {"inputs": {"q": "a"}, "expectations": {"y": 1.0}, "tags": {"w": "2"}, "outputs": "said"},
            {"inputs": {"q": "b", "deep": {"list": [1, None, "\u00e4"]}}},
        ]
    )
    found = datasets.get_dataset(dataset_id=made.dataset_id)
    first, second = records_of(found)
    assert (first.inputs, first.expectations, first.outputs) == ({"q": "a"}, {"x": 1, "y": 1.0}, "said")
    assert {key: first.tags[key] for key in "vw"} == {"v": "1", "w": "2"}
    assert (first.source.source_type.value, first.source_type) == ("HUMAN", "HUMAN")
    assert (second.inputs, second.source_type) == ({"q": "b", "deep": {"list": [1, None, "\u00e4"]}}, "CODE")
    assert first.created_by == first.tags["mlflow.user"] == found.last_updated_by
    assert first.last_update_time >= first.created_time >= found.created_time
    assert json.loads(found.profile) == {"num_records": 2}
    assert json.loads(found.schema) == {
        "inputs": {"q": "string", "deep": "object"},
        "outputs": "string",
        "expectations": {"x": "integer", "y": "float"},
        "version": "1.0",
    }
    assert found.digest != made.digest


def test_a_frame_becomes_records_and_comes_back(experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    frame = pandas.DataFrame(
        {"inputs": [{"q": str(number)} for number in range(1500)], "expectations": [{"n": n} for n in range(1500)]}
    )
    made.merge_records(frame)
    found = datasets.get_dataset(dataset_id=made.dataset_id).to_df()
    assert list(found["inputs"]) == list(frame["inputs"])
    assert list(found["expectations"]) == list(frame["expectations"])
    assert found["dataset_record_id"].is_unique
    some = pandas.DataFrame({"inputs": [{"q": "x"}, {"q": "y"}], "expectations": [{"n": 1}, float("nan")]})
    made._mlflow_dataset._infer_source_types = lambda records: None
    made.merge_records(some)
    assert list(made.to_df()["expectations"])[1500:] == [{"n": 1}, None]


@pytest.mark.filterwarnings("ignore")  # The client swallows what goes wrong while it traces.
def test_traces_become_records_with_their_source(traced_experiment: str) -> None:
    experiment = traced_experiment

    @mlflow.trace
    def answer(question: str) -> str:
        return question.upper()

    answer("why")
    answer("how")
    trace = mlflow.search_traces(locations=[experiment], return_type="list")[0]
    mlflow.log_expectation(trace_id=trace.info.trace_id, name="said", value="HOW")
    made = datasets.create_dataset(name=fresh())
    made.merge_records(mlflow.search_traces(locations=[experiment], return_type="list"))
    found = {record.inputs["question"]: record for record in records_of(made)}
    assert found.keys() == {"why", "how"}
    assert (found["how"].source_id, found["how"].source_type) == (trace.info.trace_id, "TRACE")
    assert found["how"].source.source_data == {"trace_id": trace.info.trace_id}
    assert (found["how"].outputs, found["how"].expectations) == ("HOW", {"said": "HOW"})
    made.merge_records(mlflow.search_traces(locations=[experiment]))
    assert len(records_of(made)) == 2


def test_records_are_deleted_by_their_ids(experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    made.merge_records([{"inputs": {"q": str(number)}} for number in range(3)])
    ids = list(made.to_df()["dataset_record_id"])
    assert made.delete_records([ids[0], "dr-none"]) == 1
    assert made.delete_records([ids[0]]) == 0
    assert [record.inputs["q"] for record in records_of(made)] == ["1", "2"]
    assert made.delete_records(ids) == 2
    assert datasets.get_dataset(dataset_id=made.dataset_id).profile is None


def test_datasets_are_found_page_by_page(experiment: str) -> None:
    made = [datasets.create_dataset(name=f"{fresh()}-{n}", tags={"n": str(n)}) for n in range(7)]
    client = mlflow.MlflowClient()
    page = client.search_datasets(experiment_ids=[experiment], max_results=3, order_by=["created_time ASC"])
    found = [one.dataset_id for one in page]
    while page.token:
        page = client.search_datasets(
            experiment_ids=[experiment], max_results=3, order_by=["created_time ASC"], page_token=page.token
        )
        found += [one.dataset_id for one in page]
    assert sorted(found) == sorted(one.dataset_id for one in made)
    by_tag = datasets.search_datasets(experiment_ids=experiment, filter_string="tags.n = '3'")
    assert [one.name for one in by_tag] == [made[3].name]
    by_name = datasets.search_datasets(filter_string=f"name = '{made[2].name}'", order_by=["name DESC"], max_results=5)
    assert [one.dataset_id for one in by_name] == [made[2].dataset_id]
    assert len(datasets.search_datasets(experiment_ids=[experiment])) == 7
    with pytest.raises(MlflowException, match="Invalid attribute key 'size'"):
        datasets.search_datasets(filter_string="size = 'x'")


def test_a_search_is_a_get_as_well(tracking_url: str, experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    query = {"experiment_ids": experiment, "filter_string": f"name = '{made.name}'"}
    answer = httpx2.get(f"{tracking_url}/api/3.0/mlflow/datasets/search", params=query)
    assert [one["dataset_id"] for one in answer.json()["datasets"]] == [made.dataset_id]


def test_tags_and_experiments_change(experiment: str) -> None:
    other = mlflow.create_experiment(fresh())
    made = datasets.create_dataset(name=fresh(), tags={"a": "1"})
    datasets.set_dataset_tags(dataset_id=made.dataset_id, tags={"a": "2", "b c/d": "3", "none": None})
    found = datasets.get_dataset(dataset_id=made.dataset_id)
    assert (found.tags["a"], found.tags["b c/d"], "none" in found.tags) == ("2", "3", False)
    datasets.delete_dataset_tag(dataset_id=made.dataset_id, key="a")
    datasets.delete_dataset_tag(dataset_id=made.dataset_id, key="a")
    assert "a" not in datasets.get_dataset(dataset_id=made.dataset_id).tags
    added = datasets.add_dataset_to_experiments(dataset_id=made.dataset_id, experiment_ids=[other])
    assert added.experiment_ids == [experiment, other]
    left = datasets.remove_dataset_from_experiments(dataset_id=made.dataset_id, experiment_ids=[experiment, "none"])
    assert left.experiment_ids == [other]
    with pytest.raises(MlflowException, match="No Experiment with id=none"):
        datasets.add_dataset_to_experiments(dataset_id=made.dataset_id, experiment_ids=["none"])


def test_a_deleted_dataset_is_gone(experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    made.merge_records([{"inputs": {"q": "a"}}])
    datasets.delete_dataset(dataset_id=made.dataset_id)
    datasets.delete_dataset(dataset_id=made.dataset_id)
    with pytest.raises(MlflowException, match=f"'{made.dataset_id}' not found") as gone:
        datasets.get_dataset(dataset_id=made.dataset_id)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="not found"):
        datasets.set_dataset_tags(dataset_id=made.dataset_id, tags={"a": "1"})
    assert mlflow.MlflowClient()._tracking_client.store.get_dataset_experiment_ids(made.dataset_id) == []


@pytest.mark.parametrize(
    "records",
    [
        "{",
        "{}",
        "[1]",
        '[{"inputs": [1]}]',
        '[{"inputs": {}, "expectations": 1}]',
        '[{"inputs": {}, "tags": "x"}]',
        '[{"inputs": {}, "source": {"source_type": "DOG"}}]',
        '[{"inputs": {}, "source": {"source_type": "CODE", "odd": 1}}]',
        '[{"inputs": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}]",
    ],
    ids=lambda text: text[:60],
)
def test_what_is_no_record_is_refused_and_nothing_is_kept(tracking_url: str, experiment: str, records: str) -> None:
    made = datasets.create_dataset(name=fresh())
    sound = '[{"inputs": {"q": 1}}, '
    sent = sound + records[1:] if records.startswith("[") else records
    answer = httpx2.post(
        f"{tracking_url}/api/3.0/mlflow/datasets/{made.dataset_id}/records", json={"records": sent}, timeout=60
    )
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert records_of(made) == []


@pytest.mark.parametrize("id", ["d-none", "d-%00", "d-%ED%A0%80"])
def test_an_id_that_nobody_has_is_not_found(tracking_url: str, id: str) -> None:
    for path in (id, f"{id}/records"):
        answer = httpx2.get(f"{tracking_url}/api/3.0/mlflow/datasets/{path}")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_run_that_reads_a_dataset_has_its_version_in_its_lineage(tracking_url: str, experiment: str) -> None:
    made = datasets.create_dataset(name=fresh())
    made.merge_records([{"inputs": {"q": "a"}}])
    read = datasets.get_dataset(dataset_id=made.dataset_id)
    made.merge_records([{"inputs": {"q": "b"}}])
    with mlflow.start_run() as run:
        mlflow.log_input(read._mlflow_dataset, context="eval")
    assert run.info.run_id
    with mainspring.connect(tracking_url) as session:
        above = session.trace(f"run:{run.info.run_id}").edges
    assert (f"evaluation_dataset:{made.dataset_id}@1", f"run:{run.info.run_id}") in {
        (edge.source, edge.target) for edge in above
    }


def test_the_same_datasets_are_there_by_our_own_api(tracking_url: str, experiment: str) -> None:
    made = datasets.create_dataset(name=fresh(), tags={"a": "1"})
    made.merge_records([{"inputs": {"q": "a"}, "expectations": {"x": 1}}])
    with mainspring.connect(tracking_url) as session:
        (found,) = session.evaluation_datasets.search(f"name = '{made.name}'").datasets
        assert (found.id, found.records, found.version) == (made.dataset_id, 1, 1)
        (record,) = session.evaluation_datasets.records(found.id).records
        assert (record.inputs, record.expectations) == ({"q": "a"}, {"x": 1})
        assert session.evaluation_datasets.remove(found.id, [record.id]).version == 2
    assert datasets.get_dataset(dataset_id=made.dataset_id).to_df().empty
