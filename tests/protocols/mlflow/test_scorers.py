"""MLflow's client registers, finds, starts and deletes scorers here as with its own server."""

from __future__ import annotations

import json
import uuid

import httpx2
import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import Safety, Scorer, ScorerSamplingConfig, delete_scorer, get_scorer, list_scorers
from mlflow.genai.scorers.registry import list_scorer_versions

import mainspring


@pytest.fixture
def experiment(tracking_url: str) -> str:
    """The id of an experiment that only this test uses, which is the active one."""
    mlflow.set_tracking_uri(tracking_url)
    return mlflow.set_experiment(f"e-{uuid.uuid4().hex}").experiment_id


def polite(model: str = "openai:/gpt-4.1") -> Scorer:
    return make_judge(name="polite", instructions="Is {{ outputs }} polite?", model=model, feedback_value_type=bool)


def test_a_judge_comes_back_as_it_was_registered(experiment: str) -> None:
    made = polite().register()
    found = get_scorer(name="polite")
    assert found.model_dump() == made.model_dump()
    assert found.name == "polite" and found.instructions == "Is {{ outputs }} polite?"
    built_in = Safety(model="openai:/gpt-4.1").register(name="safe")
    assert get_scorer(name="safe", experiment_id=experiment).model_dump() == built_in.model_dump()
    assert [one.name for one in list_scorers(experiment_id=experiment)] == ["polite", "safe"]


def test_a_scorer_has_versions(experiment: str) -> None:
    for model in ("openai:/a", "openai:/b", "openai:/c"):
        polite(model).register()
    found = list_scorer_versions(name="polite")
    assert [(one.model, version) for one, version in found] == [("openai:/a", 1), ("openai:/b", 2), ("openai:/c", 3)]
    assert get_scorer(name="polite", version=2).model == "openai:/b"
    delete_scorer(name="polite", version=3)
    assert get_scorer(name="polite").model == "openai:/b"
    delete_scorer(name="polite", version="all")
    assert list_scorers() == []
    with pytest.raises(MlflowException, match="Scorer with name 'polite' not found") as gone:
        get_scorer(name="polite")
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_online_judging_is_noted(experiment: str) -> None:
    made = polite("gateway:/chat").register()
    started = made.start(
        experiment_id=experiment, sampling_config=ScorerSamplingConfig(sample_rate=0.5, filter_string="status = 'OK'")
    )
    assert (started.sample_rate, started.filter_string) == (0.5, "status = 'OK'")
    (listed,) = list_scorers(experiment_id=experiment)
    assert (listed.sample_rate, listed.filter_string) == (0.5, "status = 'OK'")
    stopped = listed.stop(experiment_id=experiment)
    assert stopped.sample_rate == 0
    plain = make_judge(name="plain", instructions="Is {{ outputs }} good?", model="openai:/a").register()
    with pytest.raises(MlflowException, match="does not use a gateway model"):
        plain.start(experiment_id=experiment, sampling_config=ScorerSamplingConfig(sample_rate=1))
    with pytest.raises(MlflowException, match="Invalid"):
        made.start(
            experiment_id=experiment, sampling_config=ScorerSamplingConfig(sample_rate=1, filter_string="nonsense = 1")
        )


def test_a_scorer_with_code_of_its_own_is_refused(tracking_url: str, experiment: str) -> None:
    @scorer
    def longer(outputs: str) -> bool:
        return len(outputs) > 3

    with pytest.raises(MlflowException, match="not supported"):
        longer.register()
    nested = {"name": "x", "ensemble_scorer_data": {"scorers": [{"name": "y", "call_source": "return 1"}]}}
    for serialized in (json.dumps(longer.model_dump()), json.dumps(nested), "{", "[]", '{"a": ' + "[" * 100_000):
        body = {"experiment_id": experiment, "name": "longer", "serialized_scorer": serialized}
        answer = httpx2.post(f"{tracking_url}/api/3.0/mlflow/scorers/register", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert list_scorers() == []


def test_scorers_of_several_experiments_are_listed_at_once(tracking_url: str, experiment: str) -> None:
    other = mlflow.create_experiment(f"e-{uuid.uuid4().hex}")
    polite().register()
    polite().register(experiment_id=other)
    path = f"{tracking_url}/api/3.0/mlflow/scorers/list"
    both = httpx2.get(path, params={"experiment_ids": [experiment, other]}).json()["scorers"]
    every = httpx2.get(path).json()["scorers"]
    assert [one["scorer_version"] for one in both] == [1, 1]
    assert {one["scorer_id"] for one in both} <= {one["scorer_id"] for one in every}
    wrong = httpx2.get(path, params={"experiment_ids": [experiment], "experiment_id": other})
    assert wrong.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_experiments_that_are_not_in_use_have_no_scorers(experiment: str) -> None:
    with pytest.raises(MlflowException, match="No Experiment with id=none"):
        polite().register(experiment_id="none")
    gone = mlflow.create_experiment(f"e-{uuid.uuid4().hex}")
    mlflow.delete_experiment(gone)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        polite().register(experiment_id=gone)


def test_the_same_scorers_are_there_by_our_own_api(tracking_url: str, experiment: str) -> None:
    polite().register()
    with mainspring.connect(tracking_url) as session:
        (found,) = session.scorers.list([experiment])
        assert (found.name, found.version) == ("polite", 1)
        session.scorers.register(experiment, "polite", found.definition.replace("polite?", "kind?"))
    assert get_scorer(name="polite").instructions == "Is {{ outputs }} kind?"
