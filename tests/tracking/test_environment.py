"""The environment of a run says what a colleague needs to make it again."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from pathlib import Path

import pytest

from mainspring.tracking.environment import capture_environment, installed_packages, parse_gpus
from mainspring.tracking.model import Gpu


def test_it_names_python_system_and_processor() -> None:
    found = capture_environment()
    assert found.python.endswith(platform.python_version())
    assert found.architecture == platform.machine()
    assert found.cpu
    assert 1 <= found.cpus <= (os.cpu_count() or 1)
    assert 2**20 < found.memory_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_packages_are_those_that_the_import_system_knows() -> None:
    found = {package.name: package.version for package in installed_packages()}
    for name in ("numpy", "sqlalchemy", "mainspring"):
        assert found[name] == importlib.metadata.version(name)
    known = {re.sub(r"[-_.]+", "-", d.name).lower() for d in importlib.metadata.distributions()}
    assert set(found) == known


def test_of_two_versions_the_one_that_is_imported_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, version in (("first", "2.0"), ("second", "1.0")):
        (tmp_path / folder / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "gone")])
    assert [(p.name, p.version) for p in installed_packages()] == [("some-thing", "2.0")]


def test_capturing_takes_little_time() -> None:
    capture_environment()
    begin = time.thread_time()
    capture_environment()
    assert time.thread_time() - begin < 0.1


def test_what_nvidia_smi_says_is_read() -> None:
    said = "NVIDIA H200, 143771, 570.86.15\nNVIDIA GB10, [N/A], 580.1\nnonsense\n"
    assert parse_gpus(said) == [
        Gpu("NVIDIA H200", 143771 * 2**20, "570.86.15"),
        Gpu("NVIDIA GB10", 0, "580.1"),
    ]
