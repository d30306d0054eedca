"""The pipeline that turns data into what serves: assemble, train, register, gate, release.

The first turn and every retraining are the same pipeline. Its steps run in the worker plane; each effect has a token
of its step, so that a step which runs again after a crash changes nothing twice.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import GateRefused, InvalidData, NotFound
from mainspring.core.refs import Ref
from mainspring.datasets.arrays import arrays_of
from mainspring.loop.change import losses_of, worse_since
from mainspring.loop.rows import blocks_aside, logged_rows, newest_aside
from mainspring.monitoring.answers import logged_outputs, logged_truth, scores_of
from mainspring.monitoring.learning import Scored
from mainspring.pipelines.context import StepContext
from mainspring.pipelines.model import Pipeline, Step
from mainspring.planes.adapters import ServedScorer
from mainspring.planes.embedded import Platform
from mainspring.registry.gate_model import GatePolicy, Holdout
from mainspring.registry.model import ServableVersion
from mainspring.registry.signature import ModelInfo
from mainspring.rollouts.model import RolloutPolicy

_HERE = "mainspring.loop.retraining"
_FIRST_TRIALS, _NEXT_TRIALS = 8, 6
_FIRST_SEARCH_S, _NEXT_SEARCH_S = 60.0, 12.0
_REFERENCE_ROWS = 20_000
_BLOCKS = 6


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the pipeline.

    ``dataset`` names the rows known at the start. ``ordered``: the rows stand in the order of time, also where no
    column tells it. ``recent`` is how many of the newest rows count as recent: some of them are set aside for the gate,
    and the new model's traffic is compared with them. When the answers have become worse it is the rows since then,
    within ``fewest_recent`` and ``most_recent``. ``firing`` is the trigger's, None for the first turn.
    """

    name: str
    target: str
    dataset: str
    time: str | None = None
    key: str | None = None
    metric: str | None = None
    ordered: bool = True
    seed: int = 0
    recent: int = 2_000
    fewest_recent: int = 150
    most_recent: int = 20_000
    gate: GatePolicy = GatePolicy()
    rollout: RolloutPolicy = RolloutPolicy()
    firing: str | None = None


PIPELINE = Pipeline(
    "turn",
    [
        Step(name="assemble", function=f"{_HERE}:assemble"),
        Step(name="train", function=f"{_HERE}:train", needs=["assemble"]),
        Step(name="register", function=f"{_HERE}:register", needs=["train"]),
        Step(name="gate", function=f"{_HERE}:gate", needs=["assemble", "register"]),
        Step(name="release", function=f"{_HERE}:release", needs=["assemble", "register", "gate"]),
    ],
)


class Assembled(msgspec.Struct, frozen=True):
    """The rows to learn from and those set aside for the gate, as dataset refs; ``logged`` came from live traffic.

    ``recent`` counts the newest rows of both together; ``worse_since`` says how many of them came since the answers
    became worse (None when they did not).
    """

    training: str
    holdout: str
    columns: list[str]
    rows: int
    logged: int
    recent: int
    worse_since: int | None = None


