"""Which kind of database a secret's address means."""

from __future__ import annotations

from capstan.data.sources.database import DatabaseReader
from capstan.data.sources.reading import Reading
from capstan.data.sources.secret_text import secret_text
from capstan.data.sources.sql_server import DRIVERS, ServerTable, scheme_of
from capstan.data.sources.sqlite import SQLITE, SqliteTable
from capstan.errors import InvalidDataError
from capstan.spec.data import DatabaseSource


def open_database(reading: Reading, settings: DatabaseSource) -> DatabaseReader:
    """The reader of the table; raises InvalidDataError if there is nothing to read."""
    url = secret_text(reading, settings.url_from, "the database's URL")
    table = settings.table
    if url.startswith(SQLITE):
        return DatabaseReader(reading, table, SqliteTable(reading, table, url))
    if scheme_of(url) in DRIVERS:
        return DatabaseReader(reading, table, ServerTable(reading, table, url))
    scheme = scheme_of(url)[:20] if "://" in url else "no scheme"
    raise InvalidDataError(
        f"{reading.field}: databases of the kind {scheme!r} are not read; use {SQLITE}PATH, "
        "postgresql://USER:PASSWORD@HOST/DATABASE, mariadb:// or mysql://, or export the table to Parquet and name it "
        "under `parquet`"
    )
