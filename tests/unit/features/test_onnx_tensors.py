"""A model of ONNX is taken only as a whole: weights beside it would be under no digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from capstan.errors import InvalidDataError
from capstan.features.foreign import onnx_tensors
from capstan.features.foreign.onnx import session_of
from capstan.features.foreign.onnx_tensors import tensor_elsewhere

ROWS = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])
ANSWER = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 2])


def model(nodes: list[Any], tensors: list[Any]) -> Any:
    graph = helper.make_graph(nodes, "graph", [ROWS], [ANSWER], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def layers() -> Any:
    first = numpy_helper.from_array(np.ones((2, 64), np.float32), "first")
    second = numpy_helper.from_array(np.ones((64, 2), np.float32), "second")
    nodes = [
        helper.make_node("MatMul", ["rows", "first"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "second"], ["answer"]),
    ]
    return model(nodes, [first, second])


def elsewhere(name: str = "second") -> Any:
    tensor = numpy_helper.from_array(np.ones((2, 1), np.float32), name)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def constant(tensor: Any) -> Any:
    return helper.make_node("Constant", [], ["weights"], value=tensor)


def branch() -> Any:
    return helper.make_graph([constant(elsewhere())], "then", [], [ANSWER])


def test_weights_in_another_file_are_refused_although_onnxruntime_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(layers(), file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    # onnxruntime looks for the weights in the working directory.
    monkeypatch.chdir(tmp_path)
    onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])

    with pytest.raises(InvalidDataError, match=r"tensor 'second' lie in another file.*write it as one file"):
        session_of(file.read_bytes())


@pytest.mark.parametrize(
    ("made", "found"),
    [
        pytest.param(model([constant(elsewhere())], []), "second", id="of_a_node"),
        pytest.param(
            model([helper.make_node("If", ["rows"], ["answer"], then_branch=branch())], []),
            "second",
            id="of_a_graph_in_a_node",
        ),
        pytest.param(model([], [elsewhere("")]), "", id="without_a_name"),
        pytest.param(layers(), None, id="whole"),
    ],
)
def test_a_tensor_elsewhere_is_found_wherever_it_stands(made: Any, found: str | None) -> None:
    assert tensor_elsewhere(made.SerializeToString()) == found


def test_the_fields_in_which_tensors_lie_are_those_of_onnx() -> None:
    for name, inside in onnx_tensors._INSIDE.items():
        fields = getattr(onnx, name).DESCRIPTOR.fields
        there = {one.number: one.message_type.name for one in fields if one.message_type is not None}
        known = {number: kind for number, kind in there.items() if kind in onnx_tensors._INSIDE}
        assert inside == known


@pytest.mark.parametrize("content", [b"no graph", b"\x14\0\0\0ORTM", b"\x3a\x7f", b"\x08" + b"\xff" * 12])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidDataError, match="cannot read it as a model of ONNX"):
        session_of(content)
