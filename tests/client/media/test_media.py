"""What the caller has becomes a file that other programs read, or is refused with what was expected."""

from __future__ import annotations

import io
import math
import wave
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest

import mainspring
from mainspring.client.media.values import Medium
from mainspring.core.errors import InvalidRequest
from tests.registry.graphs import matrix_graph

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_an_array_becomes_a_png_of_the_same_pixels(channels: int | None) -> None:
    shape = (13, 7) if channels is None else (13, 7, channels)
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    encoded = mainspring.Image(pixels, caption="c").encode()
    image = PIL.Image.open(io.BytesIO(encoded.data))
    image.load()
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert (encoded.kind, encoded.suffix, encoded.caption) == ("image", ".png", "c")
    assert encoded.shape == [13, 7, channels or 1]


def test_fractions_booleans_and_channels_in_front_are_understood() -> None:
    def seen(value: Any) -> Any:
        return np.asarray(PIL.Image.open(io.BytesIO(mainspring.Image(value).encode().data)))

    assert seen(np.array([[0.0, 0.5, 1.0, 2.0, -1.0, math.nan]])).tolist() == [[0, 128, 255, 255, 0, 0]]
    assert seen(np.array([[True, False]])).tolist() == [[255, 0]]
    front = RANDOM.integers(0, 256, (3, 8, 9), dtype=np.uint8)
    assert np.array_equal(seen(front), front.transpose(1, 2, 0))


def test_images_of_pillow_and_files_are_kept(tmp_path: Path) -> None:
    image = PIL.Image.new("CMYK", (4, 5), (0, 255, 0, 0))
    encoded = mainspring.Image(image).encode()
    assert (encoded.shape, PIL.Image.open(io.BytesIO(encoded.data)).mode) == ([5, 4, 3], "RGB")
    image.convert("RGB").save(tmp_path / "a.jpg")
    assert mainspring.Image(tmp_path / "a.jpg").encode().data == (tmp_path / "a.jpg").read_bytes()


def test_sound_becomes_wav() -> None:
    tone = np.stack([np.sin(np.arange(1600) / 10), np.full(1600, 2.0)], axis=1)
    encoded = mainspring.Audio(tone, rate=16_000).encode()
    with wave.open(io.BytesIO(encoded.data)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 16_000, 1600)
        samples = np.frombuffer(file.readframes(1600), "<i2").reshape(-1, 2)
    assert np.allclose(samples[:, 0] / 32767, tone[:, 0], atol=1e-4)
    assert samples[0, 1] == 32767
    assert encoded.facts == {"rate_hz": 16_000, "duration_s": 0.1}


COLUMNS = {"a": [1, 2], "b": ["x", None], "c": [0.5, math.nan]}


@pytest.mark.parametrize(
    "table",
    [
        lambda: mainspring.Table(pd.DataFrame(COLUMNS)),
        lambda: mainspring.Table(pl.DataFrame(COLUMNS)),
        lambda: mainspring.Table(pa.table(COLUMNS)),
        lambda: mainspring.Table([[1, "x", 0.5], [2, None, math.nan]], columns=["a", "b", "c"]),
        lambda: mainspring.Table([{"a": 1, "b": "x", "c": 0.5}, {"a": np.int64(2)}]),
    ],
    ids=["pandas", "polars", "pyarrow", "rows", "mappings"],
)
def test_a_table_of_any_library_is_the_same_json(table: Any) -> None:
    encoded = table().encode()
    assert msgspec.json.decode(encoded.data) == {"columns": ["a", "b", "c"], "data": [[1, "x", 0.5], [2, None, None]]}
    assert encoded.shape == [2, 3]


def test_values_that_json_does_not_know_are_written_in_words() -> None:
    row = [date(2024, 1, 2), Decimal("1.50"), math.inf, 2**70, {"deep": [1]}, object]
    (shown,) = msgspec.json.decode(mainspring.Table([row], columns=list("abcdef")).encode().data)["data"]
    assert shown[:5] == ["2024-01-02", "1.50", "inf", str(2**70), {"deep": [1]}]


