"""A file of its own that moves rows: read sources, transform them, write files or tables of a database."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.data import ADDRESS, Source, TimeZone
from capstan.spec.document import read_document
from capstan.spec.grammar import OneOf, SpecModel, SystemNameText, Text
from capstan.spec.location import Document, path_text
from capstan.spec.mistakes import explained, grammar_errors
from capstan.spec.own_code import OwnCode
from capstan.spec.secrets import ValueFrom

CONNECT = re.compile(r"sc://[^/;\s]+(/[^\s]*)?\Z")
"""Address of Spark Connect."""
TABLE = r"^[a-z_][a-z0-9_]*$"


def _parquet_file(value: str) -> str:
    if ADDRESS.match(value):
        raise PydanticCustomError(
            "address", "is an address; write a file of this machine, and copy it from there"
        )
    if not value.endswith(".parquet"):
        raise PydanticCustomError("parquet", "is no name of a Parquet file; let it end in .parquet")
    return value


class Dropping(SpecModel):
    """Rows that do not go on, and why."""

    where: Text = Field(description="SQL condition of a row that is dropped.", examples=["amount is null"])
    because: Text = Field(
        description="Reason, which the report tells with the number.", examples=["no amount"]
    )


class Transform(OneOf):
    """One step, which makes a table of the tables before it."""

    members: ClassVar[tuple[str, ...]] = ("sql", "python")

    name: Annotated[str, Field(pattern=TABLE, max_length=63)] = Field(
        description="Name of the table that it makes.", examples=["daily"]
    )
    sql: Text | None = Field(
        None,
        description="One select over the tables before it, as the engine speaks SQL.",
        examples=["select customer, sum(amount) as spent from orders group by customer"],
    )
    python: OwnCode | None = Field(
        None,
        description="A factory that makes a function of the tables, by name: tables of pyarrow, or with "
        "their engines LazyFrames of Polars or DataFrames of PySpark. It gives the same, or a DataFrame of pandas.",
        examples=[{"factory": "mysteps:daily"}],
    )
    drop: tuple[Dropping, ...] = Field(
        (),
        max_length=100,
        description="Rows of the step's table that do not go on. Each counts for the first reason that holds.",
        examples=[[{"where": "amount is null", "because": "no amount"}]],
    )


class ParquetTarget(SpecModel):
    """A Parquet file."""

    path: Annotated[Text, AfterValidator(_parquet_file)] = Field(
        description="File, relative to this one; it is replaced whole.", examples=["out/daily.parquet"]
    )


class DatabaseTarget(SpecModel):
    """A table of a database."""

    table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=48)] = Field(
        description="Table, which is replaced whole.", examples=["daily"]
    )
    url_from: ValueFrom = Field(
        description="Secret that holds the database's URL.",
        examples=[{"secretKeyRef": {"name": "reports-db", "key": "url"}}],
    )


class Load(OneOf):
    """Where a table goes."""

    members: ClassVar[tuple[str, ...]] = ("parquet", "database")

    name: Annotated[str, Field(pattern=TABLE, max_length=63)] = Field(
        description="Name of a table of `extract` or `transform`.", examples=["daily"]
    )
    parquet: ParquetTarget | None = Field(
        None, description="Into a Parquet file.", examples=[{"path": "out/daily.parquet"}]
    )
    database: DatabaseTarget | None = Field(
        None,
        description="Into a table of a database.",
        examples=[{"table": "daily", "urlFrom": {"secretKeyRef": {"name": "reports-db", "key": "url"}}}],
    )


def _connect_address(value: str) -> str:
    if not CONNECT.match(value):
        raise PydanticCustomError("connect", "is no address of Spark Connect; write sc://HOST:15002")
    if "token=" in value:
        raise PydanticCustomError(
            "token", "holds a token; write the whole address to a secret, and name it by remoteFrom"
        )
    return value


class SparkServer(OneOf):
    """The server of Spark Connect that runs the transforms."""

    members: ClassVar[tuple[str, ...]] = ("remote", "remote_from")

    remote: Annotated[Text, AfterValidator(_connect_address)] | None = Field(
        None, description="Its address.", examples=["sc://spark.example.org:15002"]
    )
    remote_from: ValueFrom | None = Field(
        None,
        description="Secret that holds the address, such as one with a token.",
        examples=[{"secretKeyRef": {"name": "spark", "key": "remote"}}],
    )


class EtlSpec(SpecModel):
    """What is read, made and written."""

    engine: Literal["DuckDB", "Polars", "Spark"] = Field(
        "DuckDB",
        description="What runs the transforms: DuckDB; Polars, which needs the extra `polars`; or Spark, which needs "
        "the extra `spark` and Java 17.",
        examples=["Polars"],
    )
    spark: SparkServer | None = Field(
        None,
        description="Server of Spark Connect, for `engine: Spark`. None is this machine, or the Spark that the "
        "variable SPARK_MASTER names.",
        examples=[{"remote": "sc://spark.example.org:15002"}],
    )
    time_zone: TimeZone = Field(
        "UTC", description="IANA zone of times without offset.", examples=["America/New_York"]
    )
    extract: tuple[Source, ...] = Field(
        min_length=1,
        max_length=100,
        description="Sources, as in data.sources of a system.",
        examples=[[{"name": "orders", "csv": {"path": "orders.csv"}}]],
    )
    transform: tuple[Transform, ...] = Field(
        (),
        max_length=100,
        description="Steps, in their order.",
        examples=[[{"name": "daily", "sql": "select day, count(*) as orders from orders group by day"}]],
    )
    load: tuple[Load, ...] = Field(
        min_length=1,
        max_length=100,
        description="Where tables go.",
        examples=[[{"name": "daily", "parquet": {"path": "out/daily.parquet"}}]],
    )

    @model_validator(mode="after")
    def _fits(self) -> EtlSpec:
        if self.spark is not None and self.engine != "Spark":
            raise PydanticCustomError(
                "no_spark",
                "spark is the server of engine: Spark, and engine is {engine}; write engine: Spark, or drop spark",
                {"engine": self.engine},
            )
        tables = [*(one.name for one in self.extract), *(one.name for one in self.transform)]
        for name in tables:
            if tables.count(name) > 1:
                raise PydanticCustomError(
                    "twice",
                    "{name} names two tables of extract and transform; rename one",
                    {"name": repr(name)},
                )
        for one in self.load:
            if one.name not in tables:
                raise PydanticCustomError(
                    "no_table",
                    "load names {name}, which is no table; the tables are {tables}",
                    {"name": repr(one.name), "tables": ", ".join(tables)},
                )
        read = {(one.database.url_from, one.database.table) for one in self.extract if one.database}
        targets: list[Any] = []
        for one in self.load:
            target = (one.database.url_from, one.database.table) if one.database else one.chosen.path
            if target in read:
                raise PydanticCustomError(
                    "onto_itself",
                    "load would replace table {name}, which extract reads; write another table",
                    {"name": repr(target[1])},
                )
            if target in targets:
                raise PydanticCustomError(
                    "same_target", "load writes {name} twice; keep one", {"name": repr(one.name)}
                )
            targets.append(target)
        for source in self.extract:
            if source.settings.file is not None and source.settings.file in targets:
                raise PydanticCustomError(
                    "onto_itself",
                    "load would replace {name}, which extract reads; write another file",
                    {"name": repr(source.settings.file)},
                )
        return self


class EtlMetadata(SpecModel):
    """What the job is called."""

    name: SystemNameText = Field(
        description="Name: lower-case letters, digits and dashes, beginning with a letter, at most 40.",
        examples=["daily-orders"],
    )


class Etl(SpecModel):
    """A job that moves rows."""

    api_version: Literal["capstan.dev/v1alpha1"] = Field(
        description="Version of this grammar.", examples=["capstan.dev/v1alpha1"]
    )
    kind: Literal["ETL"] = Field(description="Kind of the object.", examples=["ETL"])
    metadata: EtlMetadata = Field(description="Its name.", examples=[{"name": "daily-orders"}])
    spec: EtlSpec = Field(
        description="What is read, made and written.", examples=[{"extract": [], "load": []}]
    )

    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def base_dir(self) -> Path:
        """What relative paths are relative to."""
        return self._base_dir


def load_etl(path: Path) -> Etl:
    """The job in the file; raises InvalidSpecError with all mistakes and their lines."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidSpecError(
            [Mistake("file", f"{path} can't be read: {reason}; check the path")]
        ) from error
    read: Document = read_document(content)
    mistakes = [mistake for _, mistake in read.mistakes]
    if read.is_readable:
        if isinstance(read.data, dict) and read.data.get("kind") == "MLSystem":
            raise InvalidSpecError(
                [
                    Mistake(
                        "kind", "'MLSystem' is no job that moves rows; write kind: ETL in a file of its own"
                    )
                ]
            )
        try:
            # The document comes with its own kinds of texts and numbers.
            job = Etl.model_validate(
                json.loads(json.dumps(read.data, default=str)), by_alias=True, by_name=False
            )
        except ValidationError as error:
            mistakes += [
                Mistake(path_text(one["loc"]), explained(one, read.data), read.line_of(one["loc"]))
                for one in grammar_errors(error)
            ]
        else:
            if not mistakes:
                job._base_dir = path.resolve().parent
                return job
    raise InvalidSpecError(sorted(mistakes, key=lambda mistake: mistake.line or 0))
