"""Rows and answers out of the tensors of the Open Inference Protocol (V2), as a log holds them.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from typing import Any

from capstan.errors import InvalidRequestError
from capstan.recording.blocks import MOST_PAYLOADS
from capstan.tasks.tensors import Tensor

Row = dict[str, Any]


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


def answered(document: object) -> list[Tensor]:
    """The tensors of a response, all with as many rows as the first; raises InvalidRequestError."""
    found = []
    for index, tensor in enumerate(_tensors(document, "outputs")):
        name, datatype, parameters = tensor.get("name"), tensor.get("datatype"), tensor.get("parameters")
        values = _by_row(tensor, f"outputs[{index}]")
        found.append(
            Tensor(
                str(name),
                str(datatype),
                (len(values), len(values[0])),
                [value for row in values for value in row],
                parameters if isinstance(parameters, dict) else None,
            )
        )
    lengths = {tensor.shape[0] for tensor in found}
    if len(lengths) != 1:
        raise InvalidRequestError("outputs", sorted(lengths), "must all have the same number of rows")
    return found


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
    if type(rows) is not int or not 0 < rows <= MOST_PAYLOADS or len(data) % rows:
        raise InvalidRequestError(f"{field}.shape", str(shape)[:80], f"must fit {len(data)} values")
    width = len(data) // rows
    return [data[at : at + width] for at in range(0, len(data), width)]
