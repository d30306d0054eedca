"""Distributions and things in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mainspring.client.media.values import Encoded, Medium, array_of, of_file
from mainspring.core.errors import InvalidRequest
from mainspring.tracking.media.model import MediaKind

MAX_BINS = 1_000
MAX_POINTS = 1_000_000
_KINDS: dict[str, MediaKind] = dict.fromkeys((".glb", ".gltf", ".obj", ".stl", ".ply", ".pdb"), "object3d")


class Histogram(Medium):
    """How values are distributed: the values themselves, or *counts* and the *edges* between which they were counted.

    Values that are no finite numbers are counted apart.
    """

    def __init__(
        self, values: Any = None, *, bins: int = 64, counts: Any = None, edges: Any = None, caption: str | None = None
    ) -> None:
        self._values, self._bins, self._counts, self._edges = values, bins, counts, edges
        self._caption = caption

    def encode(self) -> Encoded:
        """Give it as the JSON object ``{"counts": [...], "edges": [...], "not_finite": n}``."""
        import numpy

        not_finite = 0
        if self._values is not None:
            if not 1 <= self._bins <= MAX_BINS:
                raise InvalidRequest(f"a histogram has 1 to {MAX_BINS} bins, not {self._bins}")
            values = array_of(self._values, "a histogram").ravel().astype(float)
            finite = values[numpy.isfinite(values)]
            not_finite = len(values) - len(finite)
            counts, edges = numpy.histogram(finite, bins=self._bins)
        elif self._counts is not None and self._edges is not None:
            counts, edges = array_of(self._counts, "counts").ravel(), array_of(self._edges, "edges").ravel()
        else:
            raise InvalidRequest("a histogram is made of values, or of counts and edges")
        if len(edges) != len(counts) + 1 or len(counts) > MAX_BINS or not numpy.all(numpy.diff(edges) > 0):
            raise InvalidRequest(
                f"{len(counts)} counts need {len(counts) + 1} edges that rise, there are {len(edges)}; at most "
                f"{MAX_BINS} counts"
            )
        shown = {"counts": counts.tolist(), "edges": edges.tolist(), "not_finite": not_finite}
        return Encoded("histogram", ".json", msgspec.json.encode(shown), self._caption, [len(counts)])


class Object3D(Medium):
    """A cloud of points, an array (points, 3), or (points, 6) with red, green and blue from 0 to 255; or a file."""

    def __init__(self, value: Any, caption: str | None = None) -> None:
        self._value, self._caption = value, caption

    def encode(self) -> Encoded:
        """Give points as PLY, a file as it is."""
        if isinstance(self._value, str | Path):
            return of_file(self._value, _KINDS, self._caption)
        import numpy

        points = array_of(self._value, "a cloud of points")
        if points.ndim != 2 or points.shape[1] not in (3, 6) or len(points) > MAX_POINTS:
            raise InvalidRequest(
                f"an array of the shape {points.shape} is no cloud of points: expected (points, 3) or (points, 6), "
                f"with at most {MAX_POINTS} points"
            )
        fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
        if points.shape[1] == 6:
            fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        rows = numpy.empty(len(points), dtype=fields)
        for number, (name, kind) in enumerate(fields):
            column = points[:, number]
            rows[name] = column.clip(0, 255) if kind == "u1" else column
        named = "".join(f"property {'uchar' if kind == 'u1' else 'float'} {name}\n" for name, kind in fields)
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{named}end_header\n"
        return Encoded("object3d", ".ply", header.encode() + rows.tobytes(), self._caption, [*points.shape])
