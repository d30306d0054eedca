"""What is kept of an evaluation dataset and of its records."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.refs import ref

USER_TAG = "mlflow.user"
"""The tag that says who made or changed something, as tracking clients set it."""

MAX_NAME_CHARS = 255
MAX_TAG_KEY_CHARS, MAX_TAG_CHARS = 255, 5_000
MAX_PAGE = 1_000
MAX_RECORDS_PAGE = 10_000

SourceType = Literal["UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE"]


class RecordSource(msgspec.Struct, frozen=True):
    """Where a record came from: a trace by its id, a person, a document, or code."""

    type: SourceType = "UNSPECIFIED"
    data: dict[str, Any] = {}

    @property
    def id(self) -> str | None:
        """Give the id of what it came from, if it has one."""
        found = self.data.get("trace_id" if self.type == "TRACE" else "source_id")
        return found if isinstance(found, str) and found else None


class RecordDraft(msgspec.Struct, frozen=True):
    """A record as it comes: one with these inputs is added, or what is given is merged into the one that stands."""

    inputs: dict[str, Any] = {}
    outputs: Any = UNSET
    expectations: dict[str, Any] | None = None
    tags: dict[str, Any] | None = None
    source: RecordSource | None = None


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One case: what is asked, what was answered, and what is expected. ``since``: the version that it came with."""

    id: str
    dataset: str
    inputs: dict[str, Any]
    outputs: Any = None
    expectations: dict[str, Any] | None = None
    tags: dict[str, Any] = {}
    source: RecordSource | None = None
    created: datetime
    updated: datetime
    created_by: str | None = None
    updated_by: str | None = None
    since: int
    position: int


class FieldTypes(msgspec.Struct, frozen=True):
    """The types of the fields that records have had, by their names; outputs may be one value without names."""

    inputs: dict[str, str] = {}
    outputs: dict[str, str] | str = {}
    expectations: dict[str, str] = {}


class EvaluationDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset of records. Each change of these makes its next version; ``digest`` follows from their content."""

    id: str
    name: str
    version: int
    digest: str
    records: int
    created: datetime
    updated: datetime
    created_by: str | None = None
    updated_by: str | None = None
    fields: FieldTypes | None = None
    tags: dict[str, str] = {}

    @property
    def ref(self) -> str:
        """Give the ref of the version that the dataset has now."""
        return dataset_ref(self.id, self.version)


class EvaluationDatasetVersion(msgspec.Struct, frozen=True):
    """A state that the records of a dataset were in."""

    dataset: str
    version: int
    digest: str
    records: int
    created: datetime


class EvaluationDatasetPage(msgspec.Struct, frozen=True):
    """Some datasets, and the token of the next page if there is one."""

    datasets: list[EvaluationDataset]
    next_page: str | None = None


class EvaluationRecordPage(msgspec.Struct, frozen=True):
    """Some records, and the token of the next page if there is one."""

    records: list[EvaluationRecord]
    next_page: str | None = None


class Merged(msgspec.Struct, frozen=True):
    """What a merge did; records that said nothing new count as updated, and make no version."""

    inserted: int
    updated: int
    version: int


class Removed(msgspec.Struct, frozen=True):
    """How many records went, and the version that the dataset has since."""

    records: int
    version: int


def dataset_ref(id: str, version: int | None = None) -> str:
    """Give the ref of an evaluation dataset, or of one of its versions from 1."""
    return ref("evaluation_dataset", id, version or None)


def given_outputs(draft: RecordDraft) -> bool:
    """Tell whether a draft says anything of outputs."""
    return not isinstance(draft.outputs, UnsetType)
