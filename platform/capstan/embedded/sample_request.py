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

GROUP_ROWS = 3


def sample_request(local: LocalSystem, champion: ModelVersion, *, identity: str) -> dict[str, Any] | None:
    """The first sampled row that the model answers, or rows of a group, as a request body; None if it carries none.

    `identity` is the id of the first, so that a label can be joined to it, but where features read the id's column.
    """
    try:
        folder = local.packager.verify(champion.bento_tag, champion.digest) / MODEL_FOLDER
        keys = read_manifest(folder).keys
        rows = answered_rows(folder, GROUP_ROWS if "group" in keys else 1)
    except (CapstanError, OSError, ValueError):
        return None
    id_column = keys.get("id")
    if id_column is not None:
        names = [identity, *(f"{identity}-{number}" for number in range(2, len(rows) + 1))]
        rows = [{id_column: name, **row} for name, row in zip(names, rows, strict=True)]
    if not rows:
        return None
    return {"rows": rows} if "group" in keys else rows[0]


def answered_rows(folder: Path, most: int) -> list[dict[str, Any]]:
    """The first rows of a model folder's sample that its request schema accepts.

    A sampled row may be refused: `unseen: Refuse` knows no category that was rarer than `minFrequency`. Raises
    CapstanError, OSError or ValueError if the folder cannot be read.
    """
    manifest = read_manifest(folder)
    schema = RequestSchema(manifest)
    columns = [column.name for column in manifest.columns]
    rows: list[dict[str, Any]] = []
    for sampled in pq.read_table(folder / "sample.parquet", columns=columns).to_pylist():
        row = {name: value for name, value in sampled.items() if _is_plain(value)}
        body = orjson.dumps(row)
        try:
            schema.check(orjson.loads(body))
        except InvalidRequestError:
            continue
        rows.append(row)
        if len(rows) == most:
            break
    return rows


def _is_plain(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return value is not None
