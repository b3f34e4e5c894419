"""The Open Inference Protocol (V2) over JSON: one tensor per column in, one per kind of answer out.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capstan.errors import InvalidRequestError, shown
from capstan.features.values import ColumnType
from capstan.serving.foreign_forms import example
from capstan.serving.manifest import Manifest
from capstan.serving.schema import RequestSchema, Row
from capstan.tasks import task_together
from capstan.tasks.tensors import Tensor

_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
TYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str,),
    # Integers stand for floats, since JSON does not tell 1 from 1.0.
    **dict.fromkeys(("FP16", "FP32", "FP64"), (float, int)),
    **dict.fromkeys(_INTEGERS, (int,)),
}
_DATATYPES = {ColumnType.NUMBER: "FP64", ColumnType.BOOLEAN: "BOOL"}
_ONE_ROW = ([1], [1, 1])


def rows_of(body: object, schema: RequestSchema, row: Row | None = None) -> list[Row]:
    """The rows that the tensors spell, all valid; raises InvalidRequestError. `null` in `data` is a missing value.

    `row`: what `one_row` has made of the body.
    """
    if row is not None:
        schema.check(row)
        return [row]
    if type(body) is not dict:
        raise InvalidRequestError("body", body, 'must be an object with "inputs"')
    inputs = body.get("inputs")
    if inputs is None and body:
        name = next(iter(body))
        rule = f"is no tensor; name tensors in `inputs`, or write {example(schema.columns)}"
        raise InvalidRequestError(str(shown(name)), body[name], rule)
    if type(inputs) is not list or not inputs:
        raise InvalidRequestError("inputs", inputs, "must be a list of tensors, one per column")
    columns: dict[str, list[Any]] = {}
    count: int | None = None
    for index, tensor in enumerate(inputs):
        name, values = _column(tensor, index)
        if name in columns:
            raise InvalidRequestError(f"inputs[{index}].name", name, "is given twice")
        if count is None:
            count = len(values)
        elif len(values) != count:
            raise InvalidRequestError(
                f"inputs[{index}].data", len(values), f"must hold {count} rows as the first tensor does"
            )
        columns[name] = values
    names = tuple(columns)
    rows: list[Row] = [
        dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    schema.check_rows(rows, "rows[{}]." if len(rows) > 1 else "")
    return rows


def one_row(body: Any) -> Row | None:
    """A single row in faultless tensors, in half the time of `rows_of`; None: to be looked at closely by it."""
    row: dict[str, Any] = {}
    try:
        tensors = body["inputs"]
        for tensor in tensors:
            name, data = tensor["name"], tensor["data"]
            (value,) = data
            if (
                type(name) is not str
                or type(data) is not list
                or tensor["shape"] not in _ONE_ROW
                or (type(value) not in TYPES[tensor["datatype"]] and value is not None)
            ):
                return None
            row[name] = value
    except (TypeError, KeyError, ValueError):
        return None
    # Fewer columns than tensors: one is given twice.
    return row if row and len(row) == len(tensors) else None


def _column(tensor: object, index: int) -> tuple[str, list[Any]]:
    """Name and values of one tensor; the texts of its errors are made only when there is one."""
    if type(tensor) is not dict:
        raise InvalidRequestError(f"inputs[{index}]", tensor, "must be a tensor object")
    name, datatype, data = tensor.get("name"), tensor.get("datatype"), tensor.get("data")
    if type(name) is not str:
        raise InvalidRequestError(f"inputs[{index}].name", name, "must be the name of a column")
    if type(data) is not list:
        raise InvalidRequestError(
            f"inputs[{index}].data", data, "must be a list of values; binary data is not taken"
        )
    if data and type(data[0]) is list:
        data = [value for part in data for value in (part if type(part) is list else (part,))]
    shape, rows = tensor.get("shape"), len(data)
    if shape != [rows] and shape != [rows, 1]:
        raise InvalidRequestError(
            f"inputs[{index}].shape", shape, f"must be [{rows}] or [{rows}, 1] as data is"
        )
    wanted = TYPES.get(datatype) if type(datatype) is str else None
    if wanted is None:
        known = ", ".join(TYPES)
        raise InvalidRequestError(f"inputs[{index}].datatype", datatype, f"must be one of {known}")
    for at, value in enumerate(data):
        if type(value) not in wanted and value is not None:
            raise InvalidRequestError(f"inputs[{index}].data[{at}]", value, f"is not of datatype {datatype}")
    return name, data


def answer(
    name: str,
    version: str,
    request_id: str,
    tensors: Sequence[Tensor],
    marks: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    *,
    rows: int,
) -> dict[str, Any]:
    """The response body for sound answers; `marks`, by row, become the parameter `outside`, one text."""
    body: dict[str, Any] = {
        "model_name": name,
        "model_version": version,
        "id": request_id,
        "outputs": [tensor.document() for tensor in tensors],
    }
    if marks is not None:
        body["parameters"] = {"outside": _told(marks, rows)}
    return body


def _told(marks: Mapping[int, Sequence[Mapping[str, Any]]], rows: int) -> str:
    """As breaches are told: parameters of the protocol are single values."""
    return "; ".join(
        str(
            InvalidRequestError(
                f"rows[{index}].{mark['field']}" if rows > 1 else mark["field"], mark["value"], mark["rule"]
            )
        )
        for index, found in marks.items()
        for mark in found
    )


def metadata(manifest: Manifest, name: str, version: str) -> dict[str, Any]:
    """`GET /v2/models/{name}`."""
    task = task_together(manifest.task, manifest.combination)
    outputs = [tensor.description() for tensor in task.described(manifest.learnt)]
    inputs = [_described(column.name, _DATATYPES.get(column.type, "BYTES")) for column in manifest.columns]
    return {
        "name": name,
        "versions": [version],
        "platform": "capstan_sklearn",
        "inputs": inputs,
        "outputs": outputs,
        **({"parameters": {"ignored": sorted(manifest.ignored)}} if manifest.ignored else {}),
    }


def _described(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}
