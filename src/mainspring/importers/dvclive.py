"""DVCLive's folders: each that holds plots of metrics, a summary or parameters is a run."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mainspring.core.errors import NotFound
from mainspring.importers.model import ForeignFile, ForeignRun, Measured, state_of

_SUMMARY, _PARAMS, _PLOTS = "metrics.json", "params.yaml", Path("plots") / "metrics"


class DvcLive:
    """The runs below a folder; what is plotted becomes metrics, everything else artifacts."""

    def __init__(self, folder: Path, experiment: str | None = None) -> None:
        """Read below *folder*; raises NotFound when there is none."""
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}")
        self.name = f"dvclive {folder.absolute()}"
        self._folder = folder.absolute()
        self._experiment = experiment or self._folder.name

    def runs(self) -> Iterator[ForeignRun]:
        """Give a run for each folder that DVCLive wrote; raises NotFound when there is none."""
        marks = [*self._folder.rglob(_SUMMARY), *self._folder.rglob(_PARAMS)]
        folders = {file.parent for file in marks} | {plots.parents[1] for plots in self._folder.rglob(str(_PLOTS))}
        if not folders:
            raise NotFound(f"DVCLive has written nothing below {self._folder}: no {_SUMMARY}, no {_PARAMS}")
        for folder in sorted(folders):
            yield self._run(folder)

    def _run(self, folder: Path) -> ForeignRun:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        changed = [file.stat().st_mtime for file in files]
        place = folder.relative_to(self._folder).as_posix()
        return ForeignRun(
            state=state_of(files),
            id=f"dvc-{hashlib.sha256(str(folder).encode()).hexdigest()[:28]}",
            experiment=self._experiment,
            name=self._folder.name if place == "." else place,
            started=datetime.fromtimestamp(min(changed), UTC),
            ended=datetime.fromtimestamp(max(changed), UTC),
            params=_params(folder / _PARAMS),
            tags={"mainspring.source.dvclive": str(folder)},
            points=lambda: _points(folder),
            files=lambda: (
                ForeignFile(file.relative_to(folder).as_posix(), partial(Path, file))
                for file in files
                if _PLOTS.as_posix() not in file.relative_to(folder).as_posix()
            ),
        )


def _params(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    import yaml

    return {key: str(value) for key, value in flat(yaml.safe_load(file.read_text()) or {})}


def _points(folder: Path) -> Iterator[Measured]:
    plotted = set()
    for file in sorted((folder / _PLOTS).rglob("*.tsv")):
        key = file.relative_to(folder / _PLOTS).with_suffix("").as_posix()
        plotted.add(key)
        yield from _history(file, key)
    summary = folder / _SUMMARY
    if summary.is_file():
        found: dict[str, Any] = json.loads(summary.read_text())
        step, at_us = int(found.pop("step", 0)), round(summary.stat().st_mtime * 1e6)
        for key, value in flat(found, "/"):
            if key not in plotted and isinstance(value, int | float):
                yield Measured(key, float(value), step, at_us)


def _history(file: Path, key: str) -> Iterator[Measured]:
    written_us = round(file.stat().st_mtime * 1e6)
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            at_us = round(float(row["timestamp"]) * 1000) if row.get("timestamp") else written_us
            value = row.get(key.rpartition("/")[2])
            if value:
                yield Measured(key, float(value), int(row.get("step") or 0), at_us)


def flat(values: Mapping[str, Any], by: str = ".", before: str = "") -> Iterator[tuple[str, Any]]:
    """Give what a tree of mappings holds at its ends, under the names on the way, joined *by*."""
    for key, value in values.items():
        name = f"{before}{by}{key}" if before else str(key)
        if isinstance(value, Mapping):
            yield from flat(value, by, name)
        else:
            yield name, value
