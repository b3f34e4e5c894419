"""Where a table goes: a Parquet file or a table of a database, replaced whole or not at all."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from capstan.data.etl.engines import parquet_files, told
from capstan.data.sources.files import sql_file, sql_list
from capstan.data.sources.sql_server import DRIVERS, complaint, engine_of, scheme_of
from capstan.data.sources.sqlite import SQLITE
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError
from capstan.files import write_error

_ROWS = 5_000
_NEW, _OLD = "__capstan_new", "__capstan_old"
"""After a table's name: what is written before it takes the table's place, and what it replaces."""


def write_parquet(table: Path, target: Path, field: str, *, memory: int, zone: str) -> int:
    """Replace the file; gives the rows that it holds."""
    part = target.with_name(f".{target.name}.part")
    if target.is_dir():
        raise InvalidDataError(f"{field}: {target} is a folder; write another path, or move it away")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(target.parent, error) from error
    with told(field), workspace(threads=1, memory=memory, zone=zone) as connection:
        connection.execute(
            f"copy (from read_parquet({sql_list(parquet_files(table))})) to {sql_file(str(part))} (format parquet)"
        )
    rows = int(pq.read_metadata(part).num_rows)
    os.replace(part, target)
    return rows


def write_database(table: Path, name: str, url: str, base_dir: Path, field: str) -> int:
    """Replace the table; gives the rows that the database counts in it. Raises InvalidDataError without the address."""
    import sqlalchemy

    if url.startswith(SQLITE):
        file = base_dir / url.removeprefix(SQLITE)
        file.parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(f"{SQLITE}{file.absolute()}", poolclass=sqlalchemy.NullPool)
    elif scheme_of(url) in DRIVERS:
        file = None
        engine = engine_of(field, url, feature="databases")
    else:
        raise InvalidDataError(
            f"{field}: the secret holds no address of SQLite, PostgreSQL, MariaDB or MySQL; write sqlite:///PATH, "
            "postgresql://USER:PASSWORD@HOST/DATABASE or mariadb://USER:PASSWORD@HOST/DATABASE"
        )
    files = parquet_files(table)
    schema = pa.unify_schemas([pq.read_schema(each) for each in files])
    columns = [sqlalchemy.Column(one.name, _type(field, one, engine.name)) for one in schema]
    new = sqlalchemy.Table(f"{name}{_NEW}", sqlalchemy.MetaData(), *columns)
    try:
        with engine.begin() as connection:
            _require_alike(sqlalchemy.inspect(connection), name, schema, field)
            connection.execute(sqlalchemy.schema.DropTable(new, if_exists=True))
            connection.execute(sqlalchemy.schema.CreateTable(new))
            for rows in _rows(files, schema, engine.name):
                connection.execute(new.insert(), rows)
        with engine.connect() as connection:
            written = connection.execute(
                sqlalchemy.select(sqlalchemy.func.count()).select_from(new)
            ).scalar_one()
            quoted = [
                engine.dialect.identifier_preparer.quote(each)
                for each in (name, f"{name}{_NEW}", f"{name}{_OLD}")
            ]
            exists = sqlalchemy.inspect(connection).has_table(name)
        _swap(engine, file, *quoted, exists=exists)
    except OverflowError:
        raise InvalidDataError(
            f"{field}: table {name!r} cannot be written: a whole number is larger than {2**63 - 1}, the largest of "
            "SQLite; cast its column to varchar in the transform"
        ) from None
    except sqlite3.Error as error:
        raise InvalidDataError(f"{field}: table {name!r} cannot be written: {error}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise InvalidDataError(
            f"{field}: table {name!r} cannot be written: {complaint(error, name)}"
        ) from None
    finally:
        engine.dispose()
    return int(written)


def _swap(engine: Any, file: Path | None, name: str, new: str, old: str, *, exists: bool) -> None:
    """Let the new table take the place of the old one, at once."""
    if file is not None:
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(
                # Views of the table stay, and mean the new one.
                f"pragma legacy_alter_table = on; begin; drop table if exists {name}; "
                f"alter table {new} rename to {name}; commit;"
            )
        return
    if engine.name == "postgresql":
        statements = [f"drop table if exists {name}", f"alter table {new} rename to {name}"]
    else:
        # Tables of MariaDB change places in one statement; others commit by themselves.
        moved = f"{name} to {old}, " if exists else ""
        gone = f"drop table if exists {old}"
        statements = [gone, f"rename table {moved}{new} to {name}", gone]
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _require_alike(inspector: Any, name: str, schema: pa.Schema, field: str) -> None:
    """Raises InvalidDataError for a table of other columns, which somebody else may have made."""
    if not inspector.has_table(name):
        return
    there = {column["name"] for column in inspector.get_columns(name)}
    if there != set(schema.names):
        differ = ", ".join(sorted(there ^ set(schema.names)))
        raise InvalidDataError(
            f"{field}: table {name!r} is there with other columns ({differ}), and would be replaced; drop it, or write "
            "another table"
        )


def _type(field: str, column: pa.Field, dialect: str) -> Any:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    kind = column.type
    on_mysql = dialect == "mysql"
    if pa.types.is_boolean(kind):
        return sa.Boolean()
    if pa.types.is_uint64(kind):
        if dialect == "sqlite":
            return sa.BigInteger()
        return mysql.BIGINT(unsigned=True) if on_mysql else sa.Numeric(20, 0)
    if pa.types.is_integer(kind):
        return sa.BigInteger()
    if pa.types.is_floating(kind):
        return sa.Double()
    if pa.types.is_decimal(kind):
        return sa.String() if dialect == "sqlite" else sa.Numeric(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        if dialect == "sqlite":
            return sa.String()
        if on_mysql:
            return mysql.TIMESTAMP(fsp=6) if kind.tz else mysql.DATETIME(fsp=6)
        return sa.DateTime(timezone=bool(kind.tz))
    if pa.types.is_date(kind):
        return sa.String() if dialect == "sqlite" else sa.Date()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return mysql.LONGTEXT() if on_mysql else sa.Text()
    raise InvalidDataError(
        f"{field}: column {column.name!r} is of the type {kind}; give a number, text, boolean, day or moment in the "
        "transform, such as cast(... as varchar)"
    )


def _rows(files: list[str], schema: pa.Schema, dialect: str) -> Iterator[list[dict[str, Any]]]:
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS):
                rows = batch.select(schema.names).to_pylist()
                for row in rows:
                    for name, value in row.items():
                        if getattr(value, "tzinfo", None) is not None:
                            value = value.astimezone(pa.lib.string_to_tzinfo("UTC"))
                            row[name] = value.replace(tzinfo=None) if dialect == "mysql" else value
                        if dialect == "sqlite" and not isinstance(value, str | int | float | bool | None):
                            row[name] = value.isoformat(" ") if hasattr(value, "hour") else str(value)
                if rows:
                    yield rows
