"""Raw columns as inputs of the graph, and the fitted transform behind them.

A column of texts or times that is read as a category is an input of texts, where an empty text is a missing value.
All others are inputs of float64, where NaN is one: true is 1 and false is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.exporting.graph import Graph
from capstan.features import FeatureTransform
from capstan.features.columns import Floats
from capstan.features.kinds import (
    FittedCategorical,
    FittedDate,
    FittedFeature,
    FittedHashing,
    FittedImage,
    FittedNumeric,
    FittedTarget,
    FittedText,
)
from capstan.features.values import MISSING_TEXTS, ColumnType, category, number

LARGEST = float(np.finfo(np.float32).max)
_NEVER_SEEN = -1.2345678987654321e-200
"""Stands for a text in a column of numbers or truths: no table holds it, so that it is a category never seen."""


@dataclass(frozen=True)
class Block:
    """Neighbouring columns of the model's matrix."""

    tensor: str
    """(rows, width)."""
    width: int = 1
    before: str | None = None
    """The same before a function whose last bit is another in ONNX; None: there is none, every bit is the same."""
    function: Callable[[Floats], Floats] | None = None
    """What makes `tensor` of `before`: it never falls where its argument rises."""


class Matrix:
    """What a model reads."""

    def __init__(self, graph: Graph, blocks: Sequence[Block]) -> None:
        self._graph = graph
        self._blocks = tuple(blocks)

    @cached_property
    def tensor(self) -> str:
        """(rows, columns)."""
        return self._graph.beside([one.tensor for one in self._blocks])

    @cached_property
    def compared(self) -> str:
        """The same for trees, which compare it with numbers: `before` where a column has one."""
        return self._graph.beside([one.before or one.tensor for one in self._blocks])

    @cached_property
    def compared_single(self) -> str:
        """The same for trees that compare floats of 32 bits; columns with a `before` keep all bits."""
        least, most = self._graph.constant(-LARGEST), self._graph.constant(LARGEST)
        return self._graph.beside(
            [
                one.before or self._graph.single(self._graph.op("Clip", one.tensor, least, most))
                for one in self._blocks
            ]
        )

    @cached_property
    def functions(self) -> Mapping[int, Callable[[Floats], Floats]]:
        """By column: what becomes of it before a tree of the model compares it, and is left to its thresholds here."""
        found, at = {}, 0
        for one in self._blocks:
            if one.function is not None:
                found[at] = one.function
            at += one.width
        return found


@dataclass(frozen=True)
class Input:
    """One raw column."""

    name: str
    type: ColumnType
    """What training found in it."""
    is_text: bool

    def values(self, rows: Sequence[Mapping[str, object]]) -> Any:
        """The column of rows as requests carry them, as the graph takes it."""
        sent = [row.get(self.name) for row in rows]
        if self.is_text:
            return np.array([category(value, self.type) or "" for value in sent], dtype=object)
        return np.array([_number(value, self) for value in sent], dtype=np.float64)

    def document(self) -> dict[str, str]:
        """As the file's metadata tell it."""
        missing = "an empty text" if self.is_text else "NaN"
        kinds = {
            ColumnType.TEXT: "texts as in the table",
            ColumnType.TIME: "moments in UTC, such as 2013-02-01T05:00:00Z",
            ColumnType.BOOLEAN: "1 for true, 0 for false",
            ColumnType.NUMBER: "numbers",
        }
        return {
            "name": self.name,
            "type": self.type.value,
            "tensor": "string" if self.is_text else "float64",
            "values": kinds[self.type],
            "missing": missing,
        }


def inputs_of(transform: FeatureTransform) -> list[Input]:
    """Each raw column once; raises InvalidDataError for a feature that can't be written, by its name."""
    found: dict[str, Input] = {}
    for feature in transform.features_:
        settings = feature.settings
        if isinstance(feature, FittedHashing):
            raise InvalidDataError(
                f"feature {settings.name!r}: `encode: Hashing` has no operator in ONNX, so it can't be exported to "
                "ONNX; write `encode: OneHot`, `Integer` or `Target` and train again"
            )
        if isinstance(feature, FittedDate):
            parts = ", ".join(feature.settings.parts)
            raise InvalidDataError(
                f"feature {settings.name!r}: a date has no operator in ONNX, so it can't be exported to ONNX; derive "
                f"{parts} in data.query, take them as numeric features and train again"
            )
        if isinstance(feature, FittedText):
            raise InvalidDataError(
                f"feature {settings.name!r}: the words of a text have no operator in ONNX, so it can't be exported to "
                "ONNX; derive numbers of the text in data.query, or train without it"
            )
        if isinstance(feature, FittedImage):
            raise InvalidDataError(
                f"feature {settings.name!r}: an image in base64 has no operator in ONNX, so it can't be exported to "
                "ONNX; serve the version, or train without it"
            )
        if not isinstance(feature, FittedNumeric | FittedCategorical | FittedTarget):
            raise InvalidDataError(
                f"feature {settings.name!r}: is of your own code, which can't be exported to ONNX; numeric and "
                "categorical features can. Compute it in data.query, or train without it"
            )
        is_text = not isinstance(feature, FittedNumeric) and feature.type in (
            ColumnType.TEXT,
            ColumnType.TIME,
        )
        found.setdefault(settings.column, Input(settings.column, feature.type, is_text))
    return list(found.values())


def write_transform(graph: Graph, transform: FeatureTransform, inputs: Sequence[Input]) -> Matrix:
    """The model's matrix, of inputs that are made here."""
    tensors = {one.name: graph.input(one.name, "text" if one.is_text else "number") for one in inputs}
    return Matrix(
        graph,
        [block for one in transform.features_ for block in _blocks(graph, one, tensors[one.settings.column])],
    )


