"""Plug-ins are imported when asked for, and say what is missing."""

import json

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
