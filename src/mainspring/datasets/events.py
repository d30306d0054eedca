"""What happened to datasets."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


def source_ref(source: str) -> str:
    """Give the lineage ref of an uploaded object by its digest (``object:<hex>``); other sources stand as they are."""
    return f"object:{source.removeprefix('sha256:')}" if source.startswith("sha256:") else source


class DatasetVersionCreated(Event, frozen=True, kw_only=True):
    """A version was accepted, and is now the latest."""

    dataset: str
    version: int
    rows: int
    content: str
    mode: str
    parent: int | None
    source: str | None

    def reads(self) -> list[str]:
        """Name the source, and for an append the version that it adds to."""
        sources = [source_ref(self.source)] if self.source else []
        if self.mode == "append" and self.parent is not None:
            sources.append(ref("dataset", self.dataset, self.parent))
        return sources

    def makes(self) -> list[str]:
        """Name the version."""
        return [ref("dataset", self.dataset, self.version)]


class DatasetVersionQuarantined(DatasetVersionCreated, frozen=True, kw_only=True):
    """A version failed its checks; it can be looked at, and is never the latest."""

    report: str


class QualityChecked(Event, frozen=True, kw_only=True):
    """A version was held against its expectations."""

    dataset: str
    version: int
    report: str
    passed: bool
    failed: list[str]

    def reads(self) -> list[str]:
        """Name the version."""
        return [ref("dataset", self.dataset, self.version)]

    def makes(self) -> list[str]:
        """Name the report."""
        return [self.report]


class ExpectationsSet(Event, frozen=True, kw_only=True):
    """The expectations that the coming versions of a dataset must meet were replaced."""

    dataset: str
    count: int

    def makes(self) -> list[str]:
        """Name the dataset."""
        return [ref("dataset", self.dataset)]
