"""The command line as a whole: what it costs, how it ends, what it says when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

import mainspring
from mainspring.cli.main import COMMANDS, cli
from tests.cli.conftest import Cli, command

HELP_WITHIN_S = 0.300
IMPORT_WITHIN_S = 0.100


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, groups left out."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        found = cli.get_command(context, name)
        assert found is not None
        if not isinstance(found, click.Group):
            yield name, found
            continue
        for verb in found.list_commands(context):
            inner = found.get_command(context, verb)
            assert inner is not None
            yield f"{name} {verb}", inner


def cpu_seconds(arguments: list[str]) -> float:
    """The least processor time of three runs, user and system."""
    taken = []
    for _ in range(3):
        child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        taken.append(usage.ru_utime + usage.ru_stime)
    return min(taken)


def test_help_is_quick() -> None:
    assert cpu_seconds(["-m", "mainspring", "--help"]) <= HELP_WITHIN_S


def test_importing_the_package_is_quick() -> None:
    assert cpu_seconds(["-c", "import mainspring"]) <= IMPORT_WITHIN_S


def test_every_command_can_answer_in_json() -> None:
    silent = [name for name, found in every_command() if "--json" not in {o for p in found.params for o in p.opts}]
    assert silent == []


def test_no_option_of_a_command_stands_twice() -> None:
    for name, found in every_command():
        options = [option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)]
        assert len(options) == len(set(options)), name


def test_every_command_says_in_a_sentence_what_it_does() -> None:
    assert [name for name, found in every_command() if not found.help] == []


def test_the_short_helps_name_every_command(cli: Cli) -> None:
    shown = cli("--help").out
    assert all(re.search(rf"^  {name} +\S", shown, re.MULTILINE) for name in COMMANDS)


def test_commands_that_messages_advise_exist() -> None:
    known = {name for name, _ in every_command()} | set(COMMANDS)
    advised = re.compile(r"`mainspring ([a-z]+)(?: ([a-z][a-z-]*))?")
    source = Path(mainspring.__file__).parent
    for file in source.rglob("*.py"):
        for noun, verb in advised.findall(file.read_text()):
            assert noun in COMMANDS, f"{file}: mainspring {noun}"
            group = any(name.startswith(f"{noun} ") for name in known)
            assert not (group and verb) or f"{noun} {verb}" in known, f"{file}: mainspring {noun} {verb}"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["depoly"], 2, "No such command 'depoly'"),
        (["deploy", "churn"], 2, "Missing argument 'REF'"),
        (["deploy", "churn", "model:churn@1", "--canari", "0.1"], 2, "--canary"),
        (["deploy", "churn", "model:churn@1", "--canary", "much"], 2, "not a valid float"),
        (["deploy", "churn", "model:churn@1", "--canary", "7"], 2, "between 0 and 1"),
        (["deploy", "churn", "model:churn@1"], 3, "there is no model churn"),
        (["deploy", "churn", "model:churn@@"], 2, "is not a ref"),
        (["deploy", "churn", "dataset:churn@1"], 2, "expected a model"),
        (["deploy", "not a name", "model:churn@1"], 2, "cannot be the name"),
        (["rollback", "churn"], 3, "churn"),
        (["lineage", "nonsense"], 2, "is not a ref"),
        (["lineage", "model:churn@1"], 3, "no event names model:churn@1"),
        (["lineage", "model:churn"], 3, "there is no model churn"),
        (["lineage", "prediction:01J00000000000000000000000"], 3, "no endpoint has logged"),
        (["dataset", "get", "trips"], 3, "there is no dataset 'trips'"),
        (["dataset", "version", "trips", "one"], 2, "version: Expected `int`"),
        (["dataset", "set-expectations", "trips", '[{"check":'], 2, "truncated"),
        (["dataset", "set-expectations", "trips", '[{"check": "nice"}]'], 2, "'nice'"),
        (["dataset", "import", "trips", "nowhere.csv"], 2, "there is no file nowhere.csv"),
        (["dataset", "import", "trips", "."], 2, "there is no file ."),
        (["model", "import", "churn", "nowhere.onnx"], 2, "there is no file or folder nowhere.onnx"),
        (["run", "get", "run:nope"], 3, "nope"),
        (["job", "get", "nope"], 3, "nope"),
        (["status", "--url", "http://127.0.0.1:9"], 6, "no control plane answers"),
        *(
            (["status", "--url", url], 2, "http://HOST:PORT")
            for url in ("here", "http://", "ftp://x", "http://x:99999")
        ),
        (["up", "--port", "70000"], 2, "port"),
        (["up", "--data-port", "-5"], 2, "data_port"),
        (["up", "--workers", "0"], 2, "data_workers"),
        (["down", "--timeout", "soon"], 2, "not a valid float"),
        (["loop", "run"], 2, "Missing option '--data'"),
        (["--url", "http://127.0.0.1:9", "config"], 2, "'config' does not take --url"),
        (["config", "--home"], 2, "requires an argument"),
    ],
)
def test_wrong_input_is_one_line_and_an_exit_code(cli: Cli, arguments: list[str], code: int, says: str) -> None:
    done = cli(*arguments)
    assert done.code == code, done.err
    assert says in done.err
    assert re.fullmatch(r"error: .+\n", done.err)
    assert done.out == ""


@pytest.mark.parametrize("noun", ["loop", "dataset", "model"])
def test_a_noun_without_a_verb_lists_the_verbs(cli: Cli, noun: str) -> None:
    done = cli(noun)
    assert (done.code, done.out) == (2, "")
    assert done.err == cli(noun, "--help").out


@pytest.mark.parametrize("arguments", [["depoly", "--json"], ["dataset", "get", "trips", "--json"]])
def test_errors_are_json_too(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    detail = msgspec.json.decode(done.err)["error"]
    assert {"code", "message", "retryable", "facts"} == set(detail)
    assert done.out == ""


def test_a_home_that_is_a_file_is_unavailable(cli: Cli) -> None:
    Path("home").write_text("")
    for arguments in (["dataset", "list", "--home", "home"], ["--home", "home"], ["up", "--home", "home"]):
        done = cli(*arguments)
        assert (done.code, done.err.count("\n")) == (6, 1), done.err
        assert "--home" in done.err


def test_a_home_that_cannot_be_made_is_unavailable(cli: Cli) -> None:
    done = cli("dataset", "list", "--home", "/proc/mainspring")
    assert (done.code, done.err.count("\n")) == (6, 1), done.err


# What python has to import is imported first: another user may not be allowed to read it.
_AS_A_READER = """
import os, sys
from mainspring.cli.main import run
assert run(["dataset", "list", "--json", "--home", sys.argv[1]]) == 0
if os.geteuid() == 0:
    os.setuid(65534)
