"""A model folder as a graph of ONNX that has answered the folder's example rows as the model does."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from capstan.domain.training import GateOutcome
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.exporting.version import Compared, ExportedGraph, compare_graph, export_graph
from capstan.serving.manifest import Manifest
from capstan.serving.model import as_requests, edge_rows, load

_GATE = "place"
_SAMPLE = "sample.parquet"


def require_onnx(what: str) -> None:
    """Raises MissingExtraError where the libraries are not installed; `what` needs them, in words."""
    for library in ("onnx", "onnxruntime"):
        if find_spec(library) is None:
            raise MissingExtraError(what, "onnx")


def proven_graph(folder: Path, facts: Mapping[str, str], name: str) -> tuple[ExportedGraph, Compared]:
    """The graph, and how it compares; `name` is that of the version in the graph's words.

    Raises InvalidDataError for what can't be written, by its name, or where answers differ.
    """
    model = load(folder)
    manifest = model.manifest
    words = f"{name} of {manifest.system}: {manifest.target} ({manifest.task})"
    exported = export_graph(model.pipeline, manifest, model.task, facts, words)
    rows = [*_example_rows(folder, manifest), *edge_rows(manifest)]
    said = np.asarray([model.predict_row(row) for row in rows], dtype=np.float64)
    return exported, compare_graph(exported, rows, said, model.task, manifest.learnt)


def judge_place(folder: Path) -> GateOutcome:
    """Whether the model can leave for a device: as a graph that answers its example rows alike."""
    try:
        exported, compared = proven_graph(folder, {}, "a candidate")
    except InvalidDataError as error:
        return GateOutcome(_GATE, False, f"{_GATE} OnDevice, and there is no graph of ONNX: {error}")
    size = len(exported.content) / 1024
    told = f"a graph of ONNX of {size:,.0f} KiB answers {compared.rows:,} example rows as the model does"
    return GateOutcome(_GATE, True, f"{_GATE} OnDevice: {told}")


def _example_rows(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """All that the training kept."""
    import pyarrow
    import pyarrow.parquet

    names = [column.name for column in manifest.columns]
    try:
        rows = as_requests(pyarrow.parquet.read_table(folder / _SAMPLE, columns=names))
    except (OSError, pyarrow.ArrowException) as error:
        raise InvalidDataError(
            f"its example rows can't be read ({error}), and without them nothing proves what is exported; train again"
        ) from error
    if not rows:
        raise InvalidDataError(
            "it has kept no example rows, and without them nothing proves what is exported; train again"
        )
    return rows
