"""``mainspring model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.cli.verbs import ServiceGroup, names_given
from mainspring.core.errors import NotFound

if TYPE_CHECKING:
    from mainspring.registry.model import ModelVersion
    from mainspring.registry.signature import Field

model = ServiceGroup(
    "model",
    "mainspring.registry.service:Registry",
    "registry",
    help="Models and their immutable versions: import, aliases, stages, gates.",
    verbs={
        "list_models": "list",
        "get_model": "get",
        "create_model": "create",
        "update_model": "update",
        "list_versions": "versions",
        "get_version": "version",
        "list_reports": "gate-reports",
        "get_report": "gate-report",
        "rename_model": "rename",
        "delete_model": "delete",
        "restore_model": "restore",
        "list_deleted_models": "list-deleted",
        "forget_deleted_model": "forget",
    },
    also={
        "scans": "mainspring.registry.scanning.service:Scans",
        "histories": "mainspring.registry.history.service:Histories",
        "promotions": "mainspring.registry.promotions.service:Promotions",
        "cards": "mainspring.registry.cards.service:Cards",
        "hub": "mainspring.registry.hub.service:HubModels",
        "models": "mainspring.registry.lifecycle.service:ModelLifecycle",
    },
)


@model.command("import")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from", "source", default=None, metavar="hf:ORG/MODEL[@REV]", help="A model of a hub, or a folder of its cache."
)
@click.option("--endpoint", envvar="HF_ENDPOINT", default=None, metavar="URL", help="The hub (or HF_ENDPOINT).")
@click.option("--token", envvar="HF_TOKEN", default=None, help="What the hub knows you by (or HF_TOKEN).")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Take only such files of the hub's model; repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Take no such files of the hub's model; repeatable.")
@click.option(
    "--task", type=click.Choice(["binary", "multiclass", "regression"]), default=None, help="What the file cannot say."
)
@click.option("--classes", default=None, metavar="A,B", help="Names of the classes, in the order of the probabilities.")
@click.option("--trusted", is_flag=True, help="Allow a model that is code to run; only for an origin that you know.")
@common_options
def import_(
    target: Target,
    as_json: bool,
    name: str,
    path: Path | None,
    source: str | None,
    endpoint: str | None,
    token: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    task: str | None,
    classes: str | None,
    trusted: bool,
) -> None:
    """Register PATH, an ONNX file or an MLmodel directory, as the next version of model NAME; or --from a hub.

    From a hub every file is held against the hub's digest, a download that broke off goes on, safetensors are preferred
    to pickles, and licence and card come with it.
    """
    if (path is None) == (source is None):
        raise click.UsageError("give either PATH or --from")
    if source is not None:
        with target.session() as session:
            taken = session.import_hub_model(
                name, source, endpoint=endpoint, token=token, include=include, exclude=exclude
            )
        _tell_taken(taken, as_json)
        return
    assert path is not None
    given = names_given(classes)
    with target.session() as session:
        version = session.import_model(
            name, path, task=task, classes=None if given is None else _as_labels(given), trusted=trusted
        ).servable()
    if as_json:
        show({"ref": version.ref, **msgspec.to_builtins(version)}, as_json=True)
        return
    click.echo(
        f"{version.ref}  {version.engine}, {version.size_bytes:,} bytes, task {version.info.task or 'not known'}"
    )
    click.echo(f"takes: {_told(version.info.signature.inputs)}")
    click.echo(f"gives: {_told(version.info.signature.outputs)}")
    click.echo(f"next: mainspring deploy {name} {version.ref}")


def _tell_taken(version: ModelVersion, as_json: bool) -> None:
    if as_json:
        show({"ref": version.ref, **msgspec.to_builtins(version)}, as_json=True)
        return
    click.echo(f"{version.ref}  {version.size_bytes:,} bytes from {version.source}")
    click.echo(f"licence: {version.tags.get('license', 'not said')}")
    if version.unservable:
        click.echo(f"a record, not served from here: {version.unservable}")
    click.echo(f"next: mainspring model card {version.name}@{version.version}")


@model.command("scan")
@click.argument("what")
@common_options
def scan(target: Target, as_json: bool, what: str) -> None:
    """Show what the pickles in WHAT would do when they are loaded, without loading them; exit code 4 for dangers.

    WHAT is a version such as churn@7 (its report is shown, or made when there is none), or a file or folder here, of
    which nothing is kept.
    """
    from mainspring.cli.scans import tell_scan

    path = Path(what)
    if path.exists():
        from mainspring.registry.scanning.files import scan_path

        report = scan_path(path)
    else:
        with target.session() as session:
            version = session.registry.resolve(what)
            try:
                report = session.scans.get_scan(version.name, version.version).report
            except NotFound:
                report = session.scans.scan_version(version.name, version.version).report
    tell_scan(report, as_json)
    if report.dangers:
        raise click.exceptions.Exit(4)


@model.command("card")
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--make", is_flag=True, help="Write it from what is known; what people wrote stays.")
@click.option("--edit", type=click.Path(path_type=Path), default=None, metavar="FILE", help="Take FILE as the card.")
@click.option("--revision", type=int, default=None, metavar="N", help="Show an earlier one.")
@common_options
def card(target: Target, as_json: bool, ref: str, make: bool, edit: Path | None, revision: int | None) -> None:
    """Show the card of a version such as churn@7, make it or edit it; every revision is kept."""
    if sum((make, edit is not None, revision is not None)) > 1:
        raise click.UsageError("--make, --edit and --revision exclude each other")
    with target.session() as session:
        found = session.registry.resolve(ref)
        place = found.name, found.version
        if edit is not None:
            result = session.cards.set_card(*place, edit.read_text(encoding="utf-8"))
        else:
            result = session.cards.make_card(*place) if make else session.cards.get_card(*place, revision)
    if as_json:
        show(result, as_json=True)
        return
    click.echo(result.text)


@model.command("history")
@click.argument("name")
@click.option("--at", default=None, metavar="TIME", help="Show how it stood then: 2026-11-21 or 2026-11-21T10:00, UTC.")
@click.option("--limit", default=100, show_default=True, help="How many changes at most.")
@common_options
def history(target: Target, as_json: bool, name: str, at: str | None, limit: int) -> None:
    """Show what happened to model NAME, newest first; or, with --at, which versions it was in use with then."""
    from mainspring.cli.histories import moment_of, tell_changes, tell_state

    moment = None if at is None else moment_of(at)
    with target.session() as session:
        if moment is not None:
            tell_state(session.histories.state(name, moment), as_json)
        else:
            tell_changes(session.histories.changes(name, limit=limit), as_json)


def _as_labels(names: list[str]) -> list[str | int]:
    # A graph that answers class numbers knows no others than whole ones.
    return [int(name) for name in names] if all(name.lstrip("-").isdigit() for name in names) else [*names]


def _told(fields: list[Field]) -> str:
    return ", ".join(f"{f.name}: {f.type}{'' if f.shape is None else f' {f.shape}'}" for f in fields)
