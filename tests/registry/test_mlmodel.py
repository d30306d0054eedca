import numpy as np
import pandas
import pytest
import yaml

from mainspring.core.errors import InvalidData, Unsupported
from mainspring.registry.mlmodel import read_mlmodel, write_onnx_folder
from mainspring.registry.signature import Field, ModelInfo, Signature, decode_info
from tests.registry.graphs import INFO, columns_folder, matrix_graph
from tests.registry.mlflow_reader import open_with_mlflow, predict_with_mlflow


def test_mlflow_opens_a_model_of_columns_and_predicts(tmp_path):
    model = open_with_mlflow(columns_folder(tmp_path / "m"))
    frame = pandas.DataFrame(
        {"x": [1.0, -1.0, np.nan, -5.0], "town": ["Bonn", "Bonn", None, "Ulm"]}, index=[4, 5, 6, 7]
    )
    found = predict_with_mlflow(model, frame)
    assert found["label"].tolist() == ["yes", "no", "no", "yes"]
    assert list(found.index) == [4, 5, 6, 7]
    np.testing.assert_allclose(found["probability_yes"], [0.731, 0.269, 0.5, 1], atol=1e-3)
    assert model.input_example["town"].tolist()[0] == "Ulm"
    assert model.input_example["town"].isna().tolist() == [False, True]
    assert model.metadata.get_input_schema().input_names() == ["x", "town"]


def test_a_column_that_may_be_missing_may_be_left_out(tmp_path):
    model = open_with_mlflow(columns_folder(tmp_path / "m"))
    assert predict_with_mlflow(model, pandas.DataFrame({"x": [3.0]}))["label"].tolist() == ["yes"]


def test_mlflow_opens_a_model_of_one_matrix(tmp_path):
    info = ModelInfo(signature=Signature([Field("X", "float", nullable=False, shape=[-1, 4])], []), task="multiclass")
    write_onnx_folder(tmp_path / "m", matrix_graph(), info)
    model = open_with_mlflow(tmp_path / "m")
    found = predict_with_mlflow(model, np.eye(4, dtype=np.float32))
    assert found["label"].tolist() == [2, 2, 2, 2]
    assert found["probabilities"].shape == (4, 3)


def test_the_folder_says_how_to_make_its_environment(tmp_path):
    folder = columns_folder(tmp_path / "m")
    pins = (folder / "requirements.txt").read_text().split()
    assert [pin.partition("==")[0] for pin in pins] == ["numpy", "onnxruntime", "pandas"]
    conda = yaml.safe_load((folder / "conda.yaml").read_text())
    assert conda["dependencies"][-1] == {"pip": pins}
    assert "python" in yaml.safe_load((folder / "python_env.yaml").read_text())


def test_what_we_write_we_read(tmp_path):
    folder = columns_folder(tmp_path / "m")
    said = read_mlmodel((folder / "MLmodel").read_bytes())
    assert (said.engine, said.onnx_file) == ("onnx", "model.onnx")
    assert [field.name for field in said.signature.inputs] == ["x", "town"]
    assert len(said.uuid) == 32
    assert decode_info((folder / "mainspring.json").read_bytes()) == INFO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\tx: [", "no YAML"),
        (b"- 1", "no flavors"),
        (b"flavors: 3", "no flavors"),
        (b"flavors: {onnx: null}", "no flavors"),
        (b"!!python/object/apply:os.system ['true']", "no YAML"),
    ],
)
def test_a_file_that_is_no_mlmodel_is_refused(text, said):
    with pytest.raises(InvalidData, match=said):
        read_mlmodel(text)


def test_a_signature_that_cannot_be_served_is_refused():
    signature = 'signature: {inputs: \'[{"type":"binary","name":"photo"}]\'}'
    with pytest.raises(Unsupported, match="photo"):
        read_mlmodel(f"flavors: {{python_function: {{loader_module: x}}}}\n{signature}".encode())
