"""Texts, pages, tables and figures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from mainspring.client.media.values import Encoded, Medium, library_of
from mainspring.core.errors import InvalidRequest

MAX_ROWS = 100_000


class Text(Medium):
    """A text."""

    def __init__(self, text: str, caption: str | None = None) -> None:
        self._text, self._caption = text, caption

    def encode(self) -> Encoded:
        """Give it as UTF-8."""
        return Encoded("text", ".txt", str(self._text).encode(errors="replace"), self._caption)


class Html(Medium):
    """A page, as a text or a file. It is shown apart from everything else, as it may hold scripts."""

    def __init__(self, html: str | Path, caption: str | None = None) -> None:
        self._html, self._caption = html, caption

    def encode(self) -> Encoded:
        """Give it as UTF-8."""
        try:
            data = self._html.read_bytes() if isinstance(self._html, Path) else self._html.encode(errors="replace")
        except OSError as error:
            raise InvalidRequest(f"{self._html} cannot be read: {error.strerror}") from error
        return Encoded("html", ".html", data, self._caption)


class Table(Medium):
    """Rows with named columns: a frame of pandas, polars or pyarrow, or *rows* and *columns*, or mappings as rows."""

    def __init__(self, rows: Any, columns: Sequence[str] | None = None, caption: str | None = None) -> None:
        self._rows, self._columns, self._caption = rows, columns, caption

    def encode(self) -> Encoded:
        """Give it as the JSON object ``{"columns": [...], "data": [[...], ...]}``, which MLflow's tables have, too."""
        columns, rows = self._read()
        for row in rows:
            if len(row) != len(columns):
                raise InvalidRequest(f"a row of the table has {len(row)} values, and it has {len(columns)} columns")
        if len(rows) > MAX_ROWS:
            raise InvalidRequest(f"the table has {len(rows)} rows, at most {MAX_ROWS} can be shown: log a dataset")
        shown = {"columns": columns, "data": [[_plain(value) for value in row] for row in rows]}
        return Encoded("table", ".json", msgspec.json.encode(shown), self._caption, [len(rows), len(columns)])

    def _read(self) -> tuple[list[str], list[Sequence[Any]]]:
        rows, library = self._rows, library_of(self._rows)
        if library == "pandas":
            return [str(name) for name in rows.columns], rows.astype(object).to_numpy().tolist()
        if library == "polars":
            return list(rows.columns), [list(row) for row in rows.rows()]
        if library == "pyarrow":
            lists = rows.to_pydict()
            return list(lists), list(zip(*lists.values(), strict=True))
        rows = list(rows)
        if rows and all(isinstance(row, dict) for row in rows):
            names = list(self._columns or dict.fromkeys(str(name) for row in rows for name in row))
            return names, [[row.get(name) for name in names] for row in rows]
        if self._columns is None:
            raise InvalidRequest("a table needs the names of its columns: Table(rows, columns=[...])")
        return list(self._columns), rows


class Figure(Medium):
    """A figure of Matplotlib (kept as SVG, so that it stays sharp) or of Plotly (kept so that it can be moved)."""

    def __init__(self, figure: Any, caption: str | None = None) -> None:
        self._figure, self._caption = figure, caption

    def encode(self) -> Encoded:
        """Give it as SVG, or as the JSON of Plotly."""
        figure = self._figure
        if hasattr(figure, "savefig"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg")
            return Encoded("figure", ".svg", buffer.getvalue(), self._caption, facts={"library": "matplotlib"})
        if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_json"):
            data = str(figure.to_json()).encode()
            return Encoded("figure", ".plotly.json", data, self._caption, facts={"library": "plotly"})
        raise InvalidRequest(f"{type(figure).__name__} is no figure of Matplotlib or Plotly")


def _plain(value: Any) -> Any:
    """Give a value as JSON can hold it; NaN, as in MLflow's tables, is null."""
    if hasattr(value, "item") and library_of(value) in ("numpy", "torch"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | timedelta) or not _is_json(value) else value


def _is_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
