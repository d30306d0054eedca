"""``mainspring import`` and ``mainspring export``: runs and models come from other trackers, and go back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options

if TYPE_CHECKING:
    from mainspring.importers.model import Report, Source

_FOLDER = click.Path(path_type=Path)
_EXPERIMENT = click.option(
    "--experiment", default=None, metavar="NAME", help="The experiment of the runs; default: as it is called there."
)


@click.group("import")
def bring() -> None:
    """Bring runs and models of other trackers here, under their own ids; may be broken off and repeated."""


@bring.command()
@click.argument("place")
@click.option(
    "--experiment", "experiments", multiple=True, metavar="NAME", help="Only this experiment; may be repeated."
)
@click.option("--no-models", is_flag=True, help="Leave registered models where they are.")
@common_options
def mlflow(target: Target, as_json: bool, place: str, experiments: tuple[str, ...], no_models: bool) -> None:
    """Bring what an MLflow store holds: PLACE is the URL of a server, a folder mlruns, or a database mlflow.db.

    Experiments, runs with their histories and artifacts, and registered models with versions, stages and aliases.
    """
    from mainspring.importers.mlflow import MlflowRuns
    from mainspring.importers.writing import Importer

    source = MlflowRuns(place, experiments)
    try:
        with target.session() as session:
            importer = Importer(session, None if as_json else click.echo)
            reports = [importer.bring(source)]
            if not no_models:
                reports.append(importer.bring_models(source.name, source.models()))
    finally:
        source.close()
    _show(reports, as_json)


@bring.command()
@click.argument("folder", type=_FOLDER)
@_EXPERIMENT
@common_options
def wandb(target: Target, as_json: bool, folder: Path, experiment: str | None) -> None:
    """Bring the runs that Weights & Biases left in a folder: synced or offline, finished or killed."""
    from mainspring.importers.wandb import WandbRuns

    _bring(target, as_json, WandbRuns(folder, experiment))


@bring.command()
@click.argument("folder", type=_FOLDER)
@_EXPERIMENT
@common_options
def tensorboard(target: Target, as_json: bool, folder: Path, experiment: str | None) -> None:
    """Bring the scalars of TensorBoard's event files: each folder that holds some is a run."""
    from mainspring.importers.tensorboard import TensorBoard

    _bring(target, as_json, TensorBoard(folder, experiment))


@bring.command()
@click.argument("folder", type=_FOLDER)
@_EXPERIMENT
@common_options
def dvclive(target: Target, as_json: bool, folder: Path, experiment: str | None) -> None:
    """Bring what DVCLive wrote: each of its folders is a run."""
    from mainspring.importers.dvclive import DvcLive

    _bring(target, as_json, DvcLive(folder, experiment))


@click.group("export")
def take() -> None:
    """Take runs to other trackers; may be broken off and repeated."""


@take.command("mlflow")
@click.argument("place")
@click.option(
    "--experiment", "experiments", multiple=True, metavar="NAME", help="Only this experiment; may be repeated."
)
@common_options
def to_mlflow(target: Target, as_json: bool, place: str, experiments: tuple[str, ...]) -> None:
    """Take experiments and runs, with their histories and artifacts, to an MLflow server, folder or database."""
    from mainspring.importers.exporting import MlflowExport

    with target.session() as session:
        report = MlflowExport(session, place, None if as_json else click.echo).take(experiments)
    _show([report], as_json)


def _bring(target: Target, as_json: bool, source: Source) -> None:
    from mainspring.importers.writing import Importer

    with target.session() as session:
        report = Importer(session, None if as_json else click.echo).bring(source)
    _show([report], as_json)


def _show(reports: list[Report], as_json: bool) -> None:
    if as_json:
        show(reports[0] if len(reports) == 1 else reports, as_json=True)
        return
    for report in reports:
        told: dict[str, Any] = {
            "runs": report.runs,
            "unchanged": report.unchanged,
            "points": report.points,
            "files": report.files,
            "models": report.models,
            "versions": report.versions,
        }
        click.echo(f"{report.source}: " + ", ".join(f"{count} {what}" for what, count in told.items() if count))
        for problem in report.problems:
            click.echo(f"  not as it was: {problem.what}: {problem.why}")
