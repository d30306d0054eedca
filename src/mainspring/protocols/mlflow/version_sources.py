"""Where the files of a version are said to be: held against the run or model it names, taken in if they are ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.core.refs import Ref
from mainspring.protocols.mlflow import artifacts
from mainspring.protocols.mlflow.calls import Services
from mainspring.protocols.mlflow.registry_entities import IS_PROMPT
from mainspring.registry.model import ModelVersion
from mainspring.storage.objects.digests import hexadecimal
from mainspring.storage.objects.tree import TreeEntry, put_entries, tree_entries
from mainspring.tracking.files.places import Place
from mainspring.tracking.model import KEPT_HERE, Experiment

VERSIONS_TAG = "mlflow.modelVersions"
"""The tag of a logged model with the versions that it became."""

_PLACEHOLDERS = ("dummy-source", "prompt-template")
_VERSION_URI = re.compile(r"(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>.+))")
_PROXY = "api/2.0/mlflow-artifacts/artifacts/"


class TreeOf(Protocol):
    """Gives the files that a URI names, each path with digest and size; None when it names none that are held here."""

    def __call__(self, services: Services, uri: str) -> Mapping[str, tuple[str, int]] | None: ...


class Source(msgspec.Struct, frozen=True):
    """What a version is made of: the URI as it is kept, the tree of files that are held here, and whence they came."""

    uri: str
    tree: str | None = None
    location: str | None = None
    run: str | None = None
    logged: str | None = None


class _Became(msgspec.Struct, frozen=True):
    name: str
    version: int


def is_placeholder(source: str) -> bool:
    """Tell whether a source is one of those that stand for none."""
    return source in _PLACEHOLDERS


def read_source(
    services: Services, source: str, run_id: str | None, model_id: str | None, tree_of: TreeOf = artifacts.tree_of
) -> Source:
    """Read the source of a version; raises InvalidRequest when it names files of another run or model than it says."""
    parsed = urlsplit(source)
    path = parsed.path.lstrip("/")
    if parsed.scheme == "file" and parsed.netloc not in ("", "localhost", "127.0.0.1"):
        raise InvalidRequest(f"Invalid model version source: '{source}' is not a valid remote uri: files have no host.")
    if parsed.scheme in ("", "file"):
        raise InvalidRequest(
            f"Invalid model version source: '{source}'. To use a local path as a model version source is not possible "
            "here, where no path of a machine is read: log the model to a run, and register it from there."
        )
    _check_no_way_out(source, parsed.path)
    if parsed.scheme in ("models", "runs") and parsed.netloc:
        raise InvalidRequest(f"Invalid model version source: '{source}'. Write {parsed.scheme}:/ with one slash.")
    if parsed.scheme == "models" and not path.startswith("m-"):
        return _of_version(services, source, path, run_id, model_id)
    if parsed.scheme == "models" or model_id:
        return _of_logged(services, source, path if parsed.scheme == "models" else None, run_id, model_id, tree_of)
    if parsed.scheme == "runs" and path.partition("/")[0] != run_id:
        raise _not_of(source, "run_id")
    if _address(source) is not None:
        root = _address(services.tracking.get_run(run_id).run.artifact_uri) if run_id else None
        if root is None or not _is_within(_address(source), root):
            raise _not_of(source, "run_id")
    return Source(source, _stored(services, tree_of(services, source)), run=run_id or None)


def note_version(services: Services, logged: str, version: ModelVersion) -> None:
    """Write down with a logged model which version it became."""
    became = _Became(version.name, version.version)

    def with_it(known: str | None) -> str:
        try:
            versions = msgspec.json.decode(known or "[]", type=list[_Became], strict=False)
        except msgspec.MsgspecError:
            versions = []
        # Written as Python's own writer does: clients compare the text.
        return json.dumps(msgspec.to_builtins(versions if became in versions else [*versions, became]))

    services.logged_models.change_tag(logged, VERSIONS_TAG, with_it)


def location_of(experiment: Experiment, model: str) -> str:
    """Give the URI below which the files of a logged model are."""
    return f"{experiment.artifact_uri}/models/{model}/artifacts"


def address_of(services: Services, version: ModelVersion) -> str:
    """Give the URI at which a client finds the files of a version.

    A model that was registered here by another way than MLflow's has no artifacts: then its tree is laid out as such,
    by path and digest. Raises NotFound when its files are not held here.
    """
    elsewhere = version.location is not None and urlsplit(version.location).scheme != "models"
    if version.location is not None and (elsewhere or version.digest is None):
        return version.location
    if version.digest is None:
        raise NotFound(f"{version.ref} has no files", model=version.ref)
    place = Place("model", f"tree-{hexadecimal(version.digest)}")
    files, wanted = services.tracking.files, tree_entries(services.objects, version.digest)
    if {file.path: file.digest for file in files.below(place)} != {entry.path: entry.digest for entry in wanted}:
        files.remove(place)
        for entry in wanted:
            files.put(place, entry.path, entry.digest)
    return f"{KEPT_HERE}registry/models/{place.id}/artifacts"


def _of_version(services: Services, source: str, path: str, run_id: str | None, model_id: str | None) -> Source:
    named = _VERSION_URI.fullmatch(unquote(path))
    if named is None:
        raise InvalidRequest(
            f"Invalid model version source: '{source}'. Expected models:/NAME/VERSION or models:/m-ID."
        )
    model = services.registry.get_model(named["name"])
    if model.tags.get(IS_PROMPT) == "true":
        raise InvalidRequest(
            f"Invalid model version source: '{source}'. Prompt versions cannot be model version sources."
        )
    number = int(named["version"]) if named["version"] else model.aliases.get(named["alias"])
    if number is None:
        raise InvalidRequest(f"Registered model alias {named['alias']} not found.")
    other = services.registry.get_version(named["name"], number)
    run = None if other.run is None else Ref.parse(other.run, kind="run").name
    if (run_id is not None and run_id != (run or "")) or (model_id is not None and model_id != (other.logged or "")):
        raise InvalidRequest(
            f"Invalid model version source: '{source}'. The run_id and model_id request parameters must match the "
            "referenced model version."
        )
    uri = f"models:/{other.name}/{other.version}"
    return Source(uri, other.digest, other.location or uri, run, other.logged)


def _of_logged(
    services: Services, source: str, path: str | None, run_id: str | None, model_id: str | None, tree_of: TreeOf
) -> Source:
    id = path.partition("/")[0] if path is not None else model_id or ""
    if path is not None and model_id != id:
        raise _not_of(source, "model_id")
    try:
        model = services.logged_models.get(id)
    except NotFound:
        raise _not_of(source, "model_id") from None
    root = location_of(services.tracking.experiments.get(model.experiment), model.id)
    below = f"{root}/{path.partition('/')[2]}".rstrip("/") if path is not None else source
    if path is None and _address(source) is not None and not _is_within(_address(source), _address(root)):
        raise _not_of(source, "model_id")
    if urlsplit(source).scheme == "runs":
        raise _not_of(source, "model_id")
    return Source(source, _stored(services, tree_of(services, source)), below, run_id or model.run, model.id)


def _stored(services: Services, files: Mapping[str, tuple[str, int]] | None) -> str | None:
    if not files:
        return None
    try:
        return put_entries(services.objects, [TreeEntry(path, digest, size) for path, (digest, size) in files.items()])
    except MainspringError as error:
        raise InvalidRequest(f"the files cannot be a model: {error}") from None


def _address(uri: str) -> list[str] | None:
    """Give the parts of the address at the proxy; None for a URI of something else."""
    parsed = urlsplit(uri)
    if parsed.scheme == "mlflow-artifacts":
        return [part for part in parsed.path.split("/") if part]
    if parsed.scheme in ("http", "https"):
        _, at, address = parsed.path.partition(_PROXY)
        return [part for part in address.split("/") if part] if at else None
    return None


def _is_within(address: list[str] | None, root: list[str] | None) -> bool:
    return bool(root) and address is not None and address[: len(root or [])] == root


def _check_no_way_out(source: str, path: str) -> None:
    before, decoded = "", path
    while decoded != before:
        if {".", ".."} & set(re.split(r"[/\\]", decoded)) or "\0" in decoded:
            raise InvalidRequest(
                f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, "
                "ftp, objectstore, or mlflow-artifacts uri, its path must have no '.', '..' or NUL in it."
            )
        before, decoded = decoded, unquote(decoded)


def _not_of(source: str, parameter: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid model version source: '{source}'. The {parameter} request parameter must identify the resource that "
        "contains the source."
    )
