"""`mainspring sync` sends what runs left on the disk, says what became of it, and may be repeated."""

from __future__ import annotations

from pathlib import Path

import mainspring
from tests.cli.conftest import Cli
from tests.servers import free_port


def offline(**options: str) -> str:
    with mainspring.start_run("churn", "first", mode="offline", capture="none", **options) as run:
        run.log({"loss": 0.5})
        run.log_artifact("a.txt", "a")
    return run.run


def test_offline_runs_are_sent_without_naming_their_folder(cli: Cli) -> None:
    runs = {offline(), offline()}
    sent = cli("sync", "--json")
    assert sent.code == 0
    assert {(row["run"], row["state"], row["values"], row["files"]) for row in sent.json} == {
        (run, "sent", 1, 1) for run in runs
    }
    assert cli("sync").out.startswith("nothing waits in ")
    assert {row["run"]["id"] for row in cli("run", "search", "--json").json["runs"]} == runs


def test_folders_may_be_named_one_by_one_or_all_at_once(cli: Cli, folder: Path) -> None:
    first = offline(folder="here")
    second = offline(folder="here")
    (one,) = folder.glob(f"here/{first}.*")
    said = cli("sync", str(one))
    assert (said.code, said.out.split()[:2]) == (0, ["sent", first])
    assert cli("sync", str(folder / "here"), "--json").json[0]["run"] == second


def test_while_the_platform_is_away_everything_stays_and_the_command_says_so(cli: Cli, folder: Path) -> None:
    offline()
    away = cli("sync", "--url", f"http://127.0.0.1:{free_port()}")
    assert away.code == 6
    assert "sync again" in away.err
    assert cli("sync", "--json").json[0]["values"] == 1


def test_a_run_that_is_still_logged_to_is_left_alone(cli: Cli) -> None:
    with mainspring.start_run("churn", mode="offline", capture="none") as run:
        run.log({"loss": 0.5})
        run.flush()
        assert cli("sync", "--json").json[0]["state"] == "running"
    assert cli("sync", "--json").json[0]["state"] == "sent"


def test_a_folder_that_is_not_there_is_an_error(cli: Cli) -> None:
    assert cli("sync", "nowhere").code == 3
