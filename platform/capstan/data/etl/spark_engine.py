"""What runs a transform by Spark: of this machine, of a cluster that sees its files, or behind Spark Connect."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from capstan.data.etl.engines import (
    REASON,
    SELECT,
    Engine,
    Function,
    Made,
    Tables,
    called,
    first_line,
    made_of,
    parquet_files,
    reasons,
)
from capstan.errors import CapstanError, InvalidDataError, MissingExtraError
from capstan.spec.etl import CONNECT, Transform

MASTER = "SPARK_MASTER"
"""Environment variable with the address of a Spark; without it this machine's cores are one."""
_REMOTE_MODE = "SPARK_CONNECT_MODE_ENABLED"
"""What lets functions of PySpark, which a person's own code calls, make columns of Spark Connect."""
_CONNECT_SECONDS = 10.0
_TRIES = 5
"""Of a call that finds no server; waits between them take some 20 seconds together."""
_PORT = 15002


@contextmanager
def spark_engine(zone: str) -> Iterator[Engine]:
    """A session of Spark; raises MissingExtraError without pyspark, CapstanError for a Spark that does not work."""
    if find_spec("pyspark") is None:
        raise MissingExtraError("engine: Spark", "spark")
    from pyspark.sql import SparkSession

    # Its workers are processes of this Python.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        session = (
            SparkSession.builder.appName("capstan etl")
            .master(os.environ.get(MASTER, "local[*]"))
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.log.level", "ERROR")
            .config("spark.sql.session.timeZone", zone)
            .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
            .getOrCreate()
        )
    except Exception as error:
        raise CapstanError(
            f"engine: Spark: {first_line(error)}; {MASTER} is its address, and without it this machine is one, "
            "by Java 17"
        ) from error
    try:
        yield _Spark(session)
    finally:
        session.stop()


@contextmanager
def connected_engine(zone: str, address: str, field: str) -> Iterator[Engine]:
    """A session behind Spark Connect at `sc://HOST:PORT`; rows go through the connection.

    Raises MissingExtraError without pyspark and grpc, CapstanError, without the address, where no Spark answers.
    """
    if any(find_spec(name) is None for name in ("pyspark", "grpc", "grpc_status")):
        raise MissingExtraError(field, "spark")
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession

    if not CONNECT.match(address):
        raise CapstanError(
            f"{field}: the secret holds no address of Spark Connect; write sc://HOST:{_PORT} to it"
        )
    before = os.environ.get(_REMOTE_MODE)
    os.environ[_REMOTE_MODE] = "1"
    session = None
    try:
        try:
            _require_listening(address)
            session = SparkSession.builder.remote(address).create()
            session.client.set_retry_policies([DefaultPolicy(max_retries=_TRIES)])
            session.conf.set("spark.sql.session.timeZone", zone)
        except Exception as error:
            raise CapstanError(
                f"{field}: no Spark Connect answers: {_without_address(first_line(error), address)}; start it by "
                f"start-connect-server.sh, and write its address as sc://HOST:{_PORT}"
            ) from error
        yield _Connected(session)
    finally:
        if session is not None:
            session.stop()
        if before is None:
            del os.environ[_REMOTE_MODE]
        else:
            os.environ[_REMOTE_MODE] = before


def _require_listening(address: str) -> None:
    """Raises OSError; PySpark itself would try for ten minutes."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port or _PORT), _CONNECT_SECONDS):
        pass


def _without_address(text: str, address: str) -> str:
    host = urlsplit(address).hostname or address
    return text.replace(address, "the address").replace(host, "the server")


class _Spark:
    def __init__(self, session: Any) -> None:
        self._session = session

    def transform(self, step: Transform, function: Function | None, tables: Tables, target: Path) -> Made:
        if function is None and not SELECT.match(step.sql or ""):
            raise InvalidDataError(f"transform.{step.name}: sql must be one select statement")
        try:
            frames = {name: self._frame(table) for name, table in tables.items() if _reads(step, name)}
            for name, frame in frames.items():
                frame.createOrReplaceTempView(name)
            made = self._session.sql(step.sql) if function is None else called(step, function, frames)
            if not hasattr(made, "createOrReplaceTempView"):
                made = self._session.createDataFrame(made)
            made.createOrReplaceTempView("capstan_result")
            marked = self._session.sql(
                f"select *, {reasons(step.drop)} as {REASON} from capstan_result"  # noqa: S608
            ).cache()
            counts = {row[0]: row[1] for row in marked.groupBy(REASON).count().collect()}
            kept = marked.where(f"{REASON} is null").drop(REASON)
            shutil.rmtree(target, ignore_errors=True)
            target.unlink(missing_ok=True)
            self._write(kept, target)
            marked.unpersist()
        except InvalidDataError:
            raise
        except Exception as error:
            raise InvalidDataError(f"transform.{step.name}: {first_line(error)}") from error
        return made_of(step, counts)

    def _frame(self, table: Path) -> Any:
        return self._session.read.parquet(*parquet_files(table))

    def _write(self, frame: Any, target: Path) -> None:
        frame.write.parquet(target.absolute().as_uri())


class _Connected(_Spark):
    """Its server sees no file of this machine."""

    def _frame(self, table: Path) -> Any:
        from pyspark.sql.pandas.types import from_arrow_schema

        rows = pq.read_table(parquet_files(table))
        rows = rows.cast(pa.schema([one.with_type(_signed(one.type)) for one in rows.schema]))
        # Without a schema clock times would become moments.
        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
        return self._session.createDataFrame(rows, schema=schema)

    def _write(self, frame: Any, target: Path) -> None:
        pq.write_table(frame.toArrow(), target)


def _signed(kind: pa.DataType) -> pa.DataType:
    """The type without sign as Spark reads it of Parquet; Spark Connect takes none."""
    wider = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
    return pa.decimal128(20, 0) if pa.types.is_uint64(kind) else wider.get(kind, kind)


def _reads(step: Transform, table: str) -> bool:
    """Whether the step may read the table; the SQL of one that reads it has its name."""
    return step.sql is None or re.search(rf"\b{table}\b", step.sql, re.IGNORECASE) is not None
