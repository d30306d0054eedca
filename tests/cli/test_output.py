"""How results are shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mainspring.cli.output import EXIT_CODES, exit_code, show, show_error
from mainspring.core.errors import BY_CODE, AlreadyExists, Corrupt, MainspringError, QualityFailed


@pytest.mark.parametrize("value", [None, 1, "text", [], [{"a": 1}], {"a": {"b": [1, 2]}}, [1.5, None]])
def test_json_is_one_line_that_reads_back(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show(value, as_json=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert msgspec.json.decode(out) == value


def test_rows_become_a_table_without_empty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": "a", "rows": 1, "note": None}, {"name": "bb", "rows": 20, "note": None}], as_json=False)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "name  rows",
        "a        1",
        "bb      20",
    ]


def test_long_cells_are_not_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"ref": f"model:{'x' * 120}@1", "note": "y" * 120}], as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_nothing_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    show([], as_json=False)
    assert capsys.readouterr().out == "(nothing)\n"


def test_markup_in_data_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": "[red]a[/red]"}], as_json=False)
    assert "[red]a[/red]" in capsys.readouterr().out


def test_an_error_is_one_line_whatever_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(Corrupt("first\n  second"), as_json=False)
    assert capsys.readouterr().err == "error: first second\n"


def test_facts_of_any_kind_become_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(Corrupt("broken", kind=Corrupt), as_json=True)
    assert msgspec.json.decode(capsys.readouterr().err)["error"]["facts"]["kind"]


def test_every_kind_of_error_has_an_exit_code_that_is_not_success() -> None:
    assert all(exit_code(kind()) > 0 for kind in BY_CODE.values())
    assert exit_code(MainspringError()) == 1
    assert all(exit_code(kind()) == code for kind, code in EXIT_CODES.items())


def test_a_kind_without_a_code_of_its_own_has_that_of_its_family() -> None:
    assert (exit_code(AlreadyExists()), exit_code(QualityFailed()), exit_code(Corrupt())) == (4, 5, 1)