def assemble(context: StepContext) -> Assembled:
    """Put the rows known at the start and the labelled live traffic together; set some of the recent ones aside."""
    plan, platform = _plan(context), _platform(context)
    start = Ref.parse(plan.dataset, kind="dataset")
    known = platform.datasets.read(start.name, start.version)
    live = _logged(platform, plan, known)
    recent, worse, logged_count = plan.recent, None, 0
    if live is None:
        training, holdout = newest_aside(known, plan.recent)
    else:
        logged, worse = live
        recent = min(plan.most_recent, max(plan.fewest_recent, plan.recent if worse is None else worse))
        known = known.select(logged.columns)
        training, holdout = blocks_aside(
            pl.concat([known, logged], how="vertical"),
            known.height,
            recent=recent,
            most_recent=plan.most_recent,
            block=max(1, plan.fewest_recent // _BLOCKS),
        )
        logged_count = logged.height
        if holdout.is_empty():
            # Nothing could say whether the candidate is better, so there is no point in making one.
            raise InvalidData(
                f"{logged_count} labelled rows of live traffic are too few to set some aside for the gate; retrain "
                f"when there are some {plan.fewest_recent}"
            )
    context.progress(f"{training.height} rows to learn from, {holdout.height} set aside")
    made = [
        platform.datasets.import_frame(
            f"{plan.name}-{part}",
            frame,
            evolve=True,
            check=False,
            time_column=plan.time if plan.time in frame.columns else None,
            source=plan.dataset,
            token=context.token(part),
        )
        for part, frame in (("training", training), ("holdout", holdout))
    ]
    return Assembled(made[0].ref, made[1].ref, training.columns, training.height, logged_count, recent, worse)


def _logged(platform: Platform, plan: Plan, known: pl.DataFrame) -> tuple[pl.DataFrame, int | None] | None:
    """Give the labelled traffic, and how many of its newest rows came since the answers became worse."""
    try:
        status = platform.releases.status(plan.name)
    except NotFound:
        return None
    if status.stable is None:
        return None
    info = platform.registry.resolve(status.stable.model).servable().info
    kinds = {field.name: "datetime" if field.kind == "datetime" else field.type for field in info.signature.inputs}
    read = platform.predictions.read(plan.name, columns=kinds, answered=True, labelled=True)
    rows = logged_rows(read, known, target=plan.target, time=plan.time)
    return None if rows is None else (rows, answers_worse_since(read.rows, status.stable.ref, info, plan))


def answers_worse_since(rows: pl.DataFrame, release: str, info: ModelInfo, plan: Plan) -> int | None:
    """Give how many of the newest logged *rows* came since the answers became worse; None when they did not."""
    if info.task is None:
        return None
    rows = rows.sort(pl.coalesce("event_time", "at"), "prediction_id")
    # A release that has just begun has no better days to show: what served before it answered the rest of the recent.
    rows = rows.filter((pl.col("release") == release) | (pl.int_range(pl.len()) >= pl.len() - plan.recent))
    truth = logged_truth(rows["label"].to_list(), info.task, info.classes)
    scores = scores_of(logged_outputs(rows["output"].to_list()), info.task, info.classes)
    sound = np.isfinite(truth)
    return worse_since(
        losses_of(truth[sound], scores.label[sound], numbers=info.task == "regression"), plan.fewest_recent
    )


def train(context: StepContext) -> dict[str, Any]:
    """Search and fit; a retraining begins with what was best the last time."""
    plan, platform = _plan(context), _platform(context)
    assembled = msgspec.convert(context.inputs["assemble"], Assembled)
    before = _champion(platform, plan.name)
    start = _parameters(before)
    context.progress(f"training on {assembled.rows} rows")
    _ensure_experiment(platform, plan.name)
    result = platform.training.train(
        assembled.training,
        plan.target,
        time=plan.time if plan.time in assembled.columns else None,
        # The model does not take the key, so live traffic was logged without it.
        key=[plan.key] if plan.key in assembled.columns else [],
        metric=plan.metric,
        experiment=plan.name,
        trials=_FIRST_TRIALS if start is None else _NEXT_TRIALS,
        budget_s=_FIRST_SEARCH_S if start is None else _NEXT_SEARCH_S,
        seed=plan.seed,
        ordered=plan.ordered,
        start_from=start,
        # The rows set aside were the third part of the recent ones.
        recent=None if start is None else 2 * assembled.recent // 3,
        token=context.token("train"),
    )
    return msgspec.to_builtins(result)  # type: ignore[no-any-return]


def register(context: StepContext) -> str:
    """Register the trained model; gives its ref."""
    plan, platform = _plan(context), _platform(context)
    trained = context.inputs["train"]
    version = platform.registry.register(
        plan.name,
        trained["digest"],
        run=trained["run"],
        dataset=trained["dataset"],
        trusted=True,
        card=_card(plan, trained),
        token=context.token("register"),
    )
    return version.ref


class Gated(msgspec.Struct, frozen=True):
    """What the gate said: its report and, when it refused, the checks that failed with their numbers."""

    report: str
    passed: bool
    failed: list[str]


def gate(context: StepContext) -> Gated:
    """Measure the candidate on the rows set aside, against the champion when there is one."""
    plan, platform = _plan(context), _platform(context)
    version = platform.registry.resolve(context.inputs["register"]).servable()
    assembled = msgspec.convert(context.inputs["assemble"], Assembled)
    frame = _holdout(platform, assembled, plan.target)
    holdout = Holdout(
        columns=arrays_of(frame, frame.columns), truth=frame[plan.target].to_list(), dataset=assembled.holdout
    )
    policy, kept = plan.gate, platform.promotions.gates_of(plan.name)
    if kept is not None and kept.content.measured is not None:
        policy = kept.content.measured
    elif _champion(platform, plan.name) is not None:
        # After a sudden change what serves can be worse than a constant: better than it is better, if not good yet.
        policy = msgspec.structs.replace(policy, beat_baseline=False)
    report = platform.registry.evaluate_gates(
        plan.name,
        version.version,
        holdout,
        policy=policy,
        token=context.token("gate"),
        under=None if kept is None else kept.ref,
    )
    return Gated(report.ref, report.passed, [f"{check.name}: {check.detail}" for check in report.failed])


class Released(msgspec.Struct, frozen=True):
    """What came of the candidate: deployed at once, started as a canary, or refused by the gate."""

    outcome: str
    model: str
    release: str | None = None
    rollout: str | None = None
    reason: str = ""


def release(context: StepContext) -> Released:
    """Deploy the first champion at once; let any later candidate that passed the gate begin as a canary."""
    plan, platform = _plan(context), _platform(context)
    version = platform.registry.resolve(context.inputs["register"]).servable()
    assembled = msgspec.convert(context.inputs["assemble"], Assembled)
    gated = msgspec.convert(context.inputs["gate"], Gated)
    if _is_first(platform, version, gated):
        try:
            platform.registry.promote(plan.name, version.version, report=gated.report)
        except GateRefused as refused:
            if platform.promotions.list_protections(plan.name):
                return Released("refused", version.ref, reason=str(refused))
            # With nothing in its place the first model serves all the same, and the audit log says why.
            platform.registry.promote(
                plan.name, version.version, report=gated.report, force=f"first champion: {refused}"
            )
        released = platform.releases.deploy(plan.name, version.ref, token=context.token("deploy"))
        _reference(context, plan, platform, version, assembled, released.ref, watch=True)
        return Released("deployed", version.ref, released.ref, reason="; ".join(gated.failed))
    if not gated.passed:
        platform.registry.set_stage(plan.name, version.version, "failed", reason="; ".join(gated.failed)[:500])
        return Released("refused", version.ref, reason="; ".join(gated.failed))
    rollout = platform.rollouts.start(plan.name, version.ref, plan.rollout, token=context.token("canary"))
    assert rollout.release is not None, "a rollout that was started has deployed its canary"
    _reference(context, plan, platform, version, assembled, rollout.release, watch=False)
    return Released("canary", version.ref, rollout.release, rollout.ref)


def _is_first(platform: Platform, version: ServableVersion, gated: Gated) -> bool:
    """Tell whether the version comes before any champion, also when a step that was killed has made it the champion."""
    champion = _champion(platform, version.name)
    return platform.registry.get_report(gated.report).champion is None and (
        champion is None or champion.ref == version.ref
    )


def _reference(
    context: StepContext,
    plan: Plan,
    platform: Platform,
    version: ServableVersion,
    assembled: Assembled,
    release: str,
    *,
    watch: bool,
) -> None:
    """Keep what is normal for the release: recent rows, and the model's answers on rows that it did not learn from."""
    training = Ref.parse(assembled.training, kind="dataset")
    frame = platform.datasets.read(training.name, training.version)
    holdout = _holdout(platform, assembled, plan.target)
    recent = _REFERENCE_ROWS if watch else max(plan.fewest_recent, 2 * assembled.recent // 3)
    names = [field.name for field in version.info.signature.inputs]
    session = ServedScorer(platform.folders).open(version)
    try:
        outputs = session.predict(arrays_of(holdout, names))
        fitted = session.predict(arrays_of(frame.tail(recent), names))
    finally:
        session.close()
    platform.monitoring.set_reference(
        plan.name,
        release,
        pl.concat([frame, holdout.select(frame.columns)]).tail(recent) if watch else frame.tail(recent),
        info=version.info,
        scored=Scored(outputs, holdout[plan.target].to_list(), fitted),
        model=version.ref,
        dataset=assembled.training,
        ordered=plan.ordered or plan.time is not None,
        watch=watch,
        token=context.token("reference"),
    )


def _plan(context: StepContext) -> Plan:
    return msgspec.convert(context.parameters, Plan)


def _platform(context: StepContext) -> Platform:
    platform = context.platform
    assert isinstance(platform, Platform)
    return platform


def _champion(platform: Platform, name: str) -> ServableVersion | None:
    try:
        return platform.registry.resolve(f"model:{name}@champion").servable()
    except NotFound:
        return None


def _parameters(champion: ServableVersion | None) -> dict[str, Any] | None:
    return dict(champion.info.parameters) if champion is not None and champion.info.parameters else None


def _ensure_experiment(platform: Platform, name: str) -> None:
    try:
        platform.tracking.get_experiment(name)
    except NotFound:
        platform.tracking.create_experiment(name)


def _holdout(platform: Platform, assembled: Assembled, target: str) -> pl.DataFrame:
    ref = Ref.parse(assembled.holdout, kind="dataset")
    frame = platform.datasets.read(ref.name, ref.version)
    return frame.filter(pl.col(target).is_not_null())


def _card(plan: Plan, trained: dict[str, Any]) -> str:
    validation = trained["validation"]
    lines = [
        f"# {plan.name}",
        "",
        f"Predicts `{plan.target}` ({trained['task']}) from {len(trained['columns'])} columns.",
        "",
        f"- learned from {trained['rows_fitted']} rows of {trained['dataset']} in {trained['run']}",
        f"- {trained['metric']} on rows set aside in the search: {validation['value']:.4f} "
        f"({validation['low']:.4f} to {validation['high']:.4f}); trivial answer: {trained['baseline']}",
        f"- parameters: {trained['parameters']}",
        *[f"- left out {column}: {why}" for column, why in trained["dropped"].items()],
        *[f"- note: {warning}" for warning in trained["warnings"]],
    ]
    return "\n".join(lines)
