"""MLflow's client registers, moves and finds versions here; those whose files are here can be served."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mainspring.client.session import connect
from mainspring.core.errors import GateRefused, Unsupported
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.protocols.mlflow import model_versions, registered_models
from mainspring.protocols.mlflow.errors import told
from mainspring.registry.gate_model import GatePolicy
from mainspring.storage.objects.tree import put_tree
from tests.registry.graphs import columns_folder
from tests.registry.test_service import holdout

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning")


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def name(client: MlflowClient) -> str:
    """A model that only this test uses."""
    return str(client.create_registered_model(f"Model {uuid.uuid4()}").name)


def refused(code: str, call: object, *args: object, **options: object) -> str:
    with pytest.raises(MlflowException) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.error_code == code
    return str(caught.value)


def test_a_version_keeps_what_it_is_given(client: MlflowClient, name: str) -> None:
    made = client.create_model_version(
        name, "s3://bucket/model", run_id="0a1b", tags={"a": "b"}, run_link="http://ci/1", description="about it"
    )
    assert (made.name, made.version, made.status, made.current_stage) == (name, "1", "READY", "None")
    found = client.get_model_version(name, "1")
    assert (found.source, found.run_id, found.run_link) == ("s3://bucket/model", "0a1b", "http://ci/1")
    assert (found.tags, found.description, found.aliases) == ({"a": "b"}, "about it", [])
    assert client.get_model_version_download_uri(name, "1") == "s3://bucket/model"
    client.update_model_version(name, "1", "better")
    client.set_model_version_tag(name, "1", "c", "d")
    client.delete_model_version_tag(name, "1", "a")
    found = client.get_model_version(name, "1")
    assert (found.description, found.tags) == ("better", {"c": "d"})
    assert found.last_updated_timestamp > found.creation_timestamp
    assert client.get_registered_model(name).last_updated_timestamp >= found.creation_timestamp


def test_a_record_of_a_model_that_is_elsewhere_is_not_deployed(
    client: MlflowClient, name: str, tracking_url: str, tmp_path: Path
) -> None:
    client.create_model_version(name, "s3://bucket/model")
    with connect(tracking_url, tmp_path) as session:
        assert session.registry.resolve(f"model:{name}@1").digest is None
        with pytest.raises(Unsupported, match="is a record only and cannot be served"):
            session.releases.deploy("here", f"model:{name}@1")


def test_a_version_of_files_that_are_here_is_one_of_ours(
    client: MlflowClient, name: str, tracking_url: str, tmp_path: Path
) -> None:
    run = client.create_run("0").info
    client.log_artifacts(run.run_id, str(columns_folder(tmp_path / "given")), "model")
    made = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    again = client.create_model_version(name, f"runs:/{run.run_id}/model", run.run_id)
    copied = client.create_model_version(name, f"models:/{name}/1")
    assert (copied.run_id, copied.source) == (run.run_id, f"models:/{name}/1")
    assert client.get_model_version_download_uri(name, "3") == f"{run.artifact_uri}/model"
    with connect(tracking_url, tmp_path / "cache") as session:
        versions = [session.registry.get_version(name, int(one.version)).servable() for one in (made, again, copied)]
        assert {version.run for version in versions} == {f"run:{run.run_id}"}
        assert len({version.digest for version in versions}) == 1
        assert versions[0].info.signature.inputs
        assert session.releases.deploy("served", versions[0].ref)
        assert {edge.source for edge in session.lineage.trace(versions[0].ref).edges} >= {f"run:{run.run_id}"}


def test_numbers_grow_and_are_not_given_again(client: MlflowClient, name: str) -> None:
    assert [client.create_model_version(name, "s3://bucket/model").version for _ in range(3)] == ["1", "2", "3"]
    client.set_registered_model_alias(name, "best", "3")
    client.delete_model_version(name, "3")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, name, "3")
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_model_version, name, "3")
    assert client.get_registered_model(name).aliases == {}
    assert client.create_model_version(name, "s3://bucket/model").version == "4"


def test_clients_at_once_get_numbers_of_their_own(tracking_url: str, name: str) -> None:
    def create(_: int) -> int:
        return int(MlflowClient(tracking_url).create_model_version(name, "s3://bucket/model").version)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(24))) == list(range(1, 25))


def test_versions_move_through_stages(client: MlflowClient, name: str) -> None:
    for _ in range(2):
        client.create_model_version(name, "s3://bucket/model")
    assert client.transition_model_version_stage(name, "1", "production").current_stage == "Production"
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert [client.get_model_version(name, v).current_stage for v in "12"] == ["Archived", "Production"]
    refused("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, name, "1", "Nowhere")
    refused(
        "INVALID_PARAMETER_VALUE",
        client.transition_model_version_stage,
        name,
        "1",
        "Archived",
        archive_existing_versions=True,
    )
    refused("RESOURCE_DOES_NOT_EXIST", client.transition_model_version_stage, name, "9", "Staging")


def test_a_version_that_is_no_number_is_refused(tracking_url: str, name: str) -> None:
    answer = httpx2.get(f"{tracking_url}/api/2.0/mlflow/model-versions/get", params={"name": name, "version": "first"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "source",
    [
        *("/etc/passwd", "file:///etc/passwd", "model", "s3://bucket/../other", "s3://bucket/%2e%2e/other"),
        *("mlflow-artifacts:/0/nobody/artifacts/model", "runs:/nobody/model", "models:/m-nothing"),
        *("http://host/api/2.0/mlflow-artifacts/artifacts/0/nobody/artifacts", "models:/", "runs://host/r/model"),
    ],
)
def test_a_source_that_is_not_of_its_run_is_refused(client: MlflowClient, name: str, source: str) -> None:
    said = refused("INVALID_PARAMETER_VALUE", client.create_model_version, name, source)
    assert f"Invalid model version source: '{source}'" in said


def test_versions_are_found_by_filters_page_by_page(client: MlflowClient, name: str) -> None:
    other = client.create_registered_model(f"{name} other").name
    for model in (name, other):
        for number in range(3):
            client.create_model_version(model, f"s3://bucket/{number}", f"run{number}", {"n": str(number)})
    mine = f"name = '{name}'"

    def found(where: str, **options: object) -> list[tuple[str, str]]:
        return [(v.name, v.version) for v in client.search_model_versions(where, **options)]

    assert found(mine) == [(name, "3"), (name, "2"), (name, "1")]
    assert found(f"{mine} and run_id IN ('run0', 'run2')", order_by=["version_number ASC"]) == [
        (name, "1"),
        (name, "3"),
    ]
    assert found(f"{mine} and source_path LIKE '%/1'") == [(name, "2")]
    assert found(f"name LIKE '{name}%' and tags.n = '0'", order_by=["name DESC"]) == [(other, "1"), (name, "1")]
    assert found(f"{mine} and version_number < 2") == [(name, "1")]
    assert found(f"{mine} and (run_id = 'run0' or tags.n = '2')") == [(name, "3"), (name, "1")]
    page = client.search_model_versions(mine, max_results=2)
    assert [v.version for v in client.search_model_versions(mine, max_results=2, page_token=page.token)] == ["1"]
    for wrong in ("colour = 'x'", "version_number = 'x'", "run_id > 'x'"):
        refused("INVALID_PARAMETER_VALUE", client.search_model_versions, wrong)
    refused("INVALID_PARAMETER_VALUE", client.search_model_versions, mine, max_results=200_001)


def test_a_promotion_that_the_gates_refuse_is_told_with_its_numbers(tmp_path: Path) -> None:
    with Platform(Settings(home=str(tmp_path / "home"))) as platform:
        assert isinstance(platform, Platform)
        lenient = GatePolicy(max_p99_ms=1000, latency_requests=30)
        for number, cut in enumerate((0.0, 1.0), start=1):
            platform.registry.register("m", put_tree(platform.objects, columns_folder(tmp_path / str(cut), cut=cut)))
            platform.registry.evaluate_gates("m", number, holdout(), policy=lenient)
            if number == 1:
                registered_models.set_alias(platform, registered_models.SetAlias("m", "champion", 1))
        platform.registry.evaluate_gates("m", 2, holdout(), policy=lenient)
        for call in (
            lambda: registered_models.set_alias(platform, registered_models.SetAlias("m", "champion", 2)),
            lambda: model_versions.transition(platform, model_versions.Transition("m", 2, "Production")),
        ):
            with pytest.raises(GateRefused) as caught:
                call()
            status, body = told(caught.value)
            assert (status, body.error_code) == (400, "INVALID_STATE")
            assert "better_than_champion: accuracy 0.9 against 1 of model:m@1" in body.message
        assert platform.registry.get_model("m").aliases == {"champion": 1}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/etc/passwd", "To use a local path as a model version"),
        ("file:///etc/passwd", "To use a local path as a model version"),
        ("file://host/model", "is not a valid remote uri"),
        ("https://host/models/../../secret", "If supplying a source as an http, https,"),
        ("mlflow-artifacts:/0/r/artifacts/%2e%2e/x", "If supplying a source as an http, https,"),
        ("s3://bucket/model%00", "If supplying a source as an http, https,"),
    ],
)
def test_a_source_is_refused_in_the_words_that_clients_look_for(
    client: MlflowClient, name: str, source: str, says: str
) -> None:
    assert says in refused("INVALID_PARAMETER_VALUE", client.create_model_version, name, source)
