"""A model of ONNX, run by onnxruntime: one input of a matrix, or one input a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError, MissingExtraError, UnfitValueError
from capstan.features.foreign.answers import Floats, numbers, probabilities
from capstan.features.foreign.onnx_tensors import tensor_elsewhere

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


class OnnxModel:
    """Answers rows of a data frame by the graph; holds its bytes."""

    def __init__(
        self, content: bytes, columns: Sequence[str], output: str, classes: Sequence[object] | None
    ) -> None:
        """`columns`: those of the matrix, or of the inputs, in order. `output`: the name of the one that is read.

        `classes`: in the order of the probabilities; None: it predicts numbers.
        """
        self.content = content
        self.feature_names_in_ = list(columns)
        self.output = output
        if classes is not None:
            self.classes_ = list(classes)
        self._session = session_of(content)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._session = session_of(self.content)

    def predict(self, frame: Any) -> Floats:
        """(rows,); raises InvalidDataError for values that an input does not take."""
        return numbers(self.answers(frame), len(frame))

    def predict_proba(self, frame: Any) -> Floats:
        """(rows, classes); the same."""
        found = self.answers(frame)
        if isinstance(found, list):
            found = [[one[name] for name in self.classes_] for one in found]
        return probabilities(found, len(frame))

    def answers(self, frame: Any) -> Any:
        """What the output holds: an array, or a map from class to probability for each row."""
        inputs = self._session.get_inputs()
        feed = feed_of(inputs, self.feature_names_in_, frame)
        most = inputs[0].shape[0] if inputs[0].shape else None
        try:
            if most != 1 or len(frame) == 1:
                return self._session.run([self.output], feed)[0]
            # The graph takes one row at a time.
            each = [
                self._session.run(
                    [self.output], {name: values[row : row + 1] for name, values in feed.items()}
                )
                for row in range(len(frame))
            ]
        except Exception as error:
            raise InvalidDataError(f"onnxruntime: {error}") from error
        if isinstance(each[0][0], list):
            return [one for found in each for one in found[0]]
        return np.concatenate([np.atleast_1d(found[0]) for found in each])


def session_of(content: bytes) -> Any:
    """The graph, ready to run on one core; raises MissingExtraError, InvalidDataError."""
    if find_spec("onnxruntime") is None:
        raise MissingExtraError("a model of ONNX", "onnx")
    import onnxruntime

    _require_whole(content)
    options = onnxruntime.SessionOptions()
    # A service answers several requests at once: threads of one would only wait for those of another.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Not the format of its own, in which nobody has looked for weights that lie elsewhere.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidDataError(
            f"onnxruntime cannot read it as a model of ONNX: {error}; write it as one file, without external data or "
            "operators of your own"
        ) from error


def _require_whole(content: bytes) -> None:
    """Raises InvalidDataError where values of a tensor lie in another file, which the model's digest does not cover."""
    try:
        name = tensor_elsewhere(content)
    except ValueError as error:
        raise InvalidDataError(f"onnxruntime cannot read it as a model of ONNX: {error}") from error
    if name is not None:
        raise InvalidDataError(
            f"values of its tensor {name!r} lie in another file, which no digest holds; write it as one file, such as "
            "by onnx.save(onnx.load(path), other_path)"
        )


