"""What onnxruntime raises: its exceptions have no common base but Exception."""

from __future__ import annotations

from onnxruntime.capi import onnxruntime_pybind11_state

_RAISED = [
    raised
    for raised in vars(onnxruntime_pybind11_state).values()
    if isinstance(raised, type) and issubclass(raised, Exception)
]
ONNX_FAILURES: tuple[type[Exception], ...] = (RuntimeError, ValueError, *_RAISED)
