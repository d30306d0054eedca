"""``mainspring dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli.output import show
from mainspring.cli.reading import reading_options
from mainspring.cli.target import Target, common_options
from mainspring.cli.verbs import ServiceGroup, names_given

if TYPE_CHECKING:
    from mainspring.datasets.model import DatasetVersion, ReadOptions

_SHOWN = 12

dataset = ServiceGroup(
    "dataset",
    "mainspring.datasets.service:Datasets",
    "datasets",
    help="Versioned tables: import, check, read and compare them.",
)


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import. ``report`` says how the rows met ``expectations``.

    The first version has no report: its expectations were suggested from its rows, for the versions to come.
    """

    ref: str
    rows: int
    columns: dict[str, str]
    skipped_rows: int
    skipped_lines: list[int]
    warnings: list[str]
    report: str | None
    expectations: list[Any]


@dataset.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", default=None, metavar="A,B", help="Columns that tell the rows apart.")
@click.option("--time", default=None, metavar="COLUMN", help="Column with the time of each row.")
@click.option("--mode", type=click.Choice(["replace", "append"]), default="replace", show_default=True)
@click.option("--evolve", is_flag=True, help="Allow other columns than the latest version has.")
@click.option("--no-check", is_flag=True, help="Do not hold the rows against the expectations.")
@reading_options
@common_options
def import_(
    target: Target,
    as_json: bool,
    name: str,
    file: Path,
    key: str | None,
    time: str | None,
    mode: str,
    evolve: bool,
    no_check: bool,
    options: ReadOptions | None,
) -> None:
    """Make FILE (CSV, Parquet or Arrow) the next version of dataset NAME.

    The same content again gives the version that has it. A file that fails the expectations of the dataset is kept as
    a quarantined version, and refused with exit code 5.
    """
    with target.session() as session:
        version = session.import_dataset(
            name,
            file,
            key=names_given(key),
            time=time,
            mode=mode,
            evolve=evolve,
            check=False if no_check else None,
            options=options,
        )
    _tell(version, as_json)


def _tell(version: DatasetVersion, as_json: bool) -> None:
    imported = Imported(
        ref=version.ref,
        rows=version.rows,
        columns=version.types,
        skipped_rows=version.imported.bad_rows,
        skipped_lines=version.imported.bad_lines,
        warnings=version.imported.warnings,
        report=version.report,
        expectations=version.expectations,
    )
    if as_json:
        show(imported, as_json=True)
        return
    click.echo(f"{imported.ref}  {imported.rows:,} rows, {len(imported.columns)} columns")
    _some([f"{column}: {kind}" for column, kind in imported.columns.items()], "columns")
    for warning in imported.warnings:
        click.echo(f"warning: {' '.join(warning.split())}")
    if imported.skipped_rows:
        click.echo(f"left out {imported.skipped_rows:,} broken rows, at lines {imported.skipped_lines}")
    if imported.report:
        click.echo(f"passed {len(imported.expectations)} expectations: {imported.report}")
    elif imported.expectations:
        _some([_told(one) for one in imported.expectations], "suggested from these rows, and expected of the next")
        click.echo(f"change them with `mainspring dataset set-expectations {version.dataset} JSON`")


def _some(lines: list[str], what: str) -> None:
    click.echo(f"{what}:")
    for line in lines[:_SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > _SHOWN:
        click.echo(f"  ... and {len(lines) - _SHOWN} more; --json gives all")


def _told(expectation: Any) -> str:
    fields = {name: value for name, value in msgspec.to_builtins(expectation).items() if name != "blocks"}
    check = fields.pop("check")
    return f"{check}: " + ", ".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in fields.items())
