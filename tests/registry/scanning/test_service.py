"""No version is made of files that would run code; what was found stays with it, and who lets pass is on record."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest, NotFound, UnsafeModel, Unsupported
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.scanning.service import Scans
from mainspring.registry.service import Registry
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.sql.journal import latest_events
from tests.registry.scanning.payloads import SYSTEM

FILE = digest_of(SYSTEM)


def test_a_dangerous_model_becomes_no_version(registry: Registry, scans: Scans, evil: str) -> None:
    with pytest.raises(UnsafeModel) as refused:
        registry.register("m", evil)
    assert "notes.txt calls posix.system" in str(refused.value)
    assert f"mainspring model allow-file {FILE} REASON" in str(refused.value)
    with pytest.raises(NotFound):
        registry.get_model("m")
    with registry.database.read() as connection:
        (event,) = latest_events(connection, kind="RegistrationRefused")
    assert (event.body["model"], event.makes) == ("model:m", ["model:m"])


def test_what_was_found_stays_with_the_version(registry: Registry, scans: Scans, clean: str, evil: str) -> None:
    made = registry.register("m", clean)
    found = scans.get_scan("m", 1)
    assert (found.model, found.verdict, found.report.tree) == ("model:m@1", "clean", made.digest)
    registry.register("m", evil, trusted=True)
    assert scans.get_scan("m", 2).verdict == "dangerous"
    with registry.database.read() as connection:
        event = latest_events(connection, kind="ModelScanned", ref="model:m@2")[0]
    assert event.body["verdict"] == "dangerous"
    assert event.body["dangers"][0].startswith("notes.txt calls posix.system")


def test_a_file_that_somebody_answers_for_is_let_pass(registry: Registry, scans: Scans, evil: str) -> None:
    with pytest.raises(InvalidRequest, match="say why"):
        scans.allow_file(FILE, " ")
    with pytest.raises(InvalidRequest, match="is not a digest"):
        scans.allow_file("notes.txt", "mine")
    allowed = scans.allow_file(FILE, "written by us")
    scans.allow_file(FILE, "once more")
    assert [(one.digest, one.reason, one.actor) for one in scans.list_allowed_files()] == [
        (FILE, "written by us", allowed.actor)
    ]
    registry.register("m", evil)
    scan = scans.get_scan("m", 1)
    assert (scan.verdict, scan.report.allowed, scan.report.dangers) == ("warned", [FILE], [])
    scans.disallow_file(FILE, "not any more")
    with pytest.raises(UnsafeModel):
        registry.register("m", evil)
    with pytest.raises(NotFound):
        scans.disallow_file(FILE)
    with registry.database.read() as connection:
        kinds = [event.kind for event in latest_events(connection, limit=50)]
    assert kinds.count("FileAllowed") == kinds.count("FileDisallowed") == 1


def test_a_catalogue_makes_no_record_of_it_either(registry: Registry, scans: Scans, evil: str, clean: str) -> None:
    catalogue = Catalogue(registry)
    registry.create_model("m")
    with pytest.raises(UnsafeModel):
        catalogue.record("m", "runs:/r/model", tree=evil)
    catalogue.record("m", "runs:/r/model", tree=clean)
    catalogue.record("m", "s3://elsewhere/model")
    assert scans.get_scan("m", 1).verdict == "clean"
    with pytest.raises(NotFound, match="mainspring model scan-version m 2"):
        scans.get_scan("m", 2)
    with pytest.raises(Unsupported, match="not held here"):
        scans.scan_version("m", 2)
    catalogue.rename("m", "n")
    assert scans.get_scan("n", 1).model == "model:n@1"


def test_a_copy_of_a_trusted_version_is_let_pass(registry: Registry, scans: Scans, evil: str) -> None:
    registry.register("m", evil, trusted=True)
    registry.create_model("copies")
    made = Catalogue(registry).record("copies", "models:/m/1", tree=registry.get_version("m", 1).digest)
    assert made.trusted is False
    assert scans.get_scan("copies", 1).verdict == "dangerous"


def test_a_version_is_looked_through_again_when_asked(registry: Registry, scans: Scans, evil: str) -> None:
    registry.register("m", evil, trusted=True)
    scans.allow_file(FILE, "written by us")
    assert scans.scan_version("m", 1).verdict == scans.get_scan("m", 1).verdict == "warned"
    with pytest.raises(NotFound):
        scans.scan_version("m", 2)


def test_one_file_of_the_store_can_be_looked_through(registry: Registry, scans: Scans) -> None:
    digest = registry.objects.put_bytes(SYSTEM)
    report = scans.scan_file(digest, "a.pkl")
    assert (report.verdict, report.findings[0].where, report.size_bytes) == ("dangerous", "a.pkl", len(SYSTEM))
    with pytest.raises(NotFound):
        scans.scan_file(digest_of(b"nothing"))