def columns_of(session: Any, columns: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """What the graph's inputs read, in order; raises InvalidDataError that says what is wrong with them.

    `columns`: what the person says. `known`: the columns that the file has features of.
    """
    inputs = session.get_inputs()
    for one in inputs:
        if one.type not in _TYPES:
            raise InvalidDataError(
                f"its input {one.name!r} is {one.type}; it must be one of {', '.join(_TYPES)}"
            )
        if len(one.shape) not in (1, 2) or (isinstance(one.shape[0], int) and one.shape[0] != 1):
            raise InvalidDataError(
                f"its input {one.name!r} has shape {one.shape}; it must be (rows, columns), of any "
                "number of rows or of one"
            )
    if _is_matrix(inputs, known):
        width = inputs[0].shape[1]
        if columns is None:
            raise InvalidDataError(
                f"it reads one matrix, {inputs[0].name!r}, and does not say which columns it learnt from; name them in "
                "order by `columns`"
            )
        if isinstance(width, int) and width != len(columns):
            raise InvalidDataError(f"columns: it learnt from {width} columns, and {len(columns)} are named")
        return list(columns)
    wide = next((one for one in inputs if len(one.shape) == 2 and one.shape[1] not in (1, None)), None)
    if wide is not None:
        raise InvalidDataError(
            f"its input {wide.name!r} has shape {wide.shape} beside others; it must have one matrix, or one "
            "input a column"
        )
    if columns is not None and len(columns) != len(inputs):
        raise InvalidDataError(f"columns: it has {len(inputs)} inputs, and {len(columns)} are named")
    return list(columns) if columns is not None else [one.name for one in inputs]


def _is_matrix(inputs: Sequence[Any], known: Sequence[str]) -> bool:
    return len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in known


def require_types(session: Any, columns: Sequence[str], numeric: frozenset[str]) -> None:
    """Raises InvalidDataError where an input takes numbers and the column is none, or the other way round."""
    inputs = session.get_inputs()
    each = inputs if len(inputs) == len(columns) else inputs * len(columns)
    for one, column in zip(each, columns, strict=True):
        takes_text = one.type == "tensor(string)"
        if takes_text == (column in numeric):
            is_, wanted = ("a number", "texts") if takes_text else ("a category", f"numbers, {one.type}")
            raise InvalidDataError(
                f"{column!r} is {is_} in the file, but its input {one.name!r} takes {wanted}"
            )


def output_of(session: Any, method: str) -> str:
    """The name of the output that answers; raises InvalidDataError where several may."""
    outputs = session.get_outputs()
    maps = [one for one in outputs if one.type.startswith("seq(map(")]
    floats = [one for one in outputs if one.type in _FLOATS]
    if method == "predict_proba":
        found = maps or [one for one in floats if "prob" in one.name.lower()] or floats
    else:
        found = floats
    if len(found) == 1:
        return str(found[0].name)
    there = ", ".join(f"{one.name} ({one.type})" for one in outputs)
    wanted = "probabilities" if method == "predict_proba" else "one number a row"
    raise InvalidDataError(
        f"its outputs are {there}; one of them, and no other, must hold {wanted} as floats"
    )


def feed_of(inputs: Sequence[Any], columns: Sequence[str], frame: Any) -> dict[str, Any]:
    """What the graph is run with; raises InvalidDataError for values that an input does not take."""
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and (len(columns) > 1 or inputs[0].name not in columns):
        values = [_values(inputs[0], name, frame[name]) for name in columns]
        return {inputs[0].name: np.column_stack(values)}
    feed = {}
    for one, name in zip(inputs, columns, strict=True):
        values_of_one = _values(one, name, frame[name])
        feed[one.name] = values_of_one.reshape(-1, 1) if len(one.shape) == 2 else values_of_one
    return feed


def _values(one: Any, column: str, values: Any) -> Any:
    wanted = _TYPES[one.type]
    if wanted is np.object_:
        if any(value is None for value in values):
            raise UnfitValueError(
                column, None, f"is missing, and the model's input {one.name!r} takes texts only"
            )
        return np.array([str(value) for value in values], dtype=object)
    found = np.asarray(values, dtype=np.float64)
    if not np.issubdtype(wanted, np.floating):
        limits = (0, 1) if wanted is np.bool_ else (np.iinfo(wanted).min, np.iinfo(wanted).max)  # type: ignore[type-var]
        strange = ~((found == np.floor(found)) & (found >= limits[0]) & (found <= limits[1]))
        if strange.any():
            first = float(found[strange][0])
            value = None if np.isnan(first) else first
            said = "missing" if value is None else f"{value:g}"
            raise UnfitValueError(
                column, value, f"is {said}, which the model's input {one.name!r}, {one.type}, can't hold"
            )
    return found.astype(wanted)
