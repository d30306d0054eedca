"""Folders of artifacts behave as folders do, whosever they are, though they are rows only."""

from __future__ import annotations

import threading
import time

import pytest

from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.storage.objects.digests import digest_of
from mainspring.tracking.files.places import FREE, Place
from mainspring.tracking.files.service import ArtifactFiles
from mainspring.tracking.files.store import Child, artifact_files
from mainspring.tracking.model import Artifact
from mainspring.tracking.service import Tracking
from mainspring.tracking.store import run_artifacts


def put(files: ArtifactFiles, place: Place, *paths: str) -> None:
    for path in paths:
        files.put(place, path, files.objects.put_bytes(path.encode()))


def test_a_folder_lists_its_files_and_folders_by_name(tracking: Tracking, folder: Place) -> None:
    put(tracking.files, folder, "b.txt", "a/x", "a/deep/er/y", "a.txt", "A/z", "a%/q")
    assert tracking.files.children(folder) == [
        Child("A", None), Child("a", None), Child("a%", None), Child("a.txt", 5), Child("b.txt", 5),
    ]  # fmt: skip
    assert tracking.files.children(folder, "a") == [Child("deep", None), Child("x", 3)]
    assert tracking.files.children(folder, "a/deep/") == [Child("er", None)]
    assert tracking.files.children(folder, "nowhere") == tracking.files.children(folder, "b.txt") == []


def test_a_folder_gives_everything_below_it_by_path(tracking: Tracking, folder: Place) -> None:
    put(tracking.files, folder, "m/b", "m/a", "m/c/d", "m2/x", "M/y")
    assert [file.path for file in tracking.files.below(folder, "m")] == ["m/a", "m/b", "m/c/d"]
    assert [file.path for file in tracking.files.below(folder, "m/a")] == ["m/a"]
    assert len(tracking.files.below(folder)) == 5


def test_a_path_points_to_what_was_put_last(tracking: Tracking, folder: Place) -> None:
    files = tracking.files
    files.put(folder, "a", files.objects.put_bytes(b"old"))
    kept = files.put(folder, "a", files.objects.put_bytes(b"newer"))
    assert files.get(folder, "a") == kept == Artifact("a", digest_of(b"newer"), 5)


def test_a_path_is_never_a_file_and_a_folder(tracking: Tracking, folder: Place) -> None:
    put(tracking.files, folder, "a/b", "c")
    for path in ("a", "a/b/c", "c/d/e"):
        with pytest.raises(Conflict, match="cannot both be files"):
            put(tracking.files, folder, path)
    put(tracking.files, folder, "a0", "a-", "ab/c")


def test_what_is_removed_takes_all_that_is_in_it_and_nothing_beside_it(tracking: Tracking, folder: Place) -> None:
    put(tracking.files, folder, "m/a", "m/b/c", "m0", "m.txt", "M/x", "m_/y")
    assert tracking.files.remove(folder, "m/b/c") == 1
    assert tracking.files.remove(folder, "m") == 1
    assert [file.path for file in tracking.files.below(folder)] == ["M/x", "m.txt", "m0", "m_/y"]
    assert tracking.files.remove(folder, "m") == 0
    assert tracking.files.remove(folder) == 4


def test_places_do_not_see_each_other(tracking: Tracking) -> None:
    run = Place("run", tracking.create_run("files").id)
    for place in (run, Place("model", "m-1"), Place("model", "m-2"), Place("trace", "m-1"), FREE):
        put(tracking.files, place, "a")
        assert tracking.files.remove(place) == 1
        assert tracking.files.below(place) == []


def test_a_run_s_folder_is_what_the_run_s_own_verbs_see(tracking: Tracking) -> None:
    run = tracking.create_run("files").id
    put(tracking.files, Place("run", run), "plots/a")
    assert tracking.read_artifact(run, "plots/a") == b"plots/a"


def test_an_address_is_that_of_the_run_it_names_and_of_nobody_when_there_is_none(tracking: Tracking) -> None:
    run = tracking.create_run("files").id
    assert tracking.files.place_of(f"7/{run}/artifacts/a/b") == (Place("run", run), "a/b")
    assert tracking.files.place_of(f"team/artifacts/{run}/artifacts") == (Place("run", run), "")
    assert tracking.files.place_of("7/unknown/artifacts/a") == (FREE, "7/unknown/artifacts/a")
    assert tracking.files.place_of("7/models/m-1/artifacts/a") == (Place("model", "m-1"), "a")
    assert tracking.files.place_of("") == (FREE, "")
    with pytest.raises(InvalidRequest):
        tracking.files.place_of(f"7/{run}/artifacts/../../x")


def test_only_what_is_stored_and_what_is_a_file_can_be_had(tracking: Tracking, folder: Place) -> None:
    put(tracking.files, folder, "m/a")
    with pytest.raises(NotFound):
        tracking.files.put(folder, "b", digest_of(b"nobody stored this"))
    with pytest.raises(NotFound):
        tracking.files.get(folder, "b")
    with pytest.raises(InvalidRequest, match="is a folder"):
        tracking.files.get(folder, "m")
    with pytest.raises(NotFound):
        tracking.files.put(Place("run", "unknown"), "a", tracking.objects.put_bytes(b""))


def test_of_many_who_put_at_once_none_makes_a_file_a_folder(tracking: Tracking, folder: Place) -> None:
    digest = tracking.objects.put_bytes(b"x")
    refused: list[Conflict] = []

    def one(path: str) -> None:
        try:
            tracking.files.put(folder, path, digest)
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=one, args=("a/b" if number % 2 else "a",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tracking.files.below(folder)) == 1
    assert len(refused) == 4


def test_ten_thousand_files_are_listed_in_a_moment(tracking: Tracking, folder: Place) -> None:
    rows = [{"path": f"m/{number % 10}/{number:05d}", "digest": digest_of(b""), "size": 0} for number in range(10_000)]
    with tracking.database.begin() as connection:
        if folder.kind == "run":
            connection.execute(run_artifacts.insert(), [row | {"run": folder.id} for row in rows])
        else:
            connection.execute(artifact_files.insert(), [row | {"owner": folder.owner} for row in rows])
    took = []
    for _ in range(3):
        started = time.perf_counter()
        assert len(tracking.files.children(folder, "m")) == 10
        assert len(tracking.files.children(folder, "m/3")) == 1000
        took.append(time.perf_counter() - started)
    assert min(took) < 0.25
