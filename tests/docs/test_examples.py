"""The examples in README and docs do what they say."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import click
import polars as pl
import pytest

from mainspring.cli.main import cli, run
from tests.docs.examples import PAGES, ROOT, commands, fenced, forms
from tests.registry.graphs import columns_graph

# They run until somebody stops them, or for minutes: that their options exist is checked below.
LONG = {"demo", "up", "loop"}
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples speak of."""
    for name in [name for name in os.environ if name.startswith("MAINSPRING_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    trips = pl.DataFrame({"trip_id": [1, 2, 3], "requested_at": ["2024-01-01", "2024-01-02", "2024-01-03"]})
    trips = trips.with_columns(pl.Series("cancelled", ["no", "yes", "no"]))
    trips.write_parquet("trips.parquet")
    trips.write_csv("trips.csv")
    Path("broken.csv").write_text("a,b\n1,2\n3\n")
    for number, name in enumerate(("churn.onnx", "churn-2.onnx")):
        Path(name).write_bytes(columns_graph(cut=float(number)))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
@pytest.mark.usefixtures("prepared")
def test_the_blocks_of_a_page_run_in_their_order(page: Path) -> None:
    for block in fenced(page):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, str(page), "exec"), {"__name__": "example"})
        if block.language == "sh":
            for words in commands(block.text):
                assert set(words[:1]) & LONG or run(words) == 0, f"mainspring {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    ran = [words for block in fenced(page) if block.language == "sh" for words in commands(block.text)]
    for words in (*ran, *forms(page)):
        _check(words, f"{page.name}: mainspring {' '.join(words)}")


def _check(words: list[str], shown: str) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="mainspring")
    rest = [word for word in words if word != "..."]
    while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        assert found is not None, shown
        command = found
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word for word in rest if re.match(r"--?[a-z]", word)}
    assert given <= options | {"--help", "-h", "--version"}, f"{shown}: no {sorted(given - options)}"


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        _check(["deploy", "--nonsense"], "deploy --nonsense")
    with pytest.raises(AssertionError):
        _check(["nonsense"], "nonsense")


def test_the_first_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^ +make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_a_page_links_to_are_there(page: Path) -> None:
    written = {"reference"}  # These pages are made from the code.
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target and target.partition("/")[0] not in written:
            assert (page.parent / target).exists(), target
