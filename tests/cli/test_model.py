"""``mainspring model import``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from tests.cli.conftest import Cli
from tests.registry.graphs import columns_folder, columns_graph, matrix_graph
from tests.registry.scanning.payloads import SYSTEM


def test_an_onnx_file_becomes_a_version(cli: Cli) -> None:
    Path("plant.onnx").write_bytes(matrix_graph())
    done = cli("model", "import", "plant", "plant.onnx", "--json")
    assert done.code == 0, done.err
    assert done.json["ref"] == "model:plant@1"
    assert done.json["info"]["task"] == "multiclass"
    assert cli("model", "versions", "plant", "--json").json[0]["version"] == 1


def test_what_the_file_cannot_say_is_said(cli: Cli) -> None:
    Path("churn.onnx").write_bytes(columns_graph())
    done = cli("model", "import", "churn", "churn.onnx", "--task", "binary", "--classes", "no, yes", "--json")
    assert done.json["info"]["task"] == "binary"
    assert done.json["info"]["classes"] == ["no", "yes"]
    numbers = cli("model", "import", "plant", "churn.onnx", "--task", "binary", "--classes", "0,1", "--json")
    assert numbers.json["info"]["classes"] == [0, 1]


def test_people_are_told_what_it_takes_and_what_comes_next(cli: Cli) -> None:
    Path("plant.onnx").write_bytes(matrix_graph())
    told = cli("model", "import", "plant", "plant.onnx").out
    assert "takes: X: float [-1, 4]" in told
    assert "next: mainspring deploy plant model:plant@1" in told


def test_a_folder_in_the_mlmodel_layout_is_taken(cli: Cli) -> None:
    columns_folder(Path("churn"))
    done = cli("model", "import", "churn", "churn", "--json").json
    assert [field["name"] for field in done["info"]["signature"]["inputs"]] == ["x", "town"]


@pytest.mark.parametrize("content", [b"", b"this is no graph"])
def test_what_is_no_model_is_refused(cli: Cli, content: bytes) -> None:
    Path("no.onnx").write_bytes(content)
    done = cli("model", "import", "churn", "no.onnx")
    assert done.code == 5
    assert done.err.count("\n") == 1


def test_a_folder_without_a_model_is_refused(cli: Cli) -> None:
    Path("empty").mkdir()
    assert cli("model", "import", "churn", "empty").code == 5


def test_what_pickles_would_do_is_shown_and_refused(cli: Cli) -> None:
    Path("evil.pkl").write_bytes(SYSTEM)
    shown = cli("model", "scan", "evil.pkl")
    assert shown.code == 4
    assert "STACK_GLOBAL 1" in shown.out
    assert "dangerous: evil.pkl calls posix.system" in shown.out
    folder = columns_folder(Path("churn"))
    (folder / "evil.pkl").write_bytes(SYSTEM)
    refused = cli("model", "import", "churn", "churn")
    assert refused.code == 4
    digest = cli("model", "scan", "evil.pkl", "--json").json["findings"][0]["digest"]
    assert f"mainspring model allow-file {digest}" in refused.err
    assert cli("model", "allow-file", digest, "ours").code == 0
    assert cli("model", "import", "churn", "churn").code == 0
    again = cli("model", "scan", "churn@1", "--json")
    assert (again.code, again.json["verdict"], again.json["allowed"]) == (0, "warned", [digest])


def test_the_history_says_what_was_in_use_when_and_by_whom(cli: Cli) -> None:
    for number in (1, 2):
        Path("plant.onnx").write_bytes(matrix_graph(2 + number))
        cli("model", "import", "plant", "plant.onnx")
        assert cli("model", "set-alias", "plant", "champion", str(number), "--reason", f"number {number}").code == 0
    moves = [change for change in cli("model", "history", "plant", "--json").json if change["kind"] == "alias"]
    assert [move["version"] for move in moves] == [2, 1]
    then = cli("model", "history", "plant", "--at", moves[1]["at"], "--json").json
    assert then["aliases"]["champion"]["version"] == 1
    shown = cli("model", "history", "plant", "--at", moves[1]["at"]).out
    assert "champion was version 1 since" in shown
    assert "(number 1)" in shown
    assert "champion is model:plant@2 instead of model:plant@1 (number 2)" in cli("model", "history", "plant").out
    assert cli("model", "history", "plant", "--at", "yesterday").code == 2
    assert cli("model", "history", "plant", "--at", "2001-01-01").code == 3


def test_a_protected_alias_is_asked_for_approved_and_explained(cli: Cli) -> None:
    Path("plant.onnx").write_bytes(matrix_graph())
    cli("model", "import", "plant", "plant.onnx")
    policy = '{"measured": null, "owner": true}'
    assert cli("model", "define-policy", "owned", policy).code == 0
    assert cli("model", "protect", "plant", "champion", "--gates", "owned", "--approvals", "1").code == 0
    refused = cli("model", "set-alias", "plant", "champion", "1")
    assert refused.code == 4
    (command,) = re.findall(r"`(mainspring model tag-version [^`]*)`", refused.err)
    assert cli(*shlex.split(command)[1:]).code == 0, "the command that is shown does what is missing"
    assert {one["name"]: one["met"] for one in cli("model", "requirements", "plant", "1", "--json").json} == {
        "owner": True,
        "approvals": False,
    }
    assert cli("model", "list-requests", "--json").json[0]["version"] == 1
    mine = cli("model", "approve", "plant", "1")
    assert (mine.code, "somebody else" in mine.err) == (4, True)
    with acting_as("bob", "local"):
        assert cli("model", "approve", "plant", "1").code == 0
    assert cli("model", "get", "plant", "--json").json["aliases"] == {"champion": 1}


def test_a_card_is_made_edited_and_read_again(cli: Cli) -> None:
    Path("plant.onnx").write_bytes(matrix_graph())
    cli("model", "import", "plant", "plant.onnx")
    assert cli("model", "card", "plant@1").code == 3
    made = cli("model", "card", "plant@1", "--make")
    assert "## Intended use" in made.out
    Path("card.md").write_text(made.out.replace("_To be written: what it does, in a sentence._", "Tells plants apart."))
    assert cli("model", "card", "plant@1", "--edit", "card.md", "--json").json["revision"] == 2
    assert "Tells plants apart." in cli("model", "card", "plant@1").out
    assert "Tells plants apart." not in cli("model", "card", "plant@1", "--revision", "1").out
    assert cli("model", "card", "plant@1", "--make", "--revision", "1").code == 2
    assert cli("model", "list-files", "plant", "1", "--json").json[0]["digest"].startswith("sha256:")


def test_the_gates_of_a_policy_are_measured_on_a_dataset(cli: Cli) -> None:
    rows = [(x / 10, "Ulm" if x % 7 == 0 else "Bonn") for x in range(-60, 60)]
    truth = ["yes" if x > 0 or town == "Ulm" else "no" for x, town in rows]
    lines = [f"{x},{town},{answer}" for (x, town), answer in zip(rows, truth, strict=True)]
    Path("people.csv").write_text("x,town,bought\n" + "\n".join(lines) + "\n")
    assert cli("dataset", "import", "people", "people.csv").code == 0
    columns_folder(Path("churn"))
    cli("model", "import", "churn", "churn")
    policy = (
        '{"measured": {"max_p99_ms": 5000, "latency_requests": 20}, "holdout": "dataset:people", "target": "bought"}'
    )
    assert cli("model", "define-policy", "measured", policy).code == 0
    assert cli("model", "protect", "churn", "champion", "--gates", "measured").code == 0
    report = cli("model", "evaluate", "churn", "1", "--json")
    assert report.code == 0, report.err
    assert (report.json["dataset"], report.json["under"]) == ("dataset:people@1", "gate_policy:measured@1")
    assert cli("model", "promote", "churn", "1").code == 0
    columns_folder(Path("worse"), cut=3.0)
    cli("model", "import", "churn", "worse")
    refused = cli("model", "promote", "churn", "2")
    assert (refused.code, "better_than_champion" in refused.err) == (4, True)
