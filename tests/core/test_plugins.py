"""Plug-ins are imported when asked for, and say what is missing."""

import json
import re
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from mainspring.core.errors import MissingExtra, NotFound, Unsupported
from mainspring.core.plugins import Registry


def test_a_name_is_imported_only_when_it_is_loaded() -> None:
    registry: Registry[object] = Registry("codec", json="json:dumps", broken="not_there_at_all:thing")
    assert registry.load("json") is json.dumps


@pytest.mark.parametrize(
    ("package", "install"),
    [("zstd_not_there", "zstd_not_there"), ("psycopg", "'mainspring[postgres]'"), ("obstore", "'mainspring[s3]'")],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str, install: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    registry: Registry[object] = Registry("codec", fast=f"{package}:compress")
    with pytest.raises(MissingExtra, match=rf"codec 'fast' needs {package}: pip install {re.escape(install)}$"):
        registry.load("fast")


def test_an_unknown_name_is_answered_with_those_known() -> None:
    registry: Registry[object] = Registry("codec", json="json:dumps", text="str:upper")
    with pytest.raises(NotFound, match="no codec 'xml'; known: json, text"):
        registry.load("xml")


def _install(folder: Path, points: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a distribution with these entry points where Python looks for installed ones."""
    info = folder / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mainspring.codec]\n{points}")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_a_package_adds_a_plug_in_through_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "ordered = collections:OrderedDict\n", monkeypatch)
    registry: Registry[object] = Registry("codec", json="json:dumps")
    assert registry.names() == ["json", "ordered"]
    assert registry.load("ordered") is OrderedDict


def test_an_entry_point_does_not_take_over_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "json = collections:OrderedDict\n", monkeypatch)
    registry: Registry[object] = Registry("codec", json="json:dumps")
    assert registry.load("json") is json.dumps


@pytest.mark.parametrize("point", ["codec = collections:NotThere", "codec = third_party_module:thing"])
def test_a_plug_in_that_cannot_be_imported_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    (tmp_path / "third_party_module.py").write_text("from json import gone_since\n")
    _install(tmp_path, f"{point}\n", monkeypatch)
    with pytest.raises(Unsupported, match=r"codec 'codec' of the package third-party 1.0 cannot be loaded: .*upgrade"):
        Registry[object]("codec").load("codec")
