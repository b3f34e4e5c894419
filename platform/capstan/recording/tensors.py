"""Rows and predictions out of the tensors of the Open Inference Protocol (V2), as a log holds them.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from typing import Any

from capstan.errors import InvalidRequestError
from capstan.recording.payloads import MOST_EVENTS

Row = dict[str, Any]
ANSWERS = ("probability", "value", "probabilities")
"""Outputs that are the prediction, where a model has several; else the first of numbers."""
_NUMBERS = ("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


def request_rows(document: object) -> list[Row]:
    """One row for each leading index of the inputs; several values a row become `name[0]`, `name[1]`, ...

    Raises InvalidRequestError.
    """
    columns: dict[str, list[Any]] = {}
    for index, tensor in enumerate(_tensors(document, "inputs")):
        name = tensor.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidRequestError(f"inputs[{index}].name", str(name)[:80], "must be the name of a column")
        values = _by_row(tensor, f"inputs[{index}]")
        width = len(values[0])
        for at in range(width):
            columns[name if width == 1 else f"{name}[{at}]"] = [row[at] for row in values]
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise InvalidRequestError("inputs", sorted(lengths), "must all have the same number of rows")
    names = tuple(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def predictions(document: object) -> list[float | None]:
    """One number for each row: the answer, or the largest probability of several classes; None where it is no number.

    Raises InvalidRequestError.
    """
    tensors = _tensors(document, "outputs")
    numeric = [tensor for tensor in tensors if tensor.get("datatype") in _NUMBERS]
    named = [tensor for name in ANSWERS for tensor in numeric if tensor.get("name") == name]
    chosen = next(iter([*named, *numeric]), None)
    if chosen is None:
        return [None] * len(_by_row(tensors[0], "outputs[0]"))
    return [_largest(row) for row in _by_row(chosen, f"outputs.{chosen.get('name')}")]


def _largest(values: list[Any]) -> float | None:
    numbers = [float(value) for value in values if type(value) in (int, float)]
    return max(numbers) if len(numbers) == len(values) else None


def _tensors(document: object, part: str) -> list[dict[str, Any]]:
    tensors = document.get(part) if isinstance(document, dict) else None
    if not isinstance(tensors, list) or not tensors or not all(isinstance(one, dict) for one in tensors):
        raise InvalidRequestError(part, type(tensors).__name__, "must be a list of tensors")
    return tensors


def _by_row(tensor: dict[str, Any], field: str) -> list[list[Any]]:
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(data, list) or not data:
        raise InvalidRequestError(f"{field}.data", type(data).__name__, "must be a list of values")
    while isinstance(data[0], list):
        data = [value for part in data for value in (part if isinstance(part, list) else [part])]
        if not data:
            raise InvalidRequestError(f"{field}.data", "[]", "must be a list of values")
    rows = shape[0] if isinstance(shape, list) and shape else None
    if type(rows) is not int or not 0 < rows <= MOST_EVENTS or len(data) % rows:
        raise InvalidRequestError(f"{field}.shape", str(shape)[:80], f"must fit {len(data)} values")
    width = len(data) // rows
    return [data[at : at + width] for at in range(0, len(data), width)]
