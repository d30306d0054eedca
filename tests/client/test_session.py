"""The session: what joins operations with local files, the same in this process and at a control plane."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mainspring
from mainspring.client.session import Session
from mainspring.core.errors import InvalidData, InvalidRequest, NotFound, QualityFailed, Unavailable
from mainspring.core.ids import new_id
from mainspring.core.settings import Settings
from mainspring.planes.embedded import attach
from mainspring.runtime.spool import SpoolWriter
from tests.predictions.facts import batch, item
from tests.registry.graphs import columns_folder, matrix_graph
from tests.servers import free_port

ROWS = pl.DataFrame({"id": [1, 2, 3], "town": ["Ulm", "Bonn", None]})
READY_WITHIN_S = 30.0


@pytest.fixture(scope="module", params=["near", "far"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    """A session and the home that it works on."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "near":
        with mainspring.open(str(home)) as session:
            yield session, home
        return
    port = free_port()
    variables = {**os.environ, "MAINSPRING_HOME": str(home), "MAINSPRING_PORT": str(port)}
    child = subprocess.Popen([sys.executable, "-m", "mainspring.planes.control"], env=variables)
    url = f"http://127.0.0.1:{port}"
    _until(lambda: _answers(f"{url}/health"))
    with mainspring.connect(url) as session:
        yield session, home
    child.terminate()
    assert child.wait(30) == 0


@pytest.fixture
def session(opened: tuple[Session, Path]) -> Session:
    return opened[0]


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"n{new_id().lower()}"


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_a_file_becomes_a_version(session: Session, name: str, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rows.{suffix}"
    {"csv": ROWS.write_csv, "parquet": ROWS.write_parquet, "arrow": ROWS.write_ipc}[suffix](file)
    version = session.import_dataset(name, file, key="id")
    assert (version.ref, version.rows, version.key) == (f"dataset:{name}@1", 3, ["id"])


@pytest.mark.parametrize("library", [lambda: ROWS, ROWS.to_pandas, ROWS.to_arrow], ids=["polars", "pandas", "pyarrow"])
def test_a_frame_of_any_library_is_the_same_content(
    session: Session, name: str, library: Callable[[], pl.DataFrame | pd.DataFrame | pa.Table]
) -> None:
    first = session.import_dataset(name, ROWS, key=["id"])
    assert session.import_dataset(name, library(), key=["id"]).content == first.content


def test_the_time_column_is_kept(session: Session, name: str) -> None:
    frame = pl.DataFrame({"id": [1], "at": [time.gmtime().tm_year]}).with_columns(pl.date("at", 1, 1).alias("at"))
    assert session.import_dataset(name, frame, time="at").time_column == "at"


def test_errors_are_those_of_the_service(session: Session, name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no file"):
        session.import_dataset(name, tmp_path / "nowhere.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InvalidData, match="empty"):
        session.import_dataset(name, tmp_path / "empty.csv")
    session.import_dataset(name, ROWS, key="id")
    with pytest.raises(QualityFailed, match="quarantined"):
        session.import_dataset(name, pl.concat([ROWS, ROWS]))
    with pytest.raises(InvalidRequest, match="no file or folder"):
        session.import_model(name, tmp_path / "nowhere.onnx")
    with pytest.raises(NotFound):
        session.datasets.get("nobody-made-this")


def test_a_model_is_imported_from_a_file_and_from_a_folder(session: Session, name: str, tmp_path: Path) -> None:
    (tmp_path / "plant.onnx").write_bytes(matrix_graph())
    assert session.import_model(name, tmp_path / "plant.onnx").ref == f"model:{name}@1"
    folder = columns_folder(tmp_path / "columns")
    assert session.import_model(name, folder, card="Second.").card == "Second."


def test_a_prediction_leads_to_its_release_and_on_to_the_model(
    opened: tuple[Session, Path], name: str, tmp_path: Path
) -> None:
    session, home = opened
    (tmp_path / "plant.onnx").write_bytes(matrix_graph())
    model = session.import_model(name, tmp_path / "plant.onnx").ref
    release = session.releases.deploy(name, model)
    asked = item()
    writer = SpoolWriter(home / "spool" / name)
    writer.append_many([batch(asked, endpoint=name, release=f"release:{name}@1")])
    writer.close()

    def logged() -> bool:
        if hasattr(session.predictions, "ingest"):
            session.predictions.ingest()
        return session.predictions.log_counts(name).predictions > 0

    _until(logged)
    trace = session.trace(f"prediction:{asked.id}")
    assert (trace.edges[0].source, trace.edges[0].target) == (f"release:{name}@1", f"prediction:{asked.id}")
    assert model in {edge.source for edge in trace.edges}
    assert release.version == 1
    assert session.trace(model, "down").edges
    below = session.trace(f"prediction:{asked.id}", "down")
    assert (below.direction, below.edges) == ("down", [])


def test_without_a_version_the_lineage_is_that_of_the_latest(session: Session, name: str, tmp_path: Path) -> None:
    for classes in (3, 4):
        (tmp_path / "plant.onnx").write_bytes(matrix_graph(classes))
        session.import_model(name, tmp_path / "plant.onnx")
    session.releases.deploy(name, name)
    assert session.trace(f"model:{name}", "down").ref == f"model:{name}@2"
    session.import_dataset(name, ROWS)
    assert session.trace(f"dataset:{name}").ref == f"dataset:{name}@1"


def test_a_prediction_that_nobody_logged_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound, match="no endpoint has logged"):
        session.trace(f"prediction:{new_id()}")


def test_a_home_is_attached_in_this_process_and_a_url_at_a_distance(tmp_path: Path) -> None:
    with attach(Settings(home=str(tmp_path / "home"))) as near:
        assert near.datasets.list() == []
    with attach(Settings(url="http://127.0.0.1:9")) as far, pytest.raises(Unavailable, match="mainspring up"):
        far.datasets.list()
