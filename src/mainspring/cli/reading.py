"""How a file of rows is to be read, said by flags: the same ones for every command that takes such a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how a CSV file is to be read; the function gets ``options``, None without any."""

    @click.option("--encoding", default=None, help="Of a CSV file; guessed when it is left out.")
    @click.option("--delimiter", default=None, help="Of a CSV file; guessed when it is left out.")
    @click.option("--no-header", is_flag=True, help="The first row of a CSV file is data: call the columns column_1...")
    @click.option("--day-first/--month-first", default=None, help="What 03/04/2026 means; guessed when it is left out.")
    @click.option("--skip-bad-rows", is_flag=True, help="Leave broken rows of a CSV file out, and count them.")
    @functools.wraps(function)
    def wrapped(
        encoding: str | None,
        delimiter: str | None,
        no_header: bool,
        day_first: bool | None,
        skip_bad_rows: bool,
        **rest: Any,
    ) -> Any:
        # Not at the top: the help of a command does not need to wait for it.
        from mainspring.datasets.model import ReadOptions

        options = ReadOptions(
            encoding=encoding,
            delimiter=delimiter,
            header=not no_header,
            day_first=day_first,
            on_bad_rows="skip" if skip_bad_rows else "refuse",
        )
        return function(options=None if options == ReadOptions() else options, **rest)

    return wrapped
