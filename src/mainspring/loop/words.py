"""What happened in a turn, in a line each."""

from __future__ import annotations

from typing import Any

from mainspring.monitoring.model import Finding, WindowReport


def told(report: WindowReport, found: Finding) -> str:
    """Give an alarm with its numbers."""
    column = f" of {found.column}" if found.column else ""
    note = f" ({found.note})" if found.note else ""
    return (
        f"{found.kind}{column}: {found.test} {found.statistic:.4g}, effect {found.effect:.3g} (matters from "
        f"{found.threshold:.3g}), p {found.p:.2g} within a budget of {found.share:.2g}, {report.rows} rows{note}"
    )


def short(found: Finding) -> str:
    """Give an alarm for a person who watches."""
    column = f" of {found.column}" if found.column and found.column != found.kind else ""
    return f"{found.kind}{column}, {found.note} (p {found.p:.1g}, effect {found.effect:.2g})"


def trained(result: dict[str, Any]) -> str:
    """Say what a search found."""
    quality, parameters = result["validation"], result["parameters"]
    served = "served from ONNX, proved equal" if result["engine"] == "onnx" else "served in a process of its own"
    return (
        f"{len(result['trials'])} trials, best {parameters['candidate']}: {result['metric']} "
        f"{number(quality['value'])} (trivial {number(result['baseline'])}), {served}"
    )


def outcome(released: dict[str, Any]) -> str:
    """Say what became of a candidate."""
    if released["outcome"] == "refused":
        return f"refused by its gate: {released['reason']}"
    return f"passed its gate, canary is {released['release']}"


def number(value: float | None) -> str:
    """Give a metric, or a dash where it is not defined."""
    return "-" if value is None else f"{value:.4f}"
