"""A card written from what is known of a version; what only people know is named as missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mainspring.registry.cards.front_matter import facts_of, split
from mainspring.registry.cards.model import FileEntry, RunFacts
from mainspring.registry.gate_model import GateReport
from mainspring.registry.model import Model, ModelVersion
from mainspring.registry.scanning.model import VersionScan

MISSING = "_To be written: "
"""How a part begins that only people can write."""

_ASKED = {
    "Intended use": "who should use this model, and for which decisions",
    "Limits and risks": "where it must not be used, and what is known to go wrong",
    "Ethics": "whom its answers affect, and what was done for them",
}
_MAX_ROWS = 200


def write_card(
    model: Model,
    version: ModelVersion,
    files: Sequence[FileEntry],
    run: RunFacts | None,
    scan: VersionScan | None,
    report: GateReport | None,
) -> str:
    """Give the card of a version; what people wrote in the one that it has stays, also in its front matter."""
    front, body = split(version.card)
    said = _front(model, version, run) | {key: value for key, value in front.items() if value not in (None, "")}
    head = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    written = _sections(body)
    parts = [f"---\n{head}---\n", f"# {version.name}, version {version.version}\n"]
    introduction = written.pop("", "") or model.description or f"{MISSING}what it does, in a sentence._"
    parts.append(f"{introduction}\n")
    for title, what in _ASKED.items():
        parts.append(f"## {title}\n\n{written.pop(title, '') or f'{MISSING}{what}._'}\n")
    told = {
        "Data": "\n".join(_data(version, run)),
        "Training": "\n".join(_training(run)),
        "Performance": "\n".join(_performance(version, run, report)),
        "Inputs and outputs": "\n".join(_signature(version)),
        "Environment": "\n".join(_environment(run)),
        "Files": "\n".join(_files(version, files, scan)),
    }
    for title, text in told.items():
        written.pop(title, None)
        parts.append(f"## {title}\n\n{text}\n")
    parts += [f"## {title}\n\n{text}\n" for title, text in written.items()]
    return "\n".join(parts)


def missing_parts(card: str) -> list[str]:
    """Name the parts of a card that are still to be written."""
    return [title or "introduction" for title, text in _sections(split(card)[1]).items() if text.startswith(MISSING)]


def _front(model: Model, version: ModelVersion, run: RunFacts | None) -> dict[str, Any]:
    tags = {**model.tags, **version.tags}
    facts = facts_of(version.card)
    said: dict[str, Any] = {
        "model": version.name,
        "version": version.version,
        "created": version.created.isoformat(),
        "owner": tags.get("owner") or facts.get("owner"),
        "license": tags.get("license") or tags.get("licence") or facts.get("license"),
        "origin": tags.get("origin") or version.source,
        "task": None if version.info is None else version.info.task,
        "engine": version.engine,
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "run": version.run,
        "commit": None if run is None else run.commit,
        "datasets": ([version.dataset] if version.dataset else []) + ([] if run is None else run.datasets),
        "metrics": {name: float(value) for name, value in _metrics(version, run).items()},
    }
    return {key: value for key, value in said.items() if value not in (None, "", [], {})}


def _metrics(version: ModelVersion, run: RunFacts | None) -> Mapping[str, float]:
    return {**({} if run is None else run.metrics), **version.metrics}


def _data(version: ModelVersion, run: RunFacts | None) -> Iterator[str]:
    named = ([version.dataset] if version.dataset else []) + ([] if run is None else run.datasets)
    yield from (f"- {dataset}" for dataset in dict.fromkeys(named))
    info = version.info
    if info is not None and info.rows is not None:
        target = f", to predict `{info.target}`" if info.target else ""
        yield f"- learned from {info.rows} rows{target}"
    if not named and (info is None or info.rows is None):
        yield f"{MISSING}which data it was trained on._"


def _training(run: RunFacts | None) -> Iterator[str]:
    if run is None:
        yield f"{MISSING}how it was trained; no run of it is known._"
        return
    yield f"{run.ref} ({run.name}) of the experiment {run.experiment}" + (f", by {run.user}" if run.user else "")
    if run.commit:
        yield f"\nCode: commit `{run.commit}`{' with uncommitted changes' if run.dirty else ''}"
    if run.params:
        yield "\n| parameter | value |\n|---|---|"
        yield from (f"| {_cell(name)} | {_cell(value)} |" for name, value in sorted(run.params.items())[:_MAX_ROWS])


def _performance(version: ModelVersion, run: RunFacts | None, report: GateReport | None) -> Iterator[str]:
    metrics = _metrics(version, run)
    if not metrics and report is None:
        yield f"{MISSING}how good it is, and on which rows that was measured._"
        return
    if metrics:
        yield "| metric | value |\n|---|---|"
        yield from (f"| {_cell(name)} | {value:.6g} |" for name, value in sorted(metrics.items())[:_MAX_ROWS])
    if report is not None:
        outcome = "passed" if report.passed else "failed"
        yield f"\nThe gates were measured on {report.rows} rows of {report.dataset} and {outcome} ({report.ref}):\n"
        yield from (f"- {'passed' if c.passed else 'failed'}: {c.name}: {c.detail}" for c in report.checks)


def _signature(version: ModelVersion) -> Iterator[str]:
    if version.info is None:
        yield f"{MISSING}what it takes and gives; {version.unservable or 'its files are not held here'}._"
        return
    yield "| | name | type | may be missing |\n|---|---|---|---|"
    for what, fields in (("in", version.info.signature.inputs), ("out", version.info.signature.outputs)):
        for field in fields[:_MAX_ROWS]:
            shape = "" if field.shape is None else f" {field.shape}"
            yield f"| {what} | {_cell(field.name)} | {field.type}{shape} | {'yes' if field.nullable else 'no'} |"


def _environment(run: RunFacts | None) -> Iterator[str]:
    if run is None or run.python is None:
        yield "Not recorded."
        return
    yield f"Python {run.python} on {run.platform}"
    if run.packages:
        yield f"\n{', '.join(run.packages[:_MAX_ROWS])}"


def _files(version: ModelVersion, files: Sequence[FileEntry], scan: VersionScan | None) -> Iterator[str]:
    if not files:
        yield f"Not held here; they are at {version.location or 'a place that is not known'}."
        return
    if scan is not None:
        yield f"Scanned {scan.at:%Y-%m-%d}: {scan.verdict}, {len(scan.report.pickles)} pickles.\n"
    yield "| file | bytes | digest |\n|---|---|---|"
    yield from (f"| {_cell(file.path)} | {file.size} | `{file.digest}` |" for file in files[:_MAX_ROWS])
    if len(files) > _MAX_ROWS:
        yield f"\nand {len(files) - _MAX_ROWS} more: `mainspring model list-files {version.name} {version.version}`"


def _sections(body: str) -> dict[str, str]:
    found, title, lines = {"": ""}, "", [""]
    fenced = False
    for line in body.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            found[title] = "\n".join(lines).strip()
            title, lines = line.removeprefix("## ").strip(), []
        elif not (line.startswith("# ") and not title and not fenced):
            lines.append(line)
    found[title] = "\n".join(lines).strip()
    return found


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())[:200]
