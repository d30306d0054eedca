"""The peer: FastAPI on uvicorn, a pydantic request model, the same ONNX model; in an environment of its own."""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Inference(BaseModel):
    inputs: list[Tensor]
    id: str | None = None


def application(model: str) -> FastAPI:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.post("/v2/models/churn/infer")
    async def infer(request: Inference) -> dict:
        tensor = request.inputs[0]
        if tensor.name != "X" or len(tensor.data) != 30:
            raise HTTPException(400, "X: expected 30 numbers")
        row = np.array(tensor.data, dtype=np.float32).reshape(-1, 30)
        label, probabilities = session.run(["label", "probabilities"], {"X": row})
        return {
            "model_name": "churn",
            "model_version": "1",
            "id": request.id,
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": [1], "data": label.tolist()},
                {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": probabilities[0].tolist()},
            ],
        }

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False, loop="uvloop",
        http="httptools",
    )  # fmt: skip
