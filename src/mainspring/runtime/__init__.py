"""Execution: the hot-path server, batching, supervision, timers, delivery, snapshots, the spool and telemetry."""
