"""Commands derived from operations."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from mainspring.cli.verbs import derive, describe_type, names_given
from mainspring.core.operations import operation, operations
from tests.cli.conftest import Cli


class Shelf:
    """A service with an argument of each kind."""

    @operation("POST /shelves/{name}")
    def put(
        self,
        name: str,
        count: int,
        tags: dict[str, str] | None = None,
        words: list[str] | None = None,
        sorted_by: str = "name",
        strict: bool = False,
    ) -> list[str]:
        """Put *count* things on a shelf."""
        return [name]


@pytest.fixture
def put() -> click.Command:
    (found,) = operations(Shelf)
    return derive(found, "put", "shelf")


def test_required_arguments_are_positional_and_the_others_options(put: click.Command) -> None:
    arguments = [p.name for p in put.params if isinstance(p, click.Argument)]
    options = {option for p in put.params if isinstance(p, click.Option) for option in (*p.opts, *p.secondary_opts)}
    assert arguments == ["name", "count"]
    assert {"--tags", "--words", "--sorted-by", "--strict", "--no-strict", "--home", "--url", "--json"} == options


def test_the_help_is_the_operation_s_own(put: click.Command) -> None:
    told = put.get_help(click.Context(put, info_name="put"))
    assert "Put COUNT things on a shelf." in told
    assert "default 'name'" in told


def test_types_are_named_without_their_modules() -> None:
    assert describe_type(list[Path] | None) == "list[Path] | None"


@pytest.mark.parametrize(("text", "names"), [(None, None), ("", []), ("a", ["a"]), ("a, b,", ["a", "b"])])
def test_names_are_separated_by_commas(text: str | None, names: list[str] | None) -> None:
    assert names_given(text) == names


def test_options_are_read_as_their_types(cli: Cli) -> None:
    made = cli("model", "create", "churn", "--tags", '{"team": "blue"}', "--json")
    assert made.json["tags"] == {"team": "blue"}
    assert cli("model", "list", "--limit", "5", "--json").json[0]["name"] == "churn"
    assert "`int`" in cli("model", "list", "--limit", "five").err
    assert cli("model", "set-stage", "churn", "1", "nowhere").code == 2
    assert cli("model", "create", "churn", "--tags", "blue").code == 2


def test_a_name_is_text_even_when_it_looks_like_a_number(cli: Cli) -> None:
    assert cli("model", "create", "2024", "--json").json["name"] == "2024"


def test_what_is_written_by_hand_stands_beside_what_is_derived(cli: Cli) -> None:
    shown = cli("dataset", "--help").out
    assert "import" in shown
    assert "profile" in shown


def test_loop_run_tells_what_is_wrong_with_its_table_before_it_starts_anything(cli: Cli, folder: Path) -> None:
    Path("rows.csv").write_text("a,b\n1,2\n")
    for arguments, says in (
        (["--data", "nowhere.csv", "--target", "a"], "nowhere.csv"),
        (["--data", "rows.csv", "--target", "c"], "c"),
        (["--data", "rows.csv", "--target", "a"], "rows"),
    ):
        done = cli("loop", "run", *arguments)
        assert done.code in (2, 5), done.err
        assert says in done.err
        assert done.err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]
