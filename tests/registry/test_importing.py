import pickle

import pytest

from mainspring.core.errors import InvalidData, NotFound
from mainspring.registry.importing import import_model
from mainspring.registry.signature import decode_info
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.tree import get_tree, put_tree, tree_entries
from tests.registry.graphs import INFO, columns_graph, matrix_graph
from tests.registry.mlflow_reader import open_with_mlflow, unwarned


def paths(objects, digest):
    return {entry.path: entry for entry in tree_entries(objects, digest)}


def test_an_onnx_file_becomes_a_model_folder_that_mlflow_opens(objects, tmp_path):
    found = import_model(objects, objects.put_bytes(matrix_graph()))
    assert found.info.signature.inputs[0].shape == [-1, 4]
    assert (found.info.task, found.info.classes, found.info.engine) == ("multiclass", [0, 1, 2], "onnx")
    assert {"MLmodel", "model.onnx", "mainspring.json", "requirements.txt"} <= set(paths(objects, found.digest))
    assert found.size_bytes == sum(entry.size for entry in tree_entries(objects, found.digest))
    get_tree(objects, found.digest, tmp_path / "m")
    assert open_with_mlflow(tmp_path / "m").metadata.get_input_schema().input_names() == ["X"]


def test_a_graph_of_columns_has_columns_in_its_signature(objects):
    found = import_model(objects, objects.put_bytes(columns_graph()), task="binary", classes=["no", "yes"])
    assert [(f.name, f.type, f.shape) for f in found.info.signature.inputs] == [
        ("x", "float", None),
        ("town", "string", None),
    ]
    assert found.info.classes == ["no", "yes"]


def test_a_graph_that_answers_with_names_has_no_task_until_its_classes_are_told(objects):
    found = import_model(objects, objects.put_bytes(columns_graph()))
    assert (found.info.task, found.info.classes) == (None, None)
    told = import_model(objects, objects.put_bytes(columns_graph()), classes=["no", "yes"])
    assert (told.info.task, told.info.classes) == ("binary", ["no", "yes"])


def test_a_folder_with_its_facts_stays_as_it_is(objects, digest):
    found = import_model(objects, digest)
    assert found.digest == digest
    assert found.info == INFO


def test_a_folder_of_one_onnx_file_is_that_file(objects, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "best.onnx").write_bytes(matrix_graph())
    assert import_model(objects, put_tree(objects, tmp_path / "one")).info.task == "multiclass"


def test_facts_are_added_to_a_folder_that_mlflow_wrote(objects, tmp_path):
    with unwarned():
        import mlflow
        import onnx

        mlflow.onnx.save_model(onnx.load_from_string(matrix_graph()), str(tmp_path / "m"))
    before = put_tree(objects, tmp_path / "m")
    found = import_model(objects, before)
    assert found.info.engine == "onnx"
    assert [f.name for f in found.info.signature.inputs] == ["X"]
    assert found.digest != before
    entry = paths(objects, found.digest)["mainspring.json"]
    assert decode_info(objects.get_bytes(entry.digest)) == found.info
    assert import_model(objects, found.digest).digest == found.digest


def mlflow_sklearn(folder, signature):
    with unwarned():
        import mlflow
        import pandas
        from sklearn.linear_model import LinearRegression

        frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0]})
        model = LinearRegression().fit(frame, [2.0, 4.0, 6.0])
        options = {"signature": mlflow.models.infer_signature(frame, [2.0])} if signature else {}
        mlflow.sklearn.save_model(model, str(folder), serialization_format="cloudpickle", **options)


def test_a_pickled_model_is_for_a_process_of_its_own(objects, tmp_path):
    mlflow_sklearn(tmp_path / "m", signature=True)
    found = import_model(objects, put_tree(objects, tmp_path / "m"))
    assert (found.info.engine, found.info.task) == ("process", "regression")
    assert [f.name for f in found.info.signature.inputs] == ["a"]


def test_a_pickled_model_without_a_signature_is_refused(objects, tmp_path):
    mlflow_sklearn(tmp_path / "m", signature=False)
    with pytest.raises(InvalidData, match="input_example"):
        import_model(objects, put_tree(objects, tmp_path / "m"))


class Bomb:
    def __reduce__(self):
        return (print, ("this was run",))


def test_nothing_is_unpickled_on_the_way_in(objects, tmp_path, capsys):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    (folder / "MLmodel").write_text(
        "flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}}\n"
        'signature: {inputs: \'[{"type":"double","name":"a","required":true}]\'}\n'
    )
    assert import_model(objects, put_tree(objects, folder)).info.engine == "process"
    assert capsys.readouterr().out == ""


def test_what_is_no_model_is_refused(objects, tmp_path):
    with pytest.raises(InvalidData, match="no ONNX graph"):
        import_model(objects, objects.put_bytes(b"hello"))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "readme").write_text("hello")
    with pytest.raises(InvalidData, match="no MLmodel file"):
        import_model(objects, put_tree(objects, tmp_path / "m"))
    (tmp_path / "m" / "MLmodel").write_text("flavors: {onnx: {data: gone.onnx}}")
    with pytest.raises(InvalidData, match=r"gone\.onnx"):
        import_model(objects, put_tree(objects, tmp_path / "m"))


def test_an_object_that_is_not_there_is_not_found(objects):
    with pytest.raises(NotFound):
        import_model(objects, digest_of(b"nothing"))