sys.exit(run(["dataset", "list", "--home", sys.argv[2]]))
"""


@pytest.mark.parametrize("there", [True, False])
def test_a_home_that_cannot_be_written_is_unavailable(there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        made, closed = Path(name) / "made", Path(name) / "closed"
        closed.mkdir(mode=0o555)
        Path(name).chmod(0o755)
        tried = made if there and os.geteuid() == 0 else closed / "home"
        done = subprocess.run(
            [sys.executable, "-c", _AS_A_READER, str(made), str(tried)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=name,
        )
    assert done.returncode == 6, done.stderr
    assert re.fullmatch(r"error: .*(made|closed).+\n", done.stderr)


def test_a_database_of_a_newer_version_is_refused(cli: Cli) -> None:
    assert cli("dataset", "list").code == 0
    with sqlite3.connect(".mainspring/mainspring.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    done = cli("dataset", "list")
    assert done.code == 1
    assert "upgrade Mainspring" in done.err
    assert done.err.count("\n") == 1


def test_a_file_that_is_no_database_is_told(cli: Cli) -> None:
    Path(".mainspring").mkdir()
    Path(".mainspring/mainspring.db").write_text("nothing of the kind" * 100)
    done = cli("dataset", "list")
    assert done.code == 1
    assert re.fullmatch(r"error: the database .+ is damaged: .+\n", done.err)


def test_the_exit_code_leaves_the_process(process: Cli) -> None:
    assert process("dataset", "get", "trips").code == 3
    assert process("--version").out == f"mainspring, version {mainspring.__version__}\n"


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    child = subprocess.Popen(command("config"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    complaint = child.stderr.read()
    child.stderr.close()
    assert child.wait(60) == 0
    assert complaint == b""


def test_interrupted_is_130(folder: Path) -> None:
    fifo = folder / "settings.toml"
    os.mkfifo(fifo)
    child = subprocess.Popen(
        command("config"), stderr=subprocess.PIPE, cwd=folder, env={**os.environ, "MAINSPRING_CONFIG": str(fifo)}
    )
    # Once it can be opened the command reads from it, and waits for words that never come.
    held = _opened_by_a_reader(fifo)
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate(timeout=60)
    os.close(held)
    assert child.returncode == 130
    assert complaint.strip() == b"interrupted"


def _opened_by_a_reader(fifo: Path) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_options_before_the_command_hold_as_those_behind_it_which_win(cli: Cli, tmp_path: Path) -> None:
    mine = str(tmp_path / "mine")
    assert cli("--home", mine, "--json", "status").json["home"] == mine
    assert cli("--home", str(tmp_path / "other"), "status", "--home", mine, "--json").json["home"] == mine
    assert cli("--home", mine, "--json", "dataset", "list").json == []
    assert Path(mine).is_dir()
