"""The nouns whose commands are all derived from the operations of one service."""

from __future__ import annotations

from mainspring.cli.verbs import ServiceGroup

_MARKS = ("rename", "delete", "restore", "note", "star", "archive")

feature = ServiceGroup(
    "feature",
    "mainspring.features.service:Features",
    "features",
    help="Feature views: one definition, read point-in-time correct offline and by key online.",
)
experiment = ServiceGroup(
    "experiment",
    "mainspring.tracking.organising.experiments:ExperimentOrganiser",
    "experiments",
    help="Experiments and their folders: find, rename, move, note, star, archive, delete and restore them.",
    also={"tracking": "mainspring.tracking.service:Tracking"},
    takes=lambda operation: operation.endswith(("_experiment", "_experiments", "_folder", "_folders")),
    verbs={
        "search_experiments": "list",
        "list_experiments": "names",
        "list_folders": "folders",
        **{f"{verb}_experiment": verb for verb in ("create", "get", "tag", *_MARKS)},
    },
)
run = ServiceGroup(
    "run",
    "mainspring.tracking.service:Tracking",
    "tracking",
    help="Runs with their parameters, metrics, tags and artifacts.",
    also={
        "runs": "mainspring.tracking.organising.runs:RunOrganiser",
        "run_editor": "mainspring.tracking.editing.service:RunEditor",
    },
    takes=lambda operation: not operation.endswith(("_experiment", "_experiments")),
    verbs={
        "search_runs": "search",
        "list_artifacts": "artifacts",
        "list_groups": "groups",
        "fork_run": "fork",
        "clone_run": "clone",
        "rewind_run": "rewind",
        **{f"{verb}_run": verb for verb in ("get", "create", "finish", "resume", "group", *_MARKS)},
    },
)
trace = ServiceGroup(
    "trace",
    "mainspring.traces.service:Traces",
    "traces",
    help="Traces: what an application did for one request, and the judgements about it.",
    verbs={
        "search_traces": "search",
        "get_trace": "get",
        "list_spans": "spans",
        "delete_traces": "delete",
        "delete_assessment": "unassess",
        "get_assessment": "assessment",
    },
)
trace_metric = ServiceGroup(
    "trace-metric",
    "mainspring.traces.metrics.service:TraceMetrics",
    "trace_metrics",
    help="What many traces say together: counts, latencies, tokens, cost, judgements.",
)
issue = ServiceGroup(
    "issue",
    "mainspring.traces.issues.service:Issues",
    "issues",
    help="Issues: what goes wrong in an application, found in its traces.",
)
label_schema = ServiceGroup(
    "label-schema",
    "mainspring.traces.label_schemas.service:LabelSchemas",
    "label_schemas",
    help="Label schemas: the questions that people answer about traces.",
)
media = ServiceGroup(
    "media",
    "mainspring.tracking.media.service:Media",
    "media",
    help="Images, sounds, tables, figures and so on that runs left behind, by key and step.",
    verbs={"list_media": "list", "media_keys": "keys", "log_media": "log"},
)
alert = ServiceGroup(
    "alert",
    "mainspring.tracking.alerts.service:Alerts",
    "alerts",
    help="What runs said that somebody should know.",
    verbs={"list_alerts": "list", "raise_alert": "raise"},
)
evaluation_dataset = ServiceGroup(
    "evaluation-dataset",
    "mainspring.datasets.evaluation.service:EvaluationDatasets",
    "evaluation_datasets",
    help="Evaluation datasets: what an application is asked when it is judged, version by version.",
)
scorer = ServiceGroup(
    "scorer",
    "mainspring.scorers.service:Scorers",
    "scorers",
    help="Scorers: how answers are judged, version by version.",
)
training = ServiceGroup(
    "training",
    "mainspring.training.service:Training",
    "training",
    help="What a training found: its trials, the best of them, and how good it is.",
)
job = ServiceGroup(
    "job",
    "mainspring.pipelines.service:Pipelines",
    "pipelines",
    help="Jobs: durable runs of a pipeline's steps.",
)
endpoint = ServiceGroup(
    "endpoint",
    "mainspring.releases.service:Releases",
    "releases",
    help="Endpoints and the immutable releases that they serve.",
    verbs={"create_endpoint": "create"},
)
rollout = ServiceGroup(
    "rollout",
    "mainspring.rollouts.service:Rollouts",
    "rollouts",
    help="Canaries: how a candidate takes over the traffic, on evidence.",
)
prediction = ServiceGroup(
    "prediction",
    "mainspring.predictions.log:PredictionLog",
    "predictions",
    help="The log of predictions and the labels that were posted for them.",
    verbs={"list_predictions": "list", "prediction": "get", "label_counts": "labels", "arm_statistics": "arms"},
)
monitor = ServiceGroup(
    "monitor",
    "mainspring.monitoring.service:Monitoring",
    "monitoring",
    help="Drift of the inputs and outputs, and performance on labels, within a false-alarm budget.",
)
trigger = ServiceGroup(
    "trigger",
    "mainspring.triggers.service:Triggers",
    "triggers",
    help="What starts a retraining, on which evidence, and who approves it.",
)
