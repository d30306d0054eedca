"""``mainspring dataset import`` on good files and on odd ones."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import Cli

GOOD = "id,town,at\n1,Ulm,2024-01-01\n2,Bonn,2024-01-02\n"


def _write(content: str | bytes, name: str = "trips.csv") -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def test_an_import_tells_ref_rows_columns_and_what_it_expects_of_the_next(cli: Cli) -> None:
    done = cli("dataset", "import", "trips", _write(GOOD), "--key", "id", "--time", "at", "--json")
    assert done.code == 0, done.err
    assert done.json["ref"] == "dataset:trips@1"
    assert done.json["rows"] == 2
    assert done.json["columns"] == {"id": "int64", "town": "string", "at": "date"}
    assert {"check": "unique_key", "columns": ["id"], "blocks": True} in done.json["expectations"]
    version = cli("dataset", "version", "trips", "1", "--json").json
    assert (version["key"], version["time_column"]) == (["id"], "at")


def test_people_are_told_the_same_in_words(cli: Cli) -> None:
    told = cli("dataset", "import", "trips", _write(GOOD)).out
    assert told.startswith("dataset:trips@1  2 rows, 3 columns\n")
    assert "town: string" in told
    assert "mainspring dataset set-expectations trips" in told


def test_the_same_file_again_is_the_same_version(cli: Cli) -> None:
    first = cli("dataset", "import", "trips", _write(GOOD), "--json").json["ref"]
    assert cli("dataset", "import", "trips", "trips.csv", "--json").json["ref"] == first


def test_rows_can_be_appended(cli: Cli) -> None:
    cli("dataset", "import", "trips", _write(GOOD))
    more = _write("id,town,at\n3,Ulm,2024-01-03\n", "more.csv")
    assert cli("dataset", "import", "trips", more, "--mode", "append", "--json").json["rows"] == 3


def test_a_file_that_fails_the_expectations_is_refused_with_its_rows(cli: Cli) -> None:
    cli("dataset", "import", "trips", _write(GOOD), "--key", "id")
    double = _write("id,town,at\n3,Ulm,2024-01-01\n3,Bonn,2024-01-02\n", "double.csv")
    done = cli("dataset", "import", "trips", double)
    assert done.code == 5
    assert "quarantined" in done.err
    assert cli("dataset", "latest", "trips", "--json").json["version"] == 1
    assert cli("dataset", "import", "trips", double, "--no-check").code == 0


def test_other_columns_need_evolve(cli: Cli) -> None:
    cli("dataset", "import", "trips", _write(GOOD))
    wider = _write("id,town,at,price\n1,Ulm,2024-01-01,3.5\n", "wider.csv")
    assert cli("dataset", "import", "trips", wider, "--no-check").code == 5
    assert cli("dataset", "import", "trips", wider, "--no-check", "--evolve").code == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n1\n", "line 3"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
    ],
)
def test_a_broken_file_is_refused_on_one_line(cli: Cli, content: str, says: str) -> None:
    done = cli("dataset", "import", "odd", _write(content))
    assert done.code == 5
    assert says in done.err
    assert done.err.count("\n") == 1
    assert cli("dataset", "list", "--json").json == []


def test_broken_rows_can_be_left_out_and_are_counted(cli: Cli) -> None:
    done = cli("dataset", "import", "odd", _write("a,b\n1,2\n1\n"), "--skip-bad-rows", "--json").json
    assert (done["rows"], done["skipped_rows"], done["skipped_lines"]) == (1, 1, [3])


def test_another_encoding_is_guessed_with_a_warning_and_taken_when_it_is_said(cli: Cli) -> None:
    _write("a,b\n1,café\n".encode("latin-1"))
    assert "not UTF-8" in cli("dataset", "import", "guessed", "trips.csv").out
    said = cli("dataset", "import", "said", "trips.csv", "--encoding", "latin-1", "--json").json
    assert said["warnings"] == []
    assert cli("dataset", "preview", "said", "1", "--json").json["rows"] == [[1, "café"]]


def test_the_delimiter_can_be_said(cli: Cli) -> None:
    done = cli("dataset", "import", "piped", _write("a|b\n1|2\n"), "--delimiter", "|", "--json")
    assert list(done.json["columns"]) == ["a", "b"]


def test_a_parquet_file_is_taken(cli: Cli) -> None:
    pl.DataFrame({"a": [1, 2]}).write_parquet("rows.parquet")
    assert cli("dataset", "import", "rows", "rows.parquet", "--json").json["rows"] == 2


def test_lists_and_json_are_read_as_arguments(cli: Cli) -> None:
    cli("dataset", "import", "trips", _write(GOOD), "--key", "id")
    cli("dataset", "import", "trips", _write("id,town,at\n1,Ulm,2024-01-01\n2,Köln,2024-01-02\n"))
    by_key = cli("dataset", "diff", "trips", "1", "2", "--key", "id,at", "--json")
    assert by_key.code == 0, by_key.err
    wanted = '[{"check": "row_count", "low": 1}]'
    assert cli("dataset", "set-expectations", "trips", wanted).code == 0
    assert cli("dataset", "expectations", "trips", "--json").json[0]["low"] == 1


@pytest.mark.parametrize(
    ("content", "flags"),
    [
        ("a,b\n1,2\n1\n", ["--skip-bad-rows"]),
        ("1,2\n3,4\n", ["--no-header"]),
        ("day,b\n01/02/2024,1\n03/04/2024,2\n", ["--day-first"]),
        ("a,b\n東京,1\n大阪,2\n".encode("shift_jis"), ["--encoding", "shift_jis"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_an_error_or_a_warning_says_to_do_can_be_done_with_the_flag_it_names(
    cli: Cli, content: str | bytes, flags: list[str]
) -> None:
    told = cli("dataset", "import", "odd", _write(content))
    assert flags[0].lstrip("-") in told.out + told.err
    done = cli("dataset", "import", "told", "trips.csv", *flags, "--json")
    assert done.code == 0, done.err
    assert not [warning for warning in done.json["warnings"] if flags[0] in warning]


def test_refused_columns_and_checks_name_the_flags_that_let_them_pass(cli: Cli) -> None:
    cli("dataset", "import", "trips", _write(GOOD), "--key", "id")
    assert "--evolve" in cli("dataset", "import", "trips", _write("id,place,at\n3,Ulm,2024-01-01\n", "other.csv")).err
    twice = _write("id,town,at\n3,Ulm,2024-01-01\n3,Bonn,2024-01-02\n", "double.csv")
    assert "--no-check" in cli("dataset", "import", "trips", twice).err
