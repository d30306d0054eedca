"""The bodies of MLflow's scoring calls: dataframe_split, dataframe_records, instances, inputs, and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.registry.signature import Field
from mainspring.serving.engine.bodies import why_malformed
from mainspring.serving.engine.checking import Layout, Rows, nested

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Split(msgspec.Struct, frozen=True):
    """A data frame as pandas writes it with the orientation ``split``."""

    data: list[list[Any]]
    columns: list[str | int] | None = None
    index: list[Any] | None = None


class Parameters(msgspec.Struct, frozen=True):
    """The parameters that are understood: who the request is for, and when it happened."""

    unit: str | int | None = None
    event_time: str | int | None = None


class Body(msgspec.Struct, frozen=True):
    """A scoring call; exactly one of the four forms is given."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: dict[str, Any] | list[Any] | None = None
    params: Parameters | None = None


_decode = msgspec.json.Decoder(Body).decode

Table = dict[str, list[Any]] | list[list[Any]]


def read_json(body: bytes) -> tuple[Table, Parameters | None]:
    """Read a JSON body; raises InvalidRequest when it is none of the forms."""
    try:
        given = _decode(body)
    except (msgspec.MsgspecError, RecursionError) as malformed:
        told = why_malformed(malformed, body)
        raise InvalidRequest(f"the body cannot be read: {told}; expected one of {', '.join(FORMS)}") from None
    found = [name for name in FORMS if getattr(given, name) is not None]
    if len(found) != 1:
        raise InvalidRequest(
            f"the body has {' and '.join(found) or 'none'} of {', '.join(FORMS)}; expected exactly one"
        )
    return _table(given), given.params


def _table(given: Body) -> Table:
    if given.dataframe_split is not None:
        return _split(given.dataframe_split)
    if given.dataframe_records is not None:
        return _records(given.dataframe_records)
    rows = given.instances if given.instances is not None else given.inputs
    if isinstance(rows, dict):
        return _named(rows)
    if rows and all(isinstance(row, dict) for row in rows):
        return _records(rows)
    return [row if isinstance(row, list) else [row] for row in rows or []]


def _split(frame: Split) -> Table:
    if frame.columns is None:
        return frame.data
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequest(f"dataframe_split names the columns {', '.join(twice)} twice; expected each once")
    for number, row in enumerate(frame.data):
        if len(row) != len(names):
            raise InvalidRequest(
                f"dataframe_split, row {number} has {len(row)} values; expected {len(names)}, as columns has"
            )
    return {name: [row[at] for row in frame.data] for at, name in enumerate(names)}


def _records(records: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    for number, record in enumerate(records):
        absent = [name for name in names if name not in record]
        if absent:
            raise InvalidRequest(
                f"record {number} has no {', '.join(absent[:20])}, which other records have; "
                "send null where it is not known"
            )
    return {name: [record[name] for record in records] for name in names}


def _named(columns: dict[str, Any]) -> Table:
    return {name: values if isinstance(values, list) else [values] for name, values in columns.items()}


def read_csv(body: bytes, layout: Layout) -> Table:
    """Read CSV with a head line; texts become what the signature of *layout* says, empty ones null.

    Raises InvalidRequest when it is not CSV in UTF-8.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as broken:
        raise InvalidRequest(f"the body is no CSV in UTF-8: {broken}") from None
    lines = [line for line in lines if line]
    if not lines:
        raise InvalidRequest("the CSV body is empty; expected a line of column names and then the rows")
    table = _split(Split(data=lines[1:], columns=list(lines[0])))
    assert isinstance(table, dict)
    fields = {field.name: field for field in layout.fields}
    if layout.matrix:
        return {name: [_cell(text, layout.fields[0]) for text in texts] for name, texts in table.items()}
    return {name: [_cell(text, fields.get(name)) for text in texts] for name, texts in table.items()}


_TRUTHS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "1": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "0": False,
}


def _cell(text: str, field: Field | None) -> Any:
    # What cannot be converted stays a text: the check of the signature then says which cell it was.
    if text == "":
        return None
    if field is None or field.type == "string":
        return text
    if field.type == "boolean":
        return _TRUTHS.get(text.lower(), text)
    if field.type == "datetime" or field.kind == "datetime":
        return int(text) if text.lstrip("-").isdigit() else text
    try:
        return int(text) if field.type in ("long", "integer") and text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def checked(table: Table, layout: Layout) -> Rows:
    """Check a table against the signature; raises InvalidRequest."""
    if isinstance(table, dict):
        if layout.matrix or not layout.tensor:
            return layout.columns(table)
        return layout.tensors([nested(name, values) for name, values in table.items()])
    return layout.matrix_rows(table)
