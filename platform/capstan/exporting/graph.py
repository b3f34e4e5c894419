"""A graph of ONNX while it is written: each operation gives the name of what it makes.

Names of the graph's own begin with `/`. A column of a table may be called so too: an input gets its name first, and no
other tensor gets one that is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from capstan.errors import MissingExtraError

OPERATORS, ML_OPERATORS, FORMAT = 18, 5, 10
"""Versions of the operators and of the file: those that onnxruntime 1.20 reads. `ai.onnx.ml` 5 has trees of float64."""
_ML = "ai.onnx.ml"
Kind = Literal["number", "text", "truth", "whole"]
_TENSORS: Mapping[Kind, tuple[str, Any]] = {
    "number": ("DOUBLE", np.float64),
    "text": ("STRING", np.object_),
    "truth": ("BOOL", np.bool_),
    "whole": ("INT64", np.int64),
}


class Graph:
    """Nodes, constants, inputs and outputs. Raises MissingExtraError where `onnx` is not installed."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError("a graph of ONNX", "onnx") from error
        self._onnx: Any = onnx
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._taken: set[str] = set()

    # -- what goes in and out

    def input(self, name: str, kind: Kind) -> str:
        """One value for each row, (rows,)."""
        self._taken.add(name)
        self._inputs.append(self._info(name, kind, ["rows"]))
        return name

    def output(self, name: str, tensor: str, kind: Kind, *, width: int | None = None) -> str:
        """(rows,), or (rows, width). Its name ends in `_` where an input is called so."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self._nodes.append(self._onnx.helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(self._info(name, kind, ["rows"] if width is None else ["rows", width]))
        return name

    def model(self, name: str, words: str, facts: Mapping[str, str]) -> bytes:
        """The whole file, checked; `facts` are its metadata."""
        helper = self._onnx.helper
        nodes, tensors = self._needed()
        graph = helper.make_graph(nodes, name, self._inputs, self._outputs, tensors, doc_string=words)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPERATORS), helper.make_opsetid(_ML, ML_OPERATORS)],
            ir_version=FORMAT,
            producer_name="capstan",
            producer_version=version("capstan-mlops"),
        )
        helper.set_model_props(model, dict(facts))
        self._onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content

    def _needed(self) -> tuple[list[Any], list[Any]]:
        """Nodes and constants that the outputs come from: a baseline, for example, reads no column."""
        wanted = {one.name for one in self._outputs}
        nodes = []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        return nodes[::-1], [one for one in self._tensors if one.name in wanted]

    # -- constants and operations

    def constant(self, value: npt.ArrayLike) -> str:
        """Numbers as float64, whole numbers as int64; the same value is kept once."""
        array = np.asarray(value)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        elif array.dtype.kind == "f":
            array = array.astype(np.float64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = self._name("constant")
            kept = array.astype(object) if array.dtype.kind == "U" else array
            self._tensors.append(self._onnx.numpy_helper.from_array(kept, name))
        return self._constants[key]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The first output of one operation."""
        return self._node(kind, inputs, "", attributes)

    def ml(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The same of `ai.onnx.ml`; arrays among the attributes become tensors."""
        written = {
            name: self._onnx.numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
            for name, value in attributes.items()
        }
        return self._node(kind, inputs, _ML, written)

    def numbers(self, tensor: str) -> str:
        """Whole numbers or truths as float64."""
        return self.op("Cast", tensor, to=self._onnx.TensorProto.DOUBLE)

    def single(self, tensor: str) -> str:
        """Rounded to float32, and float64 again."""
        return self.numbers(self.op("Cast", tensor, to=self._onnx.TensorProto.FLOAT))

    def whole(self, tensor: str) -> str:
        return self.op("Cast", tensor, to=self._onnx.TensorProto.INT64)

    def beside(self, tensors: Sequence[str]) -> str:
        """Columns side by side."""
        return tensors[0] if len(tensors) == 1 else self.op("Concat", *tensors, axis=1)

    def column(self, tensor: str, at: int) -> str:
        """(rows, columns) -> (rows, 1)."""
        return self.op("Gather", tensor, self.constant(np.array([at])), axis=1)

    def flat(self, tensor: str) -> str:
        """(rows, 1) -> (rows,)."""
        return self.op("Squeeze", tensor, self.constant(np.array([1])))

    def upright(self, tensor: str) -> str:
        """(rows,) -> (rows, 1)."""
        return self.op("Unsqueeze", tensor, self.constant(np.array([1])))

    def sum(self, tensor: str, axis: int, *, keep: bool = True) -> str:
        return self.op("ReduceSum", tensor, self.constant(np.array([axis])), keepdims=int(keep))

    def is_no_number(self, tensor: str) -> str:
        """True for NaN and the infinities."""
        # Only they differ from themselves by something else than 0, which is NaN.
        return self.op("IsNaN", self.op("Sub", tensor, tensor))

    def _node(self, kind: str, inputs: Sequence[str], domain: str, attributes: Mapping[str, Any]) -> str:
        name = self._name(kind)
        node = self._onnx.helper.make_node(kind, list(inputs), [name], name, domain=domain, **attributes)
        self._nodes.append(node)
        return name

    def _name(self, kind: str) -> str:
        number = len(self._nodes) + len(self._tensors)
        while (name := f"/{kind}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name

    def _info(self, name: str, kind: Kind, shape: Sequence[str | int]) -> Any:
        held = getattr(self._onnx.TensorProto, _TENSORS[kind][0])
        return self._onnx.helper.make_tensor_value_info(name, held, list(shape))
