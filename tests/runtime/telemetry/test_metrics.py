"""Metrics: what is counted is what Prometheus reads, within bounds."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mainspring.runtime.telemetry.metrics import Metrics


def read(metrics: Metrics) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, ",".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_prometheus_reads_what_was_counted() -> None:
    metrics = Metrics()
    metrics.counter("requests_total", "Requests.", "endpoint").labels("churn").add(3)
    metrics.gauge("waiting_rows", "Rows that wait.").labels().read = lambda: 7
    seconds = metrics.histogram("run_seconds", "Model runs.", bounds=(0.1, 1.0)).labels()
    for value in (0.05, 0.1, 0.5, 30.0):
        seconds.observe(value)
    assert read(metrics) == {
        ("requests_total", "churn"): 3, ("waiting_rows", ""): 7, ("run_seconds_bucket", "0.1"): 2,
        ("run_seconds_bucket", "1"): 3, ("run_seconds_bucket", "+Inf"): 4, ("run_seconds_count", ""): 4,
        ("run_seconds_sum", ""): 30.65,
    }  # fmt: skip


def test_label_values_beyond_the_cap_count_as_other() -> None:
    metrics = Metrics(max_children=2)
    family = metrics.counter("requests_total", "Requests.", "user")
    for number in range(10):
        family.labels(f"user {number}").add()
    assert read(metrics) == {
        ("requests_total", "user 0"): 1, ("requests_total", "user 1"): 1, ("requests_total", "other"): 8,
    }  # fmt: skip


def test_any_text_can_be_a_label_value() -> None:
    metrics = Metrics()
    metrics.counter("requests_total", 'With a \\ and a\nline "break".', "path").labels('a"b\\c\nd').add()
    assert read(metrics) == {("requests_total", 'a"b\\c\nd'): 1}


def test_a_value_that_is_no_number_or_cannot_be_read_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    metrics.gauge("ratio", "Of nothing.").labels().value = nan
    metrics.gauge("floor", "None.").labels().value = -inf
    metrics.gauge("broken", "Reads badly.").labels().read = lambda: 1 / 0
    metrics.counter("requests_total", "Requests.").labels().add()
    found = {name: value for (name, _), value in read(metrics).items()}
    assert isnan(found.pop("ratio")) and isnan(found.pop("broken"))
    assert found == {"floor": -inf, "requests_total": 1}
    assert "ZeroDivisionError" in caplog.text


def test_a_quantile_is_the_bound_that_holds_its_share() -> None:
    seconds = Metrics().histogram("run_seconds", "Model runs.", bounds=(0.1, 1.0)).labels()
    assert seconds.quantile(0.5) == 0
    for value in [0.05] * 98 + [0.5, 5.0]:
        seconds.observe(value)
    assert [seconds.quantile(share) for share in (0.5, 0.99, 1.0)] == [0.1, 1.0, float("inf")]


def test_a_name_means_one_thing() -> None:
    metrics = Metrics()
    assert metrics.counter("a_total", "A.", "x") is metrics.counter("a_total", "A.", "x")
    with pytest.raises(ValueError, match="already a counter"):
        metrics.gauge("a_total", "A.", "x")
    with pytest.raises(ValueError, match="labels"):
        metrics.counter("a_total", "A.", "x").labels("1", "2")


def test_the_control_plane_shows_them_through_a_registry() -> None:
    metrics = Metrics()
    metrics.counter("requests_total", "Requests.").labels().add(2)
    registry = CollectorRegistry()
    registry.register(metrics)
    assert b"requests_total 2.0" in generate_latest(registry)
