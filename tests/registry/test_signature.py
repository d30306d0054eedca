import msgspec
import pytest
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema

from mainspring.core.errors import InvalidData, Unsupported
from mainspring.registry.signature import (
    Field,
    ModelInfo,
    Signature,
    decode_fields,
    decode_info,
    decode_signature,
    encode_fields,
    encode_info,
    encode_signature,
)

COLUMNS = [Field("x", "double"), Field("n", "long", nullable=False), Field("s", "string"), Field("at", "datetime")]


def test_mlflow_reads_the_columns_that_we_write():
    signature = encode_signature(Signature(COLUMNS, [Field("label", "string")]))
    read = ModelSignature.from_dict(signature)
    assert read.inputs.input_names() == ["x", "n", "s", "at"]
    assert [str(kind) for kind in read.inputs.input_types()] == [
        f"DataType.{kind}" for kind in ("double", "long", "string", "datetime")
    ]
    assert read.inputs.required_input_names() == ["n"]
    assert read.outputs.input_names() == ["label"]


def test_what_mlflow_writes_comes_back_as_the_same_fields():
    schema = Schema.from_json(encode_fields(COLUMNS))
    assert decode_fields(schema.to_json()) == COLUMNS


def test_a_tensor_keeps_its_shape_and_type_through_mlflow():
    tensor = Field("X", "float", nullable=False, shape=[-1, 4])
    schema = Schema.from_json(encode_fields([tensor]))
    assert schema.numpy_types()[0].name == "float32"
    assert decode_fields(schema.to_json()) == [tensor]
    assert Signature([tensor], []).tensors
    assert not Signature(COLUMNS, []).tensors


def test_an_unnamed_column_is_named_by_its_place():
    assert [field.name for field in decode_fields('[{"type":"double"},{"type":"long"}]')] == ["0", "1"]


def test_the_old_word_optional_still_means_nullable():
    assert decode_fields('[{"type":"double","name":"x","optional":true}]')[0].nullable
    assert not decode_fields('[{"type":"double","name":"x"}]')[0].nullable


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name":"x"}]', "nonsense"])
def test_a_malformed_signature_is_refused(text):
    with pytest.raises(InvalidData, match="malformed"):
        decode_fields(text)


@pytest.mark.parametrize(
    "text",
    [
        '[{"type":"array","items":{"type":"double"},"name":"x"}]',
        '[{"type":"binary","name":"x"}]',
        '[{"type":"tensor","name":"x","tensor-spec":{"dtype":"complex64","shape":[-1]}}]',
    ],
)
def test_a_type_that_cannot_be_served_is_named(text):
    with pytest.raises(Unsupported, match="'x'"):
        decode_fields(text)


def test_a_signature_without_outputs_is_read():
    assert decode_signature({"inputs": '[{"type":"double","name":"x","required":true}]', "outputs": None}) == Signature(
        [Field("x", "double", nullable=False)], []
    )


def test_the_facts_of_a_model_survive_the_file():
    info = ModelInfo(
        signature=Signature([Field("s", "string", kind="categorical", levels=["a", "b"])], [Field("label", "long")]),
        task="binary",
        classes=[0, 1],
        metric="accuracy",
        trained_on=["dataset:trips@3"],
        dropped={"id": "a different value in every row"},
    )
    assert decode_info(encode_info(info)) == info


def test_malformed_facts_are_refused():
    with pytest.raises(InvalidData, match=r"mainspring\.json"):
        decode_info(b'{"signature": 3}')


def test_text_classes_stay_text():
    info = ModelInfo(signature=Signature([], []), classes=["no", "yes"])
    assert decode_info(encode_info(info)).classes == ["no", "yes"]
    assert msgspec.json.decode(encode_info(info))["classes"] == ["no", "yes"]
