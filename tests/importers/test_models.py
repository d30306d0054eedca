"""Registered models come with their versions, stages and aliases, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

from mainspring.core.refs import Ref
from mainspring.importers.mlflow import MlflowRuns
from mainspring.importers.writing import Importer
from mainspring.planes.embedded import Platform

# MLflow's own models of its tables use what SQLAlchemy 2.1 calls outdated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A database of MLflow's with three versions of a model, the second of which was deleted, and a prompt."""
    import mlflow.sklearn

    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    rows = np.random.default_rng(0).random((40, 3))
    fitted = LogisticRegression().fit(rows, rows[:, 0] > 0.5)
    folder = tmp_path / "model"
    mlflow.sklearn.save_model(fitted, str(folder), serialization_format="cloudpickle", input_example=rows[:2])
    run = client.create_run(client.create_experiment("e", artifact_location=(tmp_path / "a").as_uri())).info.run_id
    client.create_registered_model("churn", tags={"team": "ads"}, description="who leaves")
    for number in range(3):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(folder, copy)
        (copy / "note.txt").write_text(str(number))
        client.create_model_version("churn", str(copy), run, tags={"n": str(number)}, description=f"the {number}.")
    client.delete_model_version("churn", "2")
    client.set_registered_model_alias("churn", "best", "3")
    client.register_prompt("greeting", "Hello {{name}}")
    return str(tmp_path / "mlflow.db")


def test_versions_keep_their_order_their_run_and_their_alias(platform: Platform, store: str) -> None:
    source = MlflowRuns(store)
    importer = Importer(platform)
    importer.bring(source)
    for versions in (2, 0):
        report = importer.bring_models(source.name, source.models())
        assert (report.models, report.versions) == (1, versions)
        assert [problem.what for problem in report.problems] == ["version 3 of model churn"]
    model = platform.registry.get_model("churn")
    assert (model.description, model.tags["team"]) == ("who leaves", "ads")
    (second, first) = platform.registry.list_versions("churn")
    assert (first.card, second.card, second.tags["n"]) == ("the 0.", "the 2.", "2")
    assert second.run is not None
    assert platform.tracking.get_run(Ref.parse(second.run).name).run.experiment == "e"
    assert platform.registry.resolve("churn@best").version == second.version
    source.close()
