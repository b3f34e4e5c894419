"""Whether an ONNX model is whole: its weights may lie in another file, which no digest of the model covers.

onnxruntime takes such a file from the working directory, so other weights there would answer under the same digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_INSIDE: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Messages of onnx.proto, and which of their fields hold messages that tensors lie in."""
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def tensor_elsewhere(content: bytes) -> str | None:
    """The name of a tensor whose values lie in another file; None: all are here.

    Raises ValueError for what is no message of Protocol Buffers.
    """
    # Without recursion: graphs lie in graphs as deep as the writer likes.
    left = [("ModelProto", memoryview(content))]
    while left:
        kind, message = left.pop()
        name, is_elsewhere = "", False
        for number, value in _fields(message):
            if kind == "TensorProto":
                is_elsewhere |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
                if number == _NAME and isinstance(value, memoryview):
                    name = bytes(value).decode("utf-8", "replace")
            elif number in _INSIDE[kind] and isinstance(value, memoryview):
                left.append((_INSIDE[kind][number], value))
        if is_elsewhere:
            return name
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field; raises ValueError."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, form = key >> 3, key & 7
        if form == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if form == _BYTES:
            length, place = _varint(message, place)
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if form == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of wire type {form}")
        if place + length > len(message):
            raise ValueError("it is cut off")
        yield number, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            break
    raise ValueError("a number without an end")
