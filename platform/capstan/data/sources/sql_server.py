"""A table of PostgreSQL, MariaDB or MySQL by SQLAlchemy: values as a text file would hold them.

Only columns that are asked for leave the server, and of a column of moments only days that may be known. The words of
servers and drivers hold users and hosts, so none of them is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import Any, NoReturn

import pyarrow as pa

from capstan.data.sources.reading import Reading
from capstan.errors import InvalidDataError, MissingExtraError

DRIVERS = {
    "postgresql": ("postgresql+psycopg2", "psycopg2", "postgresql"),
    "postgres": ("postgresql+psycopg2", "psycopg2", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "pymysql", "mysql"),
}
"""Scheme of an address -> SQLAlchemy's, the driver's module, the extra that brings it."""
_CONNECT_SECONDS = 10
_ROWS = 20_000
"""Rows of one batch, which is all that is held outside DuckDB."""
_MARGIN = timedelta(days=1)
"""What a moment without a zone may be away from UTC; the rows are cut exactly afterwards."""
_WORDS = (
    (
        r"28P01|28000|password authentication failed|no password supplied|1045|1698|1044",
        "the server refuses user or password; correct them in the secret",
    ),
    (r"3D000|database .* does not exist|1049", "there is no such database; correct the secret"),
    (r"42P01|1146|UndefinedTable", "there is no such table; correct {table}"),
    (r"42501|1142|1143|1227", "the user may not read the table; grant select on it"),
    (
        r"Connection refused|could not translate|timeout expired|server closed|terminat|2002|2003|2006|2013",
        "nobody answers there, or the connection broke; check that the server runs, and host and port in the secret",
    ),
)


def scheme_of(url: str) -> str:
    """The kind of database of an address, without its driver."""
    return url.split("://", 1)[0].split("+", 1)[0] if "://" in url else ""


def engine_of(field: str, url: str, *, feature: str = "a database") -> Any:
    """SQLAlchemy's engine; raises InvalidDataError for another form, MissingExtraError without the driver."""
    driver, module, extra = DRIVERS[scheme_of(url)]
    if find_spec("sqlalchemy") is None or find_spec(module) is None:
        raise MissingExtraError(f"{field}: {feature} of the kind {scheme_of(url)!r}", extra)
    import sqlalchemy

    try:
        parsed = sqlalchemy.make_url(url).set(drivername=driver)
        # What the address says stays: its options may name the schema.
        arguments: dict[str, Any] = {}
        if "connect_timeout" not in parsed.query:
            arguments["connect_timeout"] = _CONNECT_SECONDS
        if module == "psycopg2":
            arguments["options"] = " ".join([*_values(parsed.query.get("options")), "-c timezone=UTC"])
        else:
            own = [f"{command.rstrip('; ')};" for command in _values(parsed.query.get("init_command"))]
            arguments["init_command"] = " ".join([*own, "set time_zone = '+00:00'"])
        return sqlalchemy.create_engine(
            parsed, poolclass=sqlalchemy.NullPool, connect_args=arguments, hide_parameters=True
        )
    except (sqlalchemy.exc.ArgumentError, ValueError, TypeError):
        raise InvalidDataError(
            f"{field}: the address of the database has another form; write {scheme_of(url)}://USER:PASSWORD@HOST/DATABASE"
        ) from None


