"""What happened to evaluation datasets."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref
from mainspring.datasets.evaluation.model import dataset_ref


class EvaluationDatasetCreated(Event, frozen=True, kw_only=True):
    """An evaluation dataset was created; it has no records yet."""

    dataset: str
    name: str
    experiments: list[str]

    def makes(self) -> list[str]:
        """Name the dataset."""
        return [dataset_ref(self.dataset)]


class EvaluationDatasetDeleted(Event, frozen=True, kw_only=True):
    """An evaluation dataset was deleted with all its records."""

    dataset: str
    name: str

    def makes(self) -> list[str]:
        """Name the dataset."""
        return [dataset_ref(self.dataset)]


class EvaluationRecordsChanged(Event, frozen=True, kw_only=True):
    """Records of an evaluation dataset were added, changed or removed, which made its next version."""

    dataset: str
    version: int
    digest: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    traces: list[str] = []

    def reads(self) -> list[str]:
        """Name the version before, and the traces that records were made of."""
        return [dataset_ref(self.dataset, self.version - 1), *(ref("trace", id) for id in self.traces)]

    def makes(self) -> list[str]:
        """Name the version."""
        return [dataset_ref(self.dataset, self.version)]
