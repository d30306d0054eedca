"""Durations and sizes as people write them: ``90s``, ``15m``, ``7d``, ``64MiB``."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise

from mainspring.core.errors import InvalidRequest

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``1.5h`` or a sum such as ``1h30m``; raises InvalidRequest for anything else."""
    parts = _NUMBER.findall(text)
    if not parts or "".join(a + b for a, b in parts) != re.sub(r"\s", "", text):
        raise InvalidRequest(f"{text!r} is not a duration: write 500ms, 90s, 15m, 2h, 7d or 1w", duration=text)
    total = 0.0
    for number, unit in parts:
        if unit not in _SECONDS:
            raise InvalidRequest(
                f"{text!r} is not a duration: unknown unit {unit!r}; known: {', '.join(_SECONDS)}", duration=text
            )
        total += float(number) * _SECONDS[unit]
    try:
        return timedelta(seconds=total)
    except OverflowError:
        raise InvalidRequest(f"{text!r} is too long a duration", duration=text) from None


def format_duration(duration: timedelta | float) -> str:
    """Write a duration with its largest unit and the next smaller one, rounded: ``3d4h``, ``1m30s``, ``250ms``."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.3g}s"
    for large, small in pairwise(("w", "d", "h", "m", "s")):
        step = int(_SECONDS[small])
        rounded = round(seconds / step) * step
        if rounded >= _SECONDS[large]:
            count, rest = divmod(rounded, int(_SECONDS[large]))
            return f"{count}{large}" + (f"{rest // step}{small}" if rest else "")
    return f"{round(seconds)}s"


def parse_bytes(text: str) -> int:
    """Read ``512``, ``64MiB`` or ``1.5 GB``; raises InvalidRequest for anything else."""
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in _BYTES:
        raise InvalidRequest(f"{text!r} is not a size: write 512, 64KiB, 10MB or 2GiB", size=text)
    size = float(match[1]) * _BYTES[match[2].lower()]
    if size >= 2**63:
        raise InvalidRequest(f"{text!r} is too large a size", size=text)
    return int(size)


def format_bytes(size: int) -> str:
    """Write a size in binary units with three digits."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g}{unit}" if unit != "B" else f"{size}B"
        value /= 1024
    return f"{value:.3g}TiB"
