"""Plug-ins are imported when asked for, and say what is missing."""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from mainspring.core.errors import MissingExtra, NotFound
from mainspring.core.plugins import Registry


def test_a_name_is_imported_only_when_it_is_loaded() -> None:
    registry: Registry[object] = Registry("codec", json="json:dumps", broken="not_there_at_all:thing")
    assert registry.load("json") is json.dumps


def test_a_missing_package_is_named_with_the_line_that_installs_it() -> None:
    registry: Registry[object] = Registry("codec", zstd="zstd_not_there:compress")
    with pytest.raises(MissingExtra, match=r"needs zstd_not_there: pip install 'mainspring\[zstd\]'"):
        registry.load("zstd")


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
