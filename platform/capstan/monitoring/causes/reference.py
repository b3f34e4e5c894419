"""Judged rows of a version's test window, kept beside the model so that later losses can be compared kind by kind.

What is kept of a row is the kind that it is by each feature, one byte each, its loss and its day.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType
from capstan.features.views import View
from capstan.monitoring.causes.explaining import Judged
from capstan.monitoring.causes.kinds import Kinds

FILE, FORMAT = "causes.json", 1
MOST_ROWS = 20_000
"""Of more an even selection is kept."""


@dataclass(frozen=True)
class CauseReference:
    """What a window's losses are compared with, kind by kind."""

    metric: str
    """Whose losses they are."""
    kinds: tuple[Kinds, ...]
    judged: Judged
    why_not: str = ""
    """Why nothing can be compared; empty: it can."""

    def document(self) -> dict[str, Any]:
        """As JSON; the same rows give the same bytes."""
        return {
            "format": FORMAT,
            "metric": self.metric,
            "kinds": [asdict(one) for one in self.kinds],
            "rows": len(self.judged),
            "codes": _packed(self.judged.codes),
            "losses": _packed(self.judged.losses.astype(np.float32)),
            "blocks": _packed(self.judged.blocks.astype(np.int32)),
            "why_not": self.why_not,
        }

    def save(self, folder: Path) -> None:
        """Write it into a model folder."""
        (folder / FILE).write_bytes(orjson.dumps(self.document()))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> CauseReference:
        """As `document` told it; raises KeyError, TypeError or ValueError for anything else."""
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} is not {FORMAT}")
        kinds = tuple(
            Kinds(
                **{
                    **one,
                    "type": ColumnType(one["type"]),
                    "ends": tuple(map(float, one["ends"])),
                    "categories": tuple(one["categories"]),
                    "view": View.made_again(one.get("view")),
                }
            )
            for one in document["kinds"]
        )
        judged = Judged(
            _unpacked(document["codes"], np.uint8).reshape(int(document["rows"]), len(kinds)),
            _unpacked(document["losses"], np.float32).astype(np.float64),
            _unpacked(document["blocks"], np.int32).astype(np.int64),
        )
        if not len(judged.codes) == len(judged.losses) == len(judged.blocks):
            raise ValueError("its columns differ in length")
        return cls(str(document["metric"]), kinds, judged, str(document["why_not"]))


def evenly(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly spaced, without chance."""
    return np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64)


def nothing_to_compare(metric: str, why_not: str) -> CauseReference:
    """A reference that says why there is none."""
    none = Judged(np.empty((0, 0), np.uint8), np.empty(0), np.empty(0, np.int64))
    return CauseReference(metric, (), none, why_not)


def load_cause_reference(model: Path) -> CauseReference | None:
    """That of a model folder; None: its training left none. Raises InvalidDataError. Nothing in it is executed."""
    file = model / FILE
    if not file.is_file():
        return None
    try:
        return CauseReference.of(orjson.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise InvalidDataError(f"{file}: cannot be read: {error}; train the model again") from error


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 6)).decode()


def _unpacked(text: str, kind: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype=kind)