def _values(query: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if query is None:
        return ()
    return (query,) if isinstance(query, str) else query


def complaint(error: Exception, table: str) -> str:
    """What is wrong, in words of which none is the server's."""
    cause = getattr(error, "orig", None) or error
    text = f"{getattr(cause, 'pgcode', '')} {type(cause).__name__} {' '.join(map(str, getattr(cause, 'args', ())))}"
    for pattern, words in _WORDS:
        if re.search(rf"\b(?:{pattern})", text):
            return words.format(table=repr(table))
    return f"the server refuses it ({type(cause).__name__}); its own log says why"


class ServerTable:
    """As `Database`."""

    def __init__(self, reading: Reading, table: str, url: str) -> None:
        import sqlalchemy

        self._reading = reading
        self._table = table
        self._engine = engine_of(reading.field, url, feature="databases")
        self._failure: InvalidDataError | None = None
        *schema, name = table.split(".")
        self._schema, self._name = schema[-1] if schema else None, name
        try:
            with self._engine.connect() as connection:
                found = sqlalchemy.inspect(connection).get_columns(self._name, self._schema)
        except sqlalchemy.exc.NoSuchTableError:
            raise self._refused(
                "there is no such table; correct it, and write its schema before a dot"
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, UnicodeError) as error:
            raise self._refused(complaint(error, table)) from None
        if not found:
            raise self._refused("there is no such table; correct it, and write its schema before a dot")
        self._types = {column["name"]: column["type"] for column in found}
        self.columns = list(self._types)
        self.booleans = frozenset(name for name, kind in self._types.items() if _is_declared_boolean(kind))

    def rows(self, columns: Sequence[str], limit: int | None = None) -> pa.RecordBatchReader:
        """In batches, from one moment of the table."""
        kinds = {name: arrow_type(self._types[name]) for name in columns}
        self._failure = None
        return pa.RecordBatchReader.from_batches(pa.schema(list(kinds.items())), self._batches(kinds, limit))

    def require_read(self) -> None:
        """Raises InvalidDataError."""
        if self._failure is not None:
            raise self._failure from None

    def _batches(self, kinds: Mapping[str, pa.DataType], limit: int | None) -> Iterator[pa.RecordBatch]:
        import sqlalchemy

        try:
            with self._engine.connect() as connection:
                streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS)
                result = streamed.execute(self._select(list(kinds), limit))
                for part in result.partitions(_ROWS):
                    values = zip(*part, strict=True)
                    yield pa.RecordBatch.from_arrays(
                        [
                            self._array(name, list(column), kind, used=limit is None)
                            for (name, kind), column in zip(kinds.items(), values, strict=True)
                        ],
                        schema=pa.schema(list(kinds.items())),
                    )
        except InvalidDataError as error:
            self._failure = error
            raise
        except (sqlalchemy.exc.SQLAlchemyError, UnicodeError) as error:
            self._failure = self._refused(complaint(error, self._table))
            raise self._failure from None
        except (ValueError, OverflowError):
            # Drivers raise it for moments that Python has none for.
            moments = [name for name, kind in kinds.items() if pa.types.is_temporal(kind)]
            named = ", ".join(map(repr, moments)) or "a column"
            self._failure = self._refused(
                f"a moment of {named} lies outside the years 1 to 9999; correct it, or let a view leave it out"
            )
            raise self._failure from None

    def _select(self, columns: Sequence[str], limit: int | None) -> Any:
        import sqlalchemy

        table = sqlalchemy.table(self._name, schema=self._schema)
        chosen: Any = sqlalchemy.select(*(self._column(name) for name in columns)).select_from(table)
        reading = self._reading
        at = reading.source.time_column
        kind = arrow_type(self._types[at]) if at in self._types else pa.null()
        if reading.as_of is None or at is None or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            return chosen if limit is None else chosen.limit(limit)
        latest = (reading.as_of + _MARGIN).astimezone(UTC)
        if self._engine.name != "postgresql" or not getattr(kind, "tz", None):
            latest = latest.replace(tzinfo=None)
        known: Any = sqlalchemy.column(at)
        # A row without a moment is told.
        chosen = chosen.where(sqlalchemy.or_(known.is_(None), known <= latest))
        return chosen if limit is None else chosen.limit(limit)

    def _column(self, name: str) -> Any:
        import sqlalchemy

        column: Any = sqlalchemy.column(name)
        if pa.types.is_float32(arrow_type(self._types[name])):
            # MariaDB writes a FLOAT with six digits only, but a DOUBLE whole.
            return (column + sqlalchemy.literal_column("0e0")).label(name)
        return column

    def _array(self, name: str, values: list[Any], kind: pa.DataType, *, used: bool) -> pa.Array:
        if pa.types.is_binary(kind) and not used:
            return pa.nulls(len(values), kind)
        plain = partial(_plain, kind)
        try:
            return pa.array([None if value is None else plain(value) for value in values], kind)
        except (ValueError, TypeError, OverflowError, pa.ArrowException):
            if not used:
                return pa.nulls(len(values), kind)
            self._refuse_value(name, values, kind)

    def _refuse_value(self, name: str, values: Sequence[Any], kind: pa.DataType) -> NoReturn:
        shown = ""
        for value in values:
            try:
                pa.array([None if value is None else _plain(kind, value)], kind)
            except (ValueError, TypeError, OverflowError, pa.ArrowException):
                shown = repr(str(value)[:60])
                break
        if pa.types.is_binary(kind):
            shown, way = "binary values", "leave it out of data.query, or store text"
        elif pa.types.is_floating(kind):
            way = "give the column digits, such as numeric(20, 4), or let a view cast it to text"
        elif pa.types.is_string(kind):
            way = "it is nested: let a view give plain values"
        else:
            way = "it is no moment: write NULL where none is known, or let a view cast it to text"
        raise self._refused(f"column {name!r} holds {shown}; {way}")

    def _refused(self, words: str) -> InvalidDataError:
        return InvalidDataError(f"{self._reading.field}: table {self._table!r} cannot be read: {words}")


