"""What happens in the registry, for lineage, audit and whoever subscribes."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.registry.model import Stage


class ModelCreated(Event, frozen=True):
    """A model was created, still without versions."""

    model: str
    description: str
    tags: dict[str, str]

    def makes(self) -> list[str]:
        """Give the model."""
        return [self.model]


class ModelTagSet(Event, frozen=True):
    """A tag of a model, or of one of its versions, was set; ``prompt``: the model is a prompt."""

    model: str
    key: str
    value: str
    prompt: bool = False

    def makes(self) -> list[str]:
        """Give the model or the version."""
        return [self.model]


class ModelTagDeleted(Event, frozen=True):
    """A tag of a model, or of one of its versions, was removed; ``prompt``: the model is a prompt."""

    model: str
    key: str
    prompt: bool = False

    def makes(self) -> list[str]:
        """Give the model or the version."""
        return [self.model]


class ModelRegistered(Event, frozen=True):
    """A version of a model was registered, from a run and a dataset where these are known.

    There is no ``digest`` when only a record was made of a model whose files are elsewhere.
    """

    model: str
    digest: str | None
    run: str | None = None
    dataset: str | None = None
    trusted: bool = False
    source: str | None = None
    card: str = ""
    tags: dict[str, str] = {}

    def reads(self) -> list[str]:
        """Give the run and the dataset."""
        return [known for known in (self.run, self.dataset) if known is not None]

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class StageChanged(Event, frozen=True):
    """A version came to another stage."""

    model: str
    stage: Stage
    previous: Stage
    reason: str

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class AliasMoved(Event, frozen=True):
    """An alias points to another version now, or to none; ``prompt``: they are versions of a prompt."""

    alias: str
    model: str | None
    previous: str | None
    reason: str
    prompt: bool = False

    def reads(self) -> list[str]:
        """Give the version that it points to."""
        return [] if self.model is None else [self.model]

    def makes(self) -> list[str]:
        """Give the alias."""
        return [self.alias]


class ModelTrusted(Event, frozen=True):
    """The code of a version may run from now on."""

    model: str
    reason: str

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class ModelVersionDeleted(Event, frozen=True):
    """A version was deleted; its number is not given again."""

    model: str
    digest: str | None

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class ModelDeleted(Event, frozen=True):
    """A model was deleted with its versions."""

    model: str
    versions: int

    def makes(self) -> list[str]:
        """Give the model."""
        return [self.model]


class ModelRestored(Event, frozen=True):
    """A deleted model is there again, its versions in these stages by number."""

    model: str
    stages: dict[str, str]

    def makes(self) -> list[str]:
        """Give the model."""
        return [self.model]


class ModelVersionRestored(Event, frozen=True):
    """A deleted version is there again, in the stage that it had."""

    model: str
    stage: str

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class DeletedForgotten(Event, frozen=True):
    """What was deleted cannot be restored any more."""

    model: str

    def makes(self) -> list[str]:
        """Give what is gone."""
        return [self.model]


class ModelRenamed(Event, frozen=True):
    """What was known by one ref is known by another: a model, or one of its versions."""

    model: str
    was: str

    def reads(self) -> list[str]:
        """Give the former ref."""
        return [self.was]

    def makes(self) -> list[str]:
        """Give the ref."""
        return [self.model]


class GatesEvaluated(Event, frozen=True):
    """The gates were measured on a holdout."""

    report: str
    model: str
    champion: str | None
    dataset: str
    passed: bool
    failed: list[str]

    def reads(self) -> list[str]:
        """Give the candidate, the champion and the holdout."""
        return [known for known in (self.model, self.champion, self.dataset) if known is not None]

    def makes(self) -> list[str]:
        """Give the report."""
        return [self.report]


class ModelPromoted(Event, frozen=True):
    """A version passed its gates, or was ``forced`` past them for the reason that is given."""

    model: str
    alias: str
    previous: str | None
    report: str | None
    forced: str | None = None

    def reads(self) -> list[str]:
        """Give the version and the report that let it pass."""
        return [known for known in (self.model, self.report) if known is not None]

    def makes(self) -> list[str]:
        """Give the alias that points to it now."""
        return [self.alias]


class PromotionRefused(Event, frozen=True):
    """A version was not promoted, for the checks that are named."""

    model: str
    alias: str
    report: str | None
    failed: list[str]

    def reads(self) -> list[str]:
        """Give the report."""
        return [] if self.report is None else [self.report]

    def makes(self) -> list[str]:
        """Give the version that stays where it was."""
        return [self.model]
