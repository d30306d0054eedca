"""The limits of what may be logged at once, checked before a transaction begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mainspring.core.errors import InvalidRequest, TooLarge
from mainspring.tracking.model import (
    MAX_KEY_CHARS,
    MAX_METRICS,
    MAX_PARAM_CHARS,
    MAX_PARAMS,
    MAX_TAG_CHARS,
    MAX_TAGS,
    Metric,
)

_INT64 = range(-(2**63), 2**63)


def check_batch(metrics: Sequence[Metric], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Raise TooLarge or InvalidRequest for a batch that is more, or longer, than may be logged at once."""
    for what, size, most in (
        ("metrics", len(metrics), MAX_METRICS),
        ("params", len(params), MAX_PARAMS),
        ("tags", len(tags), MAX_TAGS),
    ):
        if size > most:
            raise TooLarge(f"a batch may have {most} {what}, this one has {size}: send several", limit=most, found=size)
    for metric in metrics:
        _check_key(metric.key, "metric")
        if metric.step not in _INT64 or (metric.at_us is not None and metric.at_us not in _INT64):
            raise InvalidRequest(f"metric {metric.key!r}: step and time must fit in 64 bits", key=metric.key)
    check_texts(params, "param", MAX_PARAM_CHARS)
    check_texts(tags, "tag", MAX_TAG_CHARS)


def check_texts(values: Mapping[str, str], what: str, most: int = MAX_TAG_CHARS) -> None:
    """Raise InvalidRequest for a key or a value that is too long or cannot be stored."""
    for key, value in values.items():
        _check_key(key, what)
        if len(value) > most:
            raise InvalidRequest(
                f"{what} {key!r} has {len(value)} characters, at most {most} are kept: log it as an artifact", key=key
            )
        if "\0" in value:
            raise InvalidRequest(f"{what} {key!r} holds a NUL character, which PostgreSQL cannot store", key=key)


def _check_key(key: str, what: str) -> None:
    if not key or len(key) > MAX_KEY_CHARS or not key.isprintable():
        raise InvalidRequest(
            f"{key!r} cannot be the key of a {what}: expected 1 to {MAX_KEY_CHARS} printable characters", key=key
        )
