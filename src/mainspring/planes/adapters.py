"""The joints between rooms that do not know each other: what one asks for, answered by another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mainspring.core.errors import InvalidData, NotFound
from mainspring.core.refs import Ref
from mainspring.datasets.arrays import arrays_of
from mainspring.datasets.service import Datasets
from mainspring.planes.serving_files import ModelFolders
from mainspring.registry.cards.model import RunFacts
from mainspring.registry.gate_model import Holdout
from mainspring.registry.model import ServableVersion, Stage
from mainspring.registry.service import Registry
from mainspring.releases.model import Candidate
from mainspring.rollouts.service import Rollouts
from mainspring.serving.model import FeatureBinding
from mainspring.tracking.service import Tracking

FEATURE_VIEW_TAG = "feature_view"
"""The tag of a model version with the ref of the feature view that it was trained on."""

if TYPE_CHECKING:
    from mainspring.serving.engine.session import Session


class ReleasableModels:
    """The registry as releases ask for it: what a release pins of a model version, and its stage."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def candidate(self, model: str) -> Candidate:
        """Give what the registry knows of a version named by ref; raises NotFound, Unsupported for a record only."""
        version = self._registry.resolve(model).servable()
        info, view = version.info, version.tags.get(FEATURE_VIEW_TAG)
        return Candidate(
            model=version.ref,
            digest=version.digest,
            engine=version.engine,
            signature=info.signature,
            task=info.task,
            metric=info.metric,
            classes=info.classes,
            dataset=version.dataset,
            features=FeatureBinding(view=view) if view else None,
            trusted=version.trusted,
        )

    def set_stage(self, model: str, stage: Stage) -> None:
        """Record the stage of a version."""
        ref = Ref.parse(model, kind="model")
        assert ref.version is not None
        # A version that was deleted or renamed in the registry is served on from what its release pinned.
        with suppress(NotFound):
            self._registry.record_stage(ref.name, ref.version, stage)


class ServableModels:
    """The registry as the evidence of rollouts asks for it: only for versions that can be served."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def resolve(self, model: str) -> ServableVersion:
        """Give the version that a ref stands for; raises NotFound."""
        return self._registry.resolve(model).servable()


class GateRows:
    """The datasets as gates ask for them: rows with the truth, and whether they passed their expectations."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    def holdout(self, dataset: str, target: str) -> Holdout:
        """Give the labelled rows of a dataset named by ref; raises NotFound, InvalidData without the target."""
        version = self._datasets.resolve(dataset)
        frame = self._datasets.read(version.dataset, version.version)
        if target not in frame.columns:
            raise InvalidData(f"{version.ref} has no column {target!r}; it has {', '.join(frame.columns)}")
        frame = frame.filter(frame[target].is_not_null())
        columns = arrays_of(frame, frame.columns)
        return Holdout(columns=columns, truth=frame[target].to_list(), dataset=version.ref, groups=columns)

    def quality(self, dataset: str) -> tuple[bool, str]:
        """Tell whether a dataset named by ref passed its expectations, and how it is known."""
        try:
            version = self._datasets.resolve(dataset)
        except NotFound as error:
            return False, str(error)
        if version.report is None:
            return False, f"{version.ref} was never held against expectations"
        report = self._datasets.report(version.report)
        if report.passed:
            return True, f"{version.ref} passed its {len(report.checks)} expectations ({report.ref})"
        broken = "; ".join(str(check) for check in report.failed[:3])
        return False, f"{version.ref} broke {len(report.failed)} of its expectations ({report.ref}): {broken}"


class CardRuns:
    """The runs as cards tell of them."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def facts(self, run: str) -> RunFacts | None:
        """Give what is known of a run named by ref; None when it is not one of ours."""
        try:
            found = self._tracking.get_run(Ref.parse(run, kind="run").name)
        except NotFound:
            return None
        environment = None
        with suppress(NotFound):
            environment = self._tracking.get_environment(found.run.id)
        values = {key: metric.value for key, metric in found.metrics.items()}
        return RunFacts(
            ref=found.run.ref,
            name=found.run.name,
            experiment=found.run.experiment,
            user=found.run.user,
            started=found.run.started,
            commit=found.run.commit,
            dirty=found.run.dirty,
            params=found.params,
            metrics={key: value for key, value in values.items() if isinstance(value, float | int)},
            datasets=[f"{one.dataset}" for one in found.inputs],
            python=None if environment is None else environment.python,
            platform=None if environment is None else f"{environment.os} ({environment.architecture})",
            packages=[] if environment is None else [f"{one.name}=={one.version}" for one in environment.packages],
        )


class ServedScorer:
    """Opens model versions as the data plane would serve them."""

    def __init__(self, folders: ModelFolders) -> None:
        self._folders = folders

    def open(self, version: ServableVersion) -> Session:
        """Open a version from its folder; raises Forbidden for code of unknown origin."""
        folder = self._folders.materialise(version.digest)
        # It loads the libraries that run models, which the control plane does without until a gate scores one.
        from mainspring.serving.engine.session import open_session

        return open_session(folder, engine=version.engine, signature=version.info.signature, trusted=version.trusted)


def hold_during(rollouts: Rollouts) -> Callable[[str], str | None]:
    """Give what makes triggers wait while a rollout of the endpoint goes on: the canary may be the remedy already."""

    def hold(endpoint: str) -> str | None:
        going_on = [rollout for rollout in rollouts.active() if rollout.endpoint == endpoint]
        return f"the rollout of {going_on[0].candidate} goes on" if going_on else None

    return hold
