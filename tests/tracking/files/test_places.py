"""No address of an artifact can mean anything but a file in a folder, in whatever way it is written."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.files.places import FREE, Place, possible_places, safe_folder, safe_path

ESCAPES = [
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "./x",
    "a/./x",
    "/etc/passwd",
    "//etc/passwd",
    "a//b",
    "..\\x",
    "a\\..\\..\\x",
    "\\\\host\\share",
    "C:/windows",
    "C:\\windows",
    "file:/etc/passwd",
    "file:///etc/passwd",
    "FILE:etc/passwd",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a#b",
    "a#/../../x",
]


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("encoded", range(4))
def test_a_way_out_is_refused_however_often_it_is_encoded(path: str, encoded: int) -> None:
    for _ in range(encoded):
        path = quote(path, safe="")
    with pytest.raises(InvalidRequest):
        safe_path(path)


@pytest.mark.parametrize(
    "path", ["%2e%2e/x", "%2E%2E%2Fx", "..%2fx", "%252e%252e%252fx", "a/%2e%2e%5cx", "%66ile:/etc"]
)
def test_a_way_out_is_refused_where_only_some_of_it_is_encoded(path: str) -> None:
    with pytest.raises(InvalidRequest):
        safe_path(path)


def test_what_is_encoded_endlessly_is_refused() -> None:
    path = "..%2fx"
    for _ in range(40):
        path = quote(path, safe="")
    with pytest.raises(InvalidRequest):
        safe_path(path)


@pytest.mark.parametrize(
    "path", ["a", "plots/roc.png", "...", "a/..b", "x..", "100%.txt", "a b", "a+b=c", "Ünï/ço.de", "%zz", "a:b", "~/x"]
)
def test_a_plain_name_is_left_as_it_is(path: str) -> None:
    assert safe_path(path) == path
    assert safe_folder(path + "/") == path


@given(st.text(max_size=40))
def test_what_is_let_through_stays_below_its_folder(path: str) -> None:
    try:
        safe_path(path)
    except InvalidRequest:
        return
    parts = path.split("/")
    assert all(part not in ("", ".", "..") for part in parts)
    assert not set(path) & {"\\", "\0", "#"}


def test_an_address_may_mean_a_run_a_model_or_a_trace_and_else_a_file_of_nobody() -> None:
    assert possible_places("0/r1/artifacts/a/artifacts/b") == [
        (Place("run", "r1"), "a/artifacts/b"),
        (Place("run", "a"), "b"),
        (FREE, "0/r1/artifacts/a/artifacts/b"),
    ]
    assert (Place("model", "m-1"), "MLmodel") in possible_places("0/models/m-1/artifacts/MLmodel")
    assert (Place("trace", "tr-1"), "") in possible_places("0/traces/tr-1/artifacts")
    assert possible_places("some/where") == [(FREE, "some/where")]
