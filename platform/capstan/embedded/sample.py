"""A request that the champion can answer, taken from the rows that its model carries."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow.parquet as pq

from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.versions import ModelVersion
from capstan.embedded.wiring import LocalSystem
from capstan.errors import CapstanError
from capstan.serving.manifest import read_manifest


def sample_request(local: LocalSystem, champion: ModelVersion) -> dict[str, Any] | None:
    """The first sampled row as a request body; None if the model carries none."""
    try:
        folder = local.packager.verify(champion.bento_tag, champion.digest) / MODEL_FOLDER
        columns = [column.name for column in read_manifest(folder).columns]
        table = pq.read_table(folder / "sample.parquet", columns=columns)
    except (CapstanError, OSError, ValueError):
        return None
    if not table.num_rows:
        return None
    row = table.slice(0, 1).to_pylist()[0]
    return {name: value for name, value in row.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return value is not None
