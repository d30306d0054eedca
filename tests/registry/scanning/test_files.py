"""What would run code is found in whichever wrapping it comes; what would not is let be."""

from __future__ import annotations

import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mainspring.registry.scanning import containers, opcodes
from mainspring.registry.scanning.files import scan_path
from mainspring.registry.scanning.model import ScanReport
from tests.registry.scanning.payloads import DANGEROUS, SYSTEM, after_first, harmless, text, zipped

HARMLESS = harmless()


def scan(tmp_path: Path, data: bytes, name: str = "model.bin") -> ScanReport:
    file = tmp_path / name
    file.write_bytes(data)
    return scan_path(file)


@pytest.mark.parametrize("trick", DANGEROUS)
def test_a_payload_is_found(trick: str, tmp_path: Path) -> None:
    report = scan(tmp_path, DANGEROUS[trick])
    assert report.verdict == "dangerous"
    assert report.dangers[0].where.startswith("model.bin")


@pytest.mark.parametrize("name", ["model.txt", "weights.safetensors", "graph.onnx", "README.md", "noextension"])
def test_the_name_of_a_file_hides_nothing(name: str, tmp_path: Path) -> None:
    for data in (SYSTEM, zipped(("x", SYSTEM))):
        assert scan(tmp_path, data, name).verdict == "dangerous"


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_harmless_is_let_be(what: str, tmp_path: Path) -> None:
    report = scan(tmp_path, HARMLESS[what]())
    assert (report.verdict, report.findings) == ("clean", [])


def test_bytes_by_chance_are_no_pickle(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(300):
        assert scan(tmp_path, chance.randbytes(400)).verdict == "clean"


def test_a_report_lists_opcodes_and_imports(tmp_path: Path) -> None:
    (pickled,) = scan(tmp_path, SYSTEM).pickles
    assert pickled.opcodes["STACK_GLOBAL"] == pickled.opcodes["REDUCE"] == pickled.opcodes["STOP"] == 1
    (use,) = pickled.globals
    assert (use.name, use.level, use.called) == ("posix.system", "dangerous", True)


def test_each_place_in_a_file_has_its_name(tmp_path: Path) -> None:
    inner = zipped(("archive/data.pkl", after_first(SYSTEM)))
    where = scan(tmp_path, zipped(("a.pt", inner))).dangers[0].where
    assert where.startswith("model.bin > a.pt > archive/data.pkl (at byte ")


def test_functions_by_value_and_unknown_names_are_told_and_not_refused(tmp_path: Path) -> None:
    import cloudpickle

    def uses_os(x: int) -> int:
        return x + np.int64(1)

    report = scan(tmp_path, cloudpickle.dumps(uses_os))
    assert (report.verdict, {finding.level for finding in report.findings}) == ("warned", {"code"})
    unknown = scan(tmp_path, b"\x80\x04" + text("acme.models") + text("Forest") + b"\x93)\x81.")
    assert [finding.what for finding in unknown.findings] == ["calls acme.models.Forest, which is on no list"]
    assert unknown.verdict == "warned"


def test_what_code_that_is_carried_along_refers_to_is_told_and_what_is_called_is_refused(tmp_path: Path) -> None:
    import functools
    import os

    import cloudpickle

    class Model:
        def __init__(self) -> None:
            self.home = os.getenv("HOME")

        @property
        def name(self) -> str:
            return getenv("NAME")

    getenv = os.getenv
    report = scan(tmp_path, cloudpickle.dumps(Model()))
    assert report.dangers == []
    assert (report.verdict, {finding.level for finding in report.findings}) == ("warned", {"code"})
    assert any("os.getenv" in finding.what for finding in report.findings)
    handed = cloudpickle.dumps([Model, functools.partial(os.system, "ls")])
    assert "imports posix.system" in scan(tmp_path, handed).dangers[0].what


def test_what_cannot_be_looked_into_is_said(tmp_path: Path) -> None:
    report = scan(tmp_path, b"7z\xbc\xaf\x27\x1c" + bytes(40))
    assert report.verdict == "warned"
    assert "7z, which cannot be looked into" in report.findings[0].what


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_UNPACKED_BYTES", 1 << 20)
    report = scan(tmp_path, zipped(("zeros", bytes(8 << 20)), method=zipfile.ZIP_DEFLATED))
    assert "unpacks to more than" in report.dangers[0].what


def test_what_is_packed_too_deep_is_refused(tmp_path: Path) -> None:
    data = SYSTEM
    for _ in range(9):
        data = zipped(("again.zip", data))
    assert scan(tmp_path, data).verdict == "dangerous"


def test_a_pickle_with_too_many_opcodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = b"\x80\x04" + text("acme") + text("Model") + b"\x93" + b"N0" * 2000 + STOP
    assert scan(tmp_path, long).verdict == "warned"
    monkeypatch.setattr("mainspring.registry.scanning.files.MAX_OPCODES", 1000)
    assert "too many opcodes" in scan(tmp_path, long).dangers[0].what


STOP = b"."


def test_state_that_refers_to_itself_ends(tmp_path: Path) -> None:
    # A dtype whose fields are that dtype: following it must not follow it for ever.
    dtype = b"cnumpy\ndtype\n(S'V8'\ntR\x94(K\x03}\x94(U\x01a(h\x00K\x00tutb"
    wrapper = (
        b"\x80\x04" + dtype + b"0cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(U\x05dtypeh\x00U\x05shape(K\x02tub."
    )
    report = scan(tmp_path, wrapper)
    assert report.verdict == "dangerous"


def test_a_large_array_is_passed_over_and_not_read(tmp_path: Path) -> None:
    data = pickle.dumps({"w": bytes(64 << 20), "x": np.zeros(1)}, 4)
    assert scan(tmp_path, data).verdict == "clean"
    assert opcodes.MAX_OPCODES > 1_000_000
