"""Tensors of the Open Inference Protocol (V2) that answers have in common.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NUMBERS = ("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


class Tensor(NamedTuple):
    """One output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1 is the number of rows, where an output is only described."""
    data: Sequence[Any] = ()
    """Row after row."""
    parameters: Mapping[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """As JSON, with its data."""
        found: dict[str, Any] = {
            "name": self.name,
            "datatype": self.datatype,
            "shape": self.shape,
            "data": self.data,
        }
        if self.parameters is not None:
            found["parameters"] = self.parameters
        return found

    def description(self) -> dict[str, Any]:
        """As JSON, without its data."""
        found: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        if self.parameters is not None:
            found["parameters"] = self.parameters
        return found

    def by_row(self) -> list[list[Any]]:
        """The values of each row."""
        rows = self.shape[0] if self.shape else 0
        width = len(self.data) // rows if rows else 0
        return [list(self.data[at : at + width]) for at in range(0, rows * width, width)] if width else []


def label_datatype(classes: Sequence[object]) -> str:
    """Of labels that are one of these classes."""
    kinds = {type(value) for value in classes}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "FP64" if kinds <= {int, float} else "BYTES"


def label_tensor(labels: Sequence[object], classes: Sequence[object]) -> Tensor:
    """The decided class of each row."""
    datatype = label_datatype(classes)
    return Tensor(
        "label", datatype, (len(labels),), list(map(str, labels)) if datatype == "BYTES" else labels
    )


def number_tensor(tensors: Sequence[Tensor], name: str) -> Tensor | None:
    """The tensor of that name, else the first of numbers: other servers have names of their own."""
    numeric = [tensor for tensor in tensors if tensor.datatype in NUMBERS]
    return next((tensor for tensor in numeric if tensor.name == name), next(iter(numeric), None))


def as_number(value: object) -> float | None:
    """None where the tensor holds something else."""
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]