def _blocks(graph: Graph, feature: FittedFeature, tensor: str) -> list[Block]:
    found = [_block(graph, feature, tensor)]
    if isinstance(feature, FittedNumeric) and feature.settings.indicator:
        found.append(Block(graph.upright(graph.numbers(graph.is_no_number(tensor)))))
    return found


def _block(graph: Graph, feature: FittedFeature, tensor: str) -> Block:
    if isinstance(feature, FittedNumeric):
        return _numeric(graph, feature, tensor)
    if isinstance(feature, FittedTarget):
        place = graph.whole(_code(graph, feature.categories, tensor))
        return Block(
            graph.op("Gather", graph.constant(np.array(feature.encodings)), place), len(feature.names)
        )
    assert isinstance(feature, FittedCategorical)
    code = graph.upright(_code(graph, feature, tensor))
    if not feature.is_one_hot:
        return Block(code)
    wanted = graph.constant(np.arange(len(feature.names), dtype=np.float64).reshape(1, -1))
    return Block(graph.numbers(graph.op("Equal", code, wanted)), len(feature.names))


def _numeric(graph: Graph, feature: FittedNumeric, tensor: str) -> Block:
    filled = graph.upright(
        graph.op("Where", graph.is_no_number(tensor), graph.constant(feature.missing), tensor)
    )
    if feature.edges is not None:
        if not feature.edges:
            return Block(graph.op("Mul", graph.op("Sign", filled), graph.constant(0.0)))
        edges = graph.constant(np.array(feature.edges, dtype=np.float64).reshape(1, -1))
        return Block(graph.sum(graph.numbers(graph.op("GreaterOrEqual", filled, edges)), 1))
    if feature.settings.scale == "None":
        return Block(filled)
    if feature.settings.scale == "Log":
        size = graph.op("Abs", filled)
        scaled = graph.op("Mul", graph.op("Sign", filled), _log1p(graph, size))
        return Block(scaled, before=filled, function=_signed_log)
    centred = graph.op("Sub", filled, graph.constant(feature.center))
    return Block(graph.op("Div", centred, graph.constant(feature.spread)))


def _signed_log(values: Floats) -> Floats:
    """As a fitted feature of `scale: Log` has it."""
    return np.copysign(np.log1p(np.abs(values)), values)


def _log1p(graph: Graph, size: str) -> str:
    """log(1 + x) of x >= 0 with all digits, also where x is small (Kahan's correction of the rounding of 1 + x)."""
    one = graph.constant(1.0)
    grown = graph.op("Add", size, one)
    is_lost = graph.op("Equal", grown, one)
    rounded = graph.op("Where", is_lost, one, graph.op("Sub", grown, one))
    exact = graph.op("Mul", graph.op("Log", grown), graph.op("Div", size, rounded))
    return graph.op("Where", is_lost, size, exact)


def _code(graph: Graph, feature: FittedCategorical, tensor: str) -> str:
    """(rows,): the code of each category, as float64."""
    known, other = feature.known, feature.other
    missing = known.get(None, other)
    texts = {text: code for text, code in known.items() if text is not None}
    if feature.type in (ColumnType.TEXT, ColumnType.TIME):
        texts[""] = missing
        if feature.type is ColumnType.TIME:
            texts |= dict.fromkeys(MISSING_TEXTS, missing)
        encoded = graph.ml(
            "LabelEncoder",
            tensor,
            keys_strings=list(texts),
            values_int64s=list(texts.values()),
            default_int64=other,
        )
        return graph.numbers(encoded)
    keys = {_key(text, feature): float(code) for text, code in texts.items()}
    if len(keys) < len(texts):
        raise InvalidDataError(
            f"feature {feature.settings.name!r}: categories of the column {feature.settings.column!r} are whole "
            "numbers that float64 can't tell apart, so it can't be exported to ONNX; cast the column to text in "
            "data.query and train again"
        )
    # An encoder needs a key: a column that was always missing has none.
    keys = keys or {_NEVER_SEEN: float(other)}
    found = graph.ml(
        "LabelEncoder",
        tensor,
        keys_tensor=np.array(list(keys), dtype=np.float64),
        values_tensor=np.array(list(keys.values()), dtype=np.float64),
        default_tensor=np.array([float(other)]),
    )
    return graph.op("Where", graph.is_no_number(tensor), graph.constant(float(missing)), found)


def _key(text: str, feature: FittedCategorical) -> float:
    if feature.type is ColumnType.BOOLEAN and text in ("true", "false"):
        return float(text == "true")
    try:
        return float(text)
    except ValueError:
        raise InvalidDataError(
            f"feature {feature.settings.name!r}: category {text!r} of the column {feature.settings.column!r} is no "
            "number, and the others are, so it can't be exported to ONNX; cast the column to text in data.query and "
            "train again"
        ) from None


def _number(value: object, column: Input) -> float:
    """A value of a request as the graph takes it, where it takes a number."""
    if not isinstance(value, str):
        return number(value, column.name, column.type)
    text = category(value, column.type)
    if text is None:
        return math.nan
    if column.type is ColumnType.BOOLEAN and text in ("true", "false"):
        return float(text == "true")
    try:
        found = float(text)
    except ValueError:
        return _NEVER_SEEN
    # "2.50" is no way to write a number's category, so that it is one never seen.
    return found if category(found, column.type) == text else _NEVER_SEEN