def arrow_type(kind: Any) -> pa.DataType:
    """Of a column's type as SQLAlchemy names it."""
    from sqlalchemy import types
    from sqlalchemy.dialects import mysql

    if isinstance(kind, types.Boolean) or (isinstance(kind, mysql.BIT) and (kind.length or 1) == 1):
        return pa.bool_()
    if isinstance(kind, types.Integer):
        wide = isinstance(kind, mysql.BIGINT) and kind.unsigned
        return pa.uint64() if wide else pa.int64()
    if isinstance(kind, mysql.FLOAT):
        return pa.float32()
    # SQLAlchemy counts floats as numerics in older releases.
    if isinstance(kind, types.Float):
        return pa.float64()
    if isinstance(kind, types.Numeric):
        digits, after = kind.precision, kind.scale or 0
        if digits is not None and after < 0:
            digits, after = digits - after, 0
        return pa.decimal128(digits, after) if digits is not None and digits <= 38 else pa.float64()
    if isinstance(kind, types.DateTime):
        aware = bool(kind.timezone) or isinstance(kind, mysql.TIMESTAMP)
        return pa.timestamp("us", "UTC" if aware else None)
    if isinstance(kind, types.Date):
        return pa.date32()
    if isinstance(kind, types.LargeBinary | types.BINARY | types.VARBINARY | mysql.BIT):
        return pa.binary()
    return pa.string()


def _is_declared_boolean(kind: Any) -> bool:
    from sqlalchemy.dialects import mysql

    return isinstance(kind, mysql.TINYINT) and kind.display_width == 1


def _plain(kind: pa.DataType, value: Any) -> Any:
    """The value as Arrow takes it; raises ValueError or TypeError for one that has no such form."""
    if pa.types.is_string(kind):
        return _text(value)
    if pa.types.is_boolean(kind):
        return value not in (0, b"\x00", b"\x00" * 8) if not isinstance(value, bool) else value
    if pa.types.is_binary(kind):
        raise TypeError(kind)
    if pa.types.is_timestamp(kind):
        if not isinstance(value, datetime):
            raise TypeError(kind)
        if kind.tz and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value
    if pa.types.is_date(kind) and not isinstance(value, date):
        raise TypeError(kind)
    if pa.types.is_floating(kind) and isinstance(value, Decimal):
        number = float(value)
        if value.is_finite() and Decimal(repr(number)) != value:
            raise ValueError(kind)
        return number
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict | list | set | bytes):
        raise TypeError(type(value))
    if isinstance(value, timedelta):
        # How MariaDB's driver gives a time of day.
        seconds = int(value.total_seconds())
        sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
        part = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{part}"
    if isinstance(value, time):
        return value.isoformat()
    return str(value)
