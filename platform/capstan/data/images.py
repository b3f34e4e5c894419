"""Image files that a table names, as requests carry them: their bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from capstan.errors import InvalidDataError
from capstan.spec.system import MLSystem

_SHOWN = 3


class _UnreadFileError(Exception):
    """Why a file is not read."""


@dataclass(frozen=True)
class ImageFiles:
    """Of the columns that name files; raises InvalidDataError for what names none."""

    folders: Mapping[str, tuple[Path, int]]
    """Column -> the folder below which its files are, and the bytes of the largest."""

    @classmethod
    def of(cls, system: MLSystem) -> ImageFiles:
        """What the file's features say."""
        found: dict[str, tuple[Path, int]] = {}
        for feature in system.spec.features:
            image = feature.image
            if image is not None and image.folder is not None:
                _, most = found.get(feature.column, (None, 0))
                found[feature.column] = (system.base_dir / image.folder, max(most, image.max_bytes))
        return cls(found)

    def in_table(self, table: pa.Table, memory: int) -> pa.Table:
        """The table with the content of the files; of all of them at most so many bytes."""
        for column, (folder, _) in self.folders.items():
            if column not in table.column_names:
                continue
            values = table[column].to_pylist()
            made: list[str | None] = []
            wrong: list[str] = []
            bad = size = 0
            for value in values:
                try:
                    made.append(None if value is None else self._content(column, value))
                except _UnreadFileError as error:
                    bad += 1
                    if len(wrong) < _SHOWN:
                        wrong.append(f"{value!r} {error}")
                    made.append(None)
                size += len(made[-1] or "")
                if size > memory:
                    raise InvalidDataError(
                        f"column {column!r}: the images of {len(made):,} rows of {len(values):,} take more than "
                        f"{memory // 2**20} MiB, which is a part of what training.resources states, or else of the "
                        "machine's memory; raise training.resources.requests.memory, write smaller files, or read "
                        "fewer rows in data.query"
                    )
            if bad:
                raise InvalidDataError(
                    f"column {column!r}: {bad:,} of {len(values):,} values name no image file below {folder}: "
                    f"{'; '.join(wrong)}; correct `folder` of the feature, or leave such rows out in data.query"
                )
            place = table.column_names.index(column)
            content = pa.array(made, pa.string())
            # Of more than 2 GiB Arrow makes several pieces.
            chunks = content.chunks if isinstance(content, pa.ChunkedArray) else [content]
            table = table.set_column(place, column, pa.chunked_array(chunks, pa.string()))
        return table

    def in_rows(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows with the content of their files."""
        for number, row in enumerate(rows, start=1):
            for column in self.folders:
                value = row.get(column)
                if isinstance(value, str) and value:
                    try:
                        row[column] = self._content(column, value)
                    except _UnreadFileError as error:
                        raise InvalidDataError(
                            f"row {number}: column {column!r}: {value!r} {error}; it must name an image file below "
                            f"{self.folders[column][0]}"
                        ) from None
            yield row

    def _content(self, column: str, value: object) -> str:
        folder, most = self.folders[column]
        try:
            file = (folder / str(value)).resolve()
            if not file.is_relative_to(folder.resolve()):
                raise _UnreadFileError("is not below the folder")
            if not file.is_file():
                raise _UnreadFileError("is not there")
            if (size := file.stat().st_size) > most:
                raise _UnreadFileError(f"has {size:,} bytes, above `maxBytes` {most:,}")
            return base64.b64encode(file.read_bytes()).decode()
        except (OSError, ValueError) as error:
            raise _UnreadFileError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
