"""Models open as sessions: ONNX graphs of any shape in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from mainspring.core.errors import Forbidden, InvalidData, InvalidRequest, NotFound, Unsupported
from mainspring.registry.signature import Field, Signature
from mainspring.serving.engine.checking import Rows, Tensor
from mainspring.serving.engine.session import open_session
from tests.serving import models


def test_the_signature_of_a_bare_graph_is_read_from_it(tmp_path: Path) -> None:
    session = open_session(models.sum_model(tmp_path) / "model.onnx")
    assert session.signature.inputs == [Field("X", "float", nullable=False, shape=[-1, 3])]
    assert [(one.name, one.datatype, one.shape) for one in session.outputs] == [("prediction", "FP32", [-1, 1])]


def test_one_run_over_several_parts_keeps_their_order(tmp_path: Path) -> None:
    session = open_session(models.sum_model(tmp_path))
    found = session.run([Rows(1, [1.0, 2.0, 3.0]), Rows(2, [0.0, 0.0, 1.0, 5.0, 5.0, 5.0])])
    assert found == [[[1006.0], [1001.0], [1015.0]]]


def test_column_graphs_take_values_nulls_and_times(tmp_path: Path) -> None:
    session = open_session(models.column_model(tmp_path))
    columns = {"age": [30.5, 40.0], "visits": [1, 2], "city": ["Basel", None], "member": [True, False]}
    rows = session.layout.columns({**columns, "since": ["2024-05-01", None]})
    assert session.run([rows, rows]) == [[[232.5], [42.0], [232.5], [42.0]]]
    first = {name: values[:1] for name, values in columns.items()}
    rows = session.layout.columns(first | {"age": [None], "since": [0]})
    assert np.isnan(session.run([rows])[0][0][0])


def test_predict_scores_whole_columns_of_any_array_kind(tmp_path: Path) -> None:
    session = open_session(models.column_model(tmp_path))
    count = 20_000
    scored = session.predict(
        {
            "age": np.arange(count, dtype=np.float64),
            "visits": np.ones(count, dtype=np.int32),
            "city": np.array(["Bern", None] * (count // 2), dtype=object),
            "since": np.full(count, np.datetime64("2024-01-01", "us")),
            "member": np.array([True] * count),
        }
    )
    assert scored["prediction"].shape == (count, 1)
    assert scored["prediction"][:2].ravel().tolist() == [102.0, 3.0]
    assert scored["prediction"][-1, 0] == count - 1 + 2


def test_predict_names_the_column_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="column 'visits' is missing"):
        open_session(models.column_model(tmp_path)).predict({"age": [1.0]})


def test_a_number_beyond_32_bits_is_refused_at_the_latest_before_the_run(tmp_path: Path) -> None:
    session = open_session(models.sum_model(tmp_path))
    with pytest.raises(InvalidRequest, match=r"column 'X', row 1: came the number 1e\+39"):
        session.run([Rows(1, [1.0, 1e39, 0.0])])
    assert session.run([Rows(1, [1e30, 1e30, 1e30])])[0][0][0] == pytest.approx(3e30)


def test_a_graph_with_a_fixed_batch_says_that_its_runs_cannot_be_shared(tmp_path: Path) -> None:
    session = open_session(models.sum_model(tmp_path, rows=1))
    rows = session.layout.tensors([Tensor("X", "FP32", [1, 3], [1.0, 2.0, 3.0])])
    assert rows.shape == ((1, 3),)
    assert session.run([rows]) == [[[1006.0]]]
    with pytest.raises(InvalidRequest, match=r"shape \[2, 3\]; expected \[1, 3\]"):
        session.layout.tensors([Tensor("X", "FP32", [2, 3], [1.0] * 6)])


def test_maps_of_a_zipmap_become_rows_of_probabilities(tmp_path: Path) -> None:
    models._save(
        tmp_path,
        [helper.make_node("ZipMap", ["X"], ["chances"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_value_info(
                "chances",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
        [],
    )
    assert open_session(tmp_path).run([Rows(1, [0.25, 0.5, 0.25])]) == [[[0.25, 0.5, 0.25]]]


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="/nowhere/at/all"):
        open_session("/nowhere/at/all")


def test_a_broken_graph_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"this is no graph")
    with pytest.raises(InvalidData, match=r"does not load as an ONNX graph.*export the model again"):
        open_session(tmp_path)


def test_a_signature_of_another_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"the inputs of .* are X, but its signature says y"):
        open_session(models.sum_model(tmp_path), signature=Signature([Field("y", "float", shape=[-1, 3])], []))


def test_an_input_that_no_client_can_send_is_refused(tmp_path: Path) -> None:
    models._save(
        tmp_path,
        [helper.make_node("Identity", ["X"], ["Y"])],
        [helper.make_tensor_value_info("X", TensorProto.COMPLEX64, ["N"])],
        [helper.make_tensor_value_info("Y", TensorProto.COMPLEX64, ["N"])],
        [],
    )
    with pytest.raises((Unsupported, InvalidData)):
        open_session(tmp_path)


def test_code_of_a_model_that_is_not_trusted_never_runs(tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="runs code that came with it"):
        open_session(models.pickled(tmp_path, models.Sulky()))
