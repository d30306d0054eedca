"""A model that MLflow's client logs and registers in one call is loaded by every name, and can be served."""

from __future__ import annotations

import json
import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from mainspring.client.session import connect
from mainspring.core.errors import Forbidden
from mainspring.storage.objects.digests import digest_of
from tests.registry.graphs import columns_folder

# What MLflow's client warns of in its own use of pandas and scikit-learn is not ours to change.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def client(tracking_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_url)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    yield MlflowClient(tracking_url)
    mlflow.set_tracking_uri(before)


def test_a_logged_model_is_loaded_by_run_version_alias_stage_and_id_and_served(
    client: MlflowClient, tracking_url: str, tmp_path: Path
) -> None:
    name, rows = f"clf-{uuid.uuid4()}", pd.DataFrame({"a": np.arange(20.0) % 5, "b": np.arange(20.0)})
    estimator = LogisticRegression().fit(rows, rows.a > 2)
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            estimator,
            name="clf",
            registered_model_name=name,
            input_example=rows.head(2),
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    client.set_registered_model_alias(name, "best", "1")
    client.transition_model_version_stage(name, "1", "Staging")
    expected = list(estimator.predict(rows))
    for uri in (f"runs:/{run.info.run_id}/clf", f"models:/{name}/1", f"models:/{name}@best", f"models:/{name}/Staging"):
        assert list(mlflow.pyfunc.load_model(uri).predict(rows)) == expected
    assert list(mlflow.pyfunc.load_model(logged.model_uri).predict(rows)) == expected
    again = mlflow.register_model(f"runs:/{run.info.run_id}/clf", name)
    assert (again.version, again.run_id) == ("2", run.info.run_id)
    became = json.loads(client.get_logged_model(logged.model_id).tags["mlflow.modelVersions"])
    assert {(version["name"], int(version["version"])) for version in became} == {(name, 1), (name, 2)}

    with connect(tracking_url, tmp_path / "cache") as session:
        version = session.registry.resolve(f"model:{name}@best").servable()
        assert (version.engine, version.run, version.trusted) == ("process", f"run:{run.info.run_id}", False)
        assert [field.name for field in version.info.signature.inputs] == ["a", "b"]
        with pytest.raises(Forbidden, match="mainspring model trust"):
            session.releases.deploy(name[:20], version.ref)
        session.registry.trust(name, 1, "logged by this test")
        assert session.releases.deploy(name[:20], version.ref)


def test_a_model_that_was_registered_here_is_loaded_by_mlflow_too(
    client: MlflowClient, tracking_url: str, tmp_path: Path
) -> None:
    name = f"ours-{uuid.uuid4()}"
    with connect(tracking_url, tmp_path / "cache") as session:
        session.import_model(name, columns_folder(tmp_path / "given"))
        session.registry.set_alias(name, "champion", 1)
    rows = pd.DataFrame({"x": [1.5, -2.0], "town": ["a", "b"]})
    first = client.get_model_version_download_uri(name, "1")
    assert first == client.get_model_version_download_uri(name, "1")
    client.create_registered_model(f"{name}-copy")
    client.copy_model_version(f"models:/{name}/1", f"{name}-copy")
    for uri in (f"models:/{name}/1", f"models:/{name}@champion", f"models:/{name}-copy/1"):
        assert len(mlflow.pyfunc.load_model(uri).predict(rows)) == 2


class _Evil:
    def __reduce__(self) -> object:
        return os.system, ("echo pwned",)


def test_a_model_that_would_run_a_command_is_not_registered(
    client: MlflowClient, tracking_url: str, tmp_path: Path
) -> None:
    name = client.create_registered_model(f"evil-{uuid.uuid4()}").name
    folder = columns_folder(tmp_path / "given")
    (folder / "extra.bin").write_bytes(pickle.dumps(_Evil()))
    run = client.create_run("0").info
    client.log_artifacts(run.run_id, str(folder), "model")
    with pytest.raises(MlflowException) as refused:
        client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert "extra.bin calls posix.system" in refused.value.message
    assert client.search_model_versions(f"name = '{name}'") == []
    with connect(tracking_url, tmp_path / "cache") as session:
        session.scans.allow_file(digest_of((folder / "extra.bin").read_bytes()), "of this test")
        assert client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id).version == "1"
        assert session.scans.get_scan(name, 1).report.allowed
