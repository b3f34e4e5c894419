"""A table of Apache Iceberg as a source, by PyIceberg."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from capstan.data.sources.database import DatabaseReader
from capstan.data.sources.lake_tables import BatchedRows, latest_moment
from capstan.data.sources.reading import Reading
from capstan.data.sources.secret_text import secret_text
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.data import IcebergSource
from capstan.spec.secrets import ValueFrom

_END = ".metadata.json"
_NUMBER = re.compile(r"v?(\d+)\b")
_FORM = "the settings of the catalog, a line `name = value` each, such as uri = https://catalog.example.com"


def open_iceberg(reading: Reading, settings: IcebergSource) -> DatabaseReader:
    """The reader of the table; raises InvalidDataError if there is nothing to read, MissingExtraError."""
    if find_spec("pyiceberg") is None:
        raise MissingExtraError(f"{reading.field}: a table of Iceberg", "iceberg")
    shown = settings.table or settings.path or ""
    return DatabaseReader(reading, shown, IcebergTableRows(reading, settings, shown))


class IcebergTableRows:
    """As `Database`: of its files only the columns and days leave that may be needed."""

    booleans: frozenset[str] = frozenset()

    def __init__(self, reading: Reading, settings: IcebergSource, shown: str) -> None:
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        self._reading, self._shown = reading, shown
        self._rows = BatchedRows(reading, self._words)
        place = None if settings.path is None else _metadata(reading, settings.path)
        try:
            # Clients of catalogs raise errors of their own, without a base.
            self._table = _opened(reading, settings, place)
            self._schema: pa.Schema = schema_to_pyarrow(self._table.schema(), include_field_ids=False)
        except InvalidDataError:
            raise
        except Exception as error:
            raise self._rows.refused(error) from None
        self.columns = list(self._schema.names)

    def rows(self, columns: Sequence[str], limit: int | None = None) -> pa.RecordBatchReader:
        """In batches."""
        from pyiceberg.expressions import AlwaysTrue, IsNull, LessThanOrEqual, Or

        latest = latest_moment(self._reading, self._schema)
        at = self._reading.source.time_column or ""
        known: Any = AlwaysTrue()
        if latest is not None:
            # A row without a moment is told.
            known = Or(IsNull(at), LessThanOrEqual(at, latest.isoformat()))
        schema = pa.schema([self._schema.field(name) for name in columns])
        scan = self._table.scan(row_filter=known, selected_fields=tuple(columns), limit=limit)
        return self._rows.streamed(_batches(scan, schema), schema)

    def require_read(self) -> None:
        """Raises InvalidDataError."""
        self._rows.require_read()

    def _words(self, error: Exception) -> str:
        kind = type(error).__name__
        if kind in ("NoSuchTableError", "NoSuchNamespaceError", "NoSuchIdentifierError"):
            return f"the catalog has no table {self._shown!r}; correct {self._reading.field}.iceberg.table"
        if kind in ("UnauthorizedError", "ForbiddenError", "OAuthError", "AuthorizationExpiredError"):
            return "the catalog refuses the credentials; correct those in the secret of catalogFrom"
        if kind in (
            "ConnectionError",
            "ConnectTimeout",
            "ReadTimeout",
            "ServiceUnavailableError",
            "OperationalError",
        ):
            return "the catalog does not answer; check that it runs, and uri in the secret of catalogFrom"
        if isinstance(error, FileNotFoundError):
            return f"{self._shown}: a file of the table is not there; do not delete files by hand, or correct the path"
        return f"{self._shown} cannot be read ({kind}); check the table by its own tools"


def _batches(scan: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in scan.to_arrow_batch_reader():
        # Fields come with ids of their own.
        yield batch.select(schema.names).cast(schema)


def _opened(reading: Reading, settings: IcebergSource, place: Path | None) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable

    if place is not None:
        return StaticTable.from_metadata(str(place))
    assert settings.catalog_from is not None
    assert settings.table is not None
    told = _settings(reading, settings.catalog_from)
    # A catalog that is a database may hold several, each by its name.
    return load_catalog(told.pop("name", "default"), **told).load_table(settings.table)


def _settings(reading: Reading, secret: ValueFrom) -> dict[str, str]:
    named = secret.secret_key_ref
    lines = [line.strip() for line in secret_text(reading, secret, _FORM).splitlines() if line.strip()]
    settings = {
        name.strip(): value.strip() for name, mark, value in (line.partition("=") for line in lines) if mark
    }
    if len(settings) != len(lines) or not {"uri", "type"} & set(settings):
        raise InvalidDataError(
            f"{reading.field}: the secret {named.name}/{named.key} is no list of settings with a uri; write {_FORM}"
        )
    return settings


def _metadata(reading: Reading, path: str) -> Path:
    """The file of metadata that the path means; of a folder the newest."""
    wanted = reading.base_dir / path
    if wanted.is_file() and wanted.name.endswith(_END):
        return wanted
    hint = wanted / "metadata" / "version-hint.text"
    found = sorted((wanted / "metadata").glob(f"*{_END}"))
    if hint.is_file():
        told = hint.read_text().strip()
        found = [file for file in found if file.name in (told, f"{told}{_END}", f"v{told}{_END}")]
    if not found:
        raise InvalidDataError(
            f"{reading.field}: {wanted} holds no table of Iceberg; correct the path: it is the folder that holds "
            f"metadata/*{_END}, or one such file"
        )
    numbered = [(int(number[1]) if (number := _NUMBER.match(file.name)) else -1, file) for file in found]
    newest = max(number for number, _ in numbered)
    files = [file for number, file in numbered if number == newest]
    if len(files) > 1:
        raise InvalidDataError(
            f"{reading.field}: {wanted} holds {len(files)} newest files of metadata, such as {files[0].name}, and "
            "without a catalog nobody can say which is the table; write one of them as path, or table and catalogFrom"
        )
    return files[0]
