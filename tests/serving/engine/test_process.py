"""A model with code of its own runs in a child process that can fail, die and be replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import InvalidData, MainspringError, Unavailable
from mainspring.serving.engine.checking import Rows
from mainspring.serving.engine.process import ProcessSession
from mainspring.serving.engine.session import open_session
from tests.serving import models
from tests.serving.worker import until


@pytest.fixture
def sulky(tmp_path: Path) -> Iterator[ProcessSession]:
    """An opened model that fails on a = 13 and dies on a = 99."""
    session = ProcessSession(models.pickled(tmp_path / "model", models.Sulky()), models.PICKLED)
    yield session
    session.close()


def row(a: float, b: float = 1.0) -> Rows:
    """One checked row."""
    return Rows(1, [[a], [b]])


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_pickled_classifier_gives_label_and_probabilities(tmp_path: Path) -> None:
    session = open_session(models.pickled_classifier(tmp_path), trusted=True)
    try:
        labels, probabilities = session.run([row(3.0, 0.0), row(0.0, 3.0)])
        assert labels == ["yes", "no"]
        assert probabilities[0][1] > 0.99 > 0.01 > probabilities[1][1]
        assert [(one.name, one.datatype, one.shape) for one in session.outputs] == [
            ("label", "BYTES", [-1]),
            ("probabilities", "FP64", [-1, 2]),
        ]
        scored = session.predict({"a": [3.0] * 9000, "b": [0.0] * 9000})
        assert set(scored["label"]) == {"yes"}
        assert scored["probabilities"].shape == (9000, 2)
    finally:
        session.close()


def test_what_the_model_prints_does_not_disturb_the_answers(sulky: ProcessSession) -> None:
    assert sulky.run([row(1.0, 2.0), row(3.0, 4.0)]) == [[3.0, 7.0]]


def test_the_error_of_the_model_is_told_and_the_child_lives_on(sulky: ProcessSession) -> None:
    pid = sulky.pid
    with pytest.raises(MainspringError, match="ValueError: thirteen"):
        sulky.run([row(13.0)])
    assert sulky.run([row(1.0)]) == [[2.0]]
    assert sulky.pid == pid


def test_a_child_that_died_is_replaced(sulky: ProcessSession) -> None:
    before = sulky.pid
    with pytest.raises(Unavailable, match="ended"):
        sulky.run([row(99.0)])
    assert sulky.run([row(1.0)]) == [[2.0]]
    assert sulky.pid != before


def test_a_child_that_dies_again_and_again_is_given_a_pause(sulky: ProcessSession) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable, match="ended"):
            sulky.run([row(99.0)])
    with pytest.raises(Unavailable, match="is down; try again"):
        sulky.run([row(1.0)])


def test_the_model_sees_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_KEY", "hidden")
    session = ProcessSession(models.pickled(tmp_path, models.Sulky()), models.PICKLED)
    try:
        assert session.run([row(55.0)]) == [[0.0]]
    finally:
        session.close()


def test_a_closed_session_leaves_no_process(tmp_path: Path) -> None:
    session = ProcessSession(models.pickled(tmp_path, models.Sulky()), models.PICKLED)
    pid = session.pid
    assert pid is not None
    session.close()
    assert not is_alive(pid)
    with pytest.raises(Unavailable):
        session.run([row(1.0)])


def test_a_folder_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    folder = models.pickled(tmp_path, models.Sulky())
    (folder / "model.pkl").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(InvalidData, match="does not load"):
        ProcessSession(folder, models.PICKLED)


def test_threads_may_share_a_session(sulky: ProcessSession) -> None:
    found: dict[int, list[list[float]]] = {}

    def ask(number: int) -> None:
        found[number] = sulky.run([row(100.0 + number, 0.0)])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [[100.0 + number]] for number in range(16)}


PARENT = """
import sys, time
from mainspring.serving.engine.process import ProcessSession
from mainspring.registry.signature import Field, Signature
session = ProcessSession(__import__("pathlib").Path(sys.argv[1]), Signature([Field("a", "double")], []))
print(session.pid, flush=True)
time.sleep(60)
"""


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    folder = models.pickled(tmp_path, models.Sulky())
    with subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        until(lambda: not is_alive(child), "the child outlived its parent")