def test_a_histogram_counts_values_or_takes_counts() -> None:
    values = np.array([0.0, 1.0, 1.0, 2.0, math.nan, math.inf])
    counted = msgspec.json.decode(mainspring.Histogram(values, bins=2).encode().data)
    assert counted == {"counts": [1, 3], "edges": [0.0, 1.0, 2.0], "not_finite": 2}
    given = msgspec.json.decode(mainspring.Histogram(counts=[3, 4], edges=[0, 1, 5]).encode().data)
    assert given == {"counts": [3, 4], "edges": [0, 1, 5], "not_finite": 0}


def test_a_cloud_of_points_becomes_ply() -> None:
    points = np.array([[0, 1, 2, 255, 0, 300], [3, 4, 5, 1, 2, 3]], dtype=float)
    encoded = mainspring.Object3D(points).encode()
    header, _, rows = encoded.data.partition(b"end_header\n")
    assert b"element vertex 2\n" in header
    kinds = [("p", "<f4", 3), ("c", "u1", 3)]
    read = np.frombuffer(rows, dtype=kinds)
    assert (read["p"].tolist(), read["c"].tolist()) == ([[0, 1, 2], [3, 4, 5]], [[255, 0, 255], [1, 2, 3]])


def test_the_graph_of_a_model_is_its_nodes_and_what_joins_them(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(matrix_graph())
    model = onnx.load_from_string(matrix_graph())
    encoded = mainspring.ModelGraph(tmp_path / "m.onnx").encode()
    graph = msgspec.json.decode(encoded.data)
    assert mainspring.ModelGraph(model).encode().data == encoded.data
    assert [node["op"] for node in graph["nodes"]] == [node.op_type for node in model.graph.node]
    assert [value["name"] for value in graph["inputs"]] == [value.name for value in model.graph.input]
    assert graph["parameters"] > 0
    assert encoded.facts["framework"] == "onnx"


def test_texts_and_pages_are_utf_8(tmp_path: Path) -> None:
    assert mainspring.Text("häß").encode().data == "häß".encode()
    (tmp_path / "a.html").write_text("<p>hi</p>")
    assert mainspring.Html(tmp_path / "a.html").encode().data == mainspring.Html("<p>hi</p>").encode().data


def test_figures_of_matplotlib_stay_sharp_and_are_images_too() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    encoded = mainspring.Figure(figure).encode()
    assert (encoded.suffix, b"<svg" in encoded.data) == (".svg", True)
    assert mainspring.Image(figure).encode().shape == [50, 100]


def test_figures_of_plotly_stay_figures() -> None:
    graphs = pytest.importorskip("plotly.graph_objects")
    encoded = mainspring.Figure(graphs.Figure(graphs.Scatter(x=[1], y=[2]))).encode()
    assert encoded.suffix == ".plotly.json"
    assert msgspec.json.decode(encoded.data)["data"][0]["type"] == "scatter"


@pytest.mark.parametrize(
    ("medium", "words"),
    [
        (mainspring.Image(np.zeros((5, 6, 7))), r"\(height, width\)"),
        (mainspring.Image(np.zeros((0, 3))), r"\(height, width\)"),
        (mainspring.Image(["a", "b"]), "expected numbers"),
        (mainspring.Image("nowhere.png"), "cannot be read"),
        (mainspring.Image("a.exe"), "expected one of .png"),
        (mainspring.Audio(np.zeros(4)), "rate in hertz"),
        (mainspring.Audio(np.zeros((4, 4, 4)), rate=1), "samples, channels"),
        (mainspring.Table([[1, 2]]), "names of its columns"),
        (mainspring.Table([[1, 2]], columns=["a"]), "a row of the table has 2"),
        (mainspring.Histogram(), "values, or of counts"),
        (mainspring.Histogram(counts=[1], edges=[1]), "edges that rise"),
        (mainspring.Histogram(counts=[1, 2], edges=[1, 3, 2]), "edges that rise"),
        (mainspring.Object3D(np.zeros((3, 4))), r"\(points, 3\)"),
        (mainspring.Figure(object()), "Matplotlib or Plotly"),
        (mainspring.ModelGraph(object()), "Torch"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_was_expected(medium: Medium, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        medium.encode()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidRequest, match="no ONNX file"):
        mainspring.ModelGraph(tmp_path / "m.onnx").encode()
