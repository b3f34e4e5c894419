"""A request that the champion can answer, taken from the rows that its model carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.versions import ModelVersion
from capstan.embedded.wiring import LocalSystem
from capstan.errors import CapstanError, InvalidRequestError
from capstan.serving.manifest import read_manifest
from capstan.serving.schema import RequestSchema


def sample_request(local: LocalSystem, champion: ModelVersion, *, identity: str) -> dict[str, Any] | None:
    """The first sampled row that the model answers, as a request body; None if it carries none.

    `identity` is its id, so that a label can be joined to it, but where features read the id's column.
    """
    try:
        folder = local.packager.verify(champion.bento_tag, champion.digest) / MODEL_FOLDER
        row, id_column = answered_row(folder), read_manifest(folder).keys.get("id")
    except (CapstanError, OSError, ValueError):
        return None
    if row is None or id_column is None or id_column in row:
        return row
    return {id_column: identity, **row}


def answered_row(folder: Path) -> dict[str, Any] | None:
    """The first row of a model folder's sample that its request schema accepts.

    A sampled row may be refused: `unseen: Refuse` knows no category that was rarer than `minFrequency`. Raises
    CapstanError, OSError or ValueError if the folder cannot be read.
    """
    manifest = read_manifest(folder)
    schema = RequestSchema(manifest)
    columns = [column.name for column in manifest.columns]
    for sampled in pq.read_table(folder / "sample.parquet", columns=columns).to_pylist():
        row = {name: value for name, value in sampled.items() if _is_plain(value)}
        body = orjson.dumps(row)
        try:
            schema.check(orjson.loads(body))
        except InvalidRequestError:
            continue
        return row
    return None


def _is_plain(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return value is not None
