"""Step 3: where rows come from, what identifies them and when their labels are known."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.annotations import Annotations
from capstan.spec.cluster import DataVolume
from capstan.spec.events import Aggregate, Events
from capstan.spec.grammar import DELIMITER_PATTERN, ColumnName, OneOf, SpecModel, Text
from capstan.spec.privacy import Privacy
from capstan.spec.rule import ARITHMETIC, Cel, part_rule, require
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import CellText, Flag, Number, PositiveDuration, Share, Whole


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError(
            "time_zone", "is not an IANA time zone; write one such as UTC or America/New_York"
        ) from None
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]


def _known_encoding(value: str) -> str:
    try:
        found = codecs.lookup(value)
        "a".encode(found.name)
    except (LookupError, ValueError):
        raise PydanticCustomError(
            "encoding", "is no encoding of text; write one such as windows-1252, latin-1 or shift_jis"
        ) from None
    return value


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def _in_a_file_system(value: str) -> str:
    if ADDRESS.match(value):
        raise PydanticCustomError(
            "address",
            "is an address; copy or mount the file and write its path",
        )
    return value


FilePath = Annotated[Text, AfterValidator(_in_a_file_system)]

STORAGES = ("s3", "gs", "az")
"""Schemes of addresses of object storages."""
_OTHER_STORAGES = {
    **dict.fromkeys(("gcs",), "write gs://BUCKET/PATH"),
    **dict.fromkeys(("s3a", "s3n"), "write s3://BUCKET/PATH"),
    **dict.fromkeys(("abfs", "abfss", "wasb", "wasbs", "azure", "adl"), "write az://CONTAINER/PATH"),
}
"""Scheme of an address that is not read -> the way out."""
_ANY_STORAGE = (
    "write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, or copy or mount the file and write "
    "its path"
)
_BUCKET = re.compile(r"[a-z0-9]+://[A-Za-z0-9][A-Za-z0-9._-]*/[^/].*")
_IN_STORAGE = re.compile(rf"({'|'.join(STORAGES)})://")


def is_in_storage(path: str) -> bool:
    """Whether it is an address of an object storage."""
    return _IN_STORAGE.match(path) is not None


def _readable_path(value: str) -> str:
    if not ADDRESS.match(value):
        return value
    scheme = value.partition("://")[0].lower()
    if scheme not in STORAGES:
        raise PydanticCustomError(
            "address",
            "is an address that is not read; {way}",
            {"way": _OTHER_STORAGES.get(scheme, _ANY_STORAGE)},
        )
    if not _BUCKET.fullmatch(value):
        raise PydanticCustomError(
            "bucket",
            "names no file in a bucket; write {scheme}://BUCKET/PATH, without keys",
            {"scheme": scheme},
        )
    return value


SourcePath = Annotated[Text, AfterValidator(_readable_path)]
_PATH = (
    "File, folder or pattern such as data/*.csv, relative to this file. The name of a file that exists is "
    "never taken for a pattern. Files packed with gzip are read without unpacking them. Or s3://BUCKET/PATH, "
    "gs://BUCKET/PATH or az://CONTAINER/PATH in an object storage."
)
_CREDENTIALS = (
    "Secret with the keys of the object storage. Of s3:// it is a file of credentials of AWS: a line [default], then "
    "aws_access_key_id = and aws_secret_access_key =, and where needed aws_session_token =, region = and "
    "endpoint_url = for a server that is not Amazon's. Of gs:// it is the key of a service account (JSON), of az:// "
    "a connection string. Without it the keys are those of the environment."
)
_LAKE = {"secretKeyRef": {"name": "lake", "key": "credentials"}}
_TIME_COLUMN = (
    "Column with the moment at which a row became known. A training reads no row that became known after "
    "its own moment (`asOf`). Without it every training reads all rows."
)


DECIMAL_COMMA, GROUPED = "1.234,5", "1,234.5"
NUMBER_FORMS = (DECIMAL_COMMA, GROUPED)
"""How numbers may be written beside 1234.5: with a decimal comma, and with thousands in groups by commas."""


def _form_of_moments(value: str) -> str:
    """Parts that Python and DuckDB read alike; without a date there is no moment."""
    parts = re.findall(r"%.?", value)
    clock = [part for part in ("%H", "%M", "%S") if part in parts]
    # Python fails over a part that is written twice; minutes without hours would be dropped.
    is_known = (
        sorted(parts) == sorted(["%Y", "%m", "%d", *clock]) and clock == ["%H", "%M", "%S"][: len(clock)]
    )
    if not is_known or len(value) > 40:
        raise PydanticCustomError(
            "written",
            "is no way to write a moment; write %Y, %m and %d, each once, with %H, %M and %S for a clock",
        )
    if [part for part in parts if part in ("%Y", "%m", "%d")] == ["%Y", "%d", "%m"]:
        raise PydanticCustomError(
            "written_day_first",
            "has the day between year and month, where a request that writes 2024-03-01 means the first of March; "
            "state Text and derive the moment in data.query by strptime",
        )
    return value


def _form(value: str, info: ValidationInfo) -> str:
    """Of a column of numbers one of NUMBER_FORMS, else of moments."""
    if info.data.get("type") != "Number":
        return _form_of_moments(value)
    if value not in NUMBER_FORMS:
        raise PydanticCustomError(
            "written_number",
            'is no way to write numbers; write "1.234,5" or "1,234.5", or drop it for 1234.5',
        )
    return value


class StatedType(SpecModel):
    """What a column holds, where its values leave it open."""

    column: ColumnName = Field(description="Column of the source.", examples=["release"])
    type: Literal["Text", "Number", "Boolean", "Time"] = Field(
        description=(
            "Text keeps what was written, such as 1.10 or 007. In a column of Number, Boolean or Time any "
            "other value is refused, and texts such as NA mean that it is missing."
        ),
        examples=["Text"],
    )
    written: Annotated[str, AfterValidator(_form)] | None = Field(
        None,
        description=(
            "How the texts of a column of times are written, where they are not 2013-02-01: %Y, %m and %d, and %H, %M "
            "and %S where they have a clock. The column of this name in a request is read so too. Of a column of "
            'numbers "1.234,5" or "1,234.5": the first has a decimal comma, and both may have thousands in groups. A '
            "CSV file that is handed to `capstan predict` or `capstan feedback` is read so too."
        ),
        examples=["%d.%m.%Y %H:%M", "1.234,5"],
    )

    @model_validator(mode="after")
    def _only_of_moments_and_numbers(self) -> StatedType:
        if self.written is None or self.type == "Time":
            return self
        if self.type != "Number":
            raise PydanticCustomError(
                "written_of_no_time",
                "written says how moments and numbers are written, and {column} is stated to be {type}; write Time or "
                "Number, or drop it",
                {"column": repr(self.column), "type": self.type},
            )
        return self


class SourceSettings(SpecModel):
    """Settings of one kind of source: what the rest of the house asks of a source without knowing its kind.

    How it is read is in `capstan.data.sources`.
    """

    @property
    def file(self) -> str | None:
        """File, folder or glob that it reads; None for a source that is no file."""
        return None

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        """What it needs to be told in secret."""
        return ()


FILE_RULES = (
    part_rule(
        "credentialsFrom is of an object storage, and path is no address of one; write s3://BUCKET/PATH, or drop it",
        lambda source: source.credentials_from is None or is_in_storage(source.path),
        *(
            Cel(
                f"!has(self.credentialsFrom) || self.path.matches('^({'|'.join(STORAGES)})://')",
                f"data.sources[].{kind}",
                "credentialsFrom",
            )
            for kind in ("csv", "parquet", "jsonLines", "delta")
        ),
    ),
)


class FileSource(SourceSettings):
    """A source that is a file, a folder or a glob."""

    path: SourcePath = Field(description=_PATH, examples=["data/events.jsonl"])
    credentials_from: ValueFrom | None = Field(None, description=_CREDENTIALS, examples=[_LAKE])

    @property
    def file(self) -> str | None:
        return self.path

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        return () if self.credentials_from is None else (self.credentials_from,)

    @model_validator(mode="after")
    def _of_a_storage(self) -> FileSource:
        return require(self, FILE_RULES)


class CsvSource(FileSource):
    """A CSV file, or a folder of them."""

    path: SourcePath = Field(description=_PATH, examples=["data/flights.csv"])
    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["scheduled_departure"])
    missing: tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...] = Field(
        (),
        max_length=100,
        description=(
            "Further texts that mean a missing value, in every column of this file. The empty text always "
            "does. NA, N/A, NaN, NULL and None do in columns of numbers, booleans and times. A request "
            "sends null for a missing value, and none of these texts."
        ),
        examples=[["?", "-"]],
    )
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = Field(
        None,
        description=(
            "How the letters of the file are encoded, by Python's name, where it is not UTF-8 or UTF-16 with its mark. "
            "A file that is UTF-8 all the same is refused."
        ),
        examples=["windows-1252"],
    )
    delimiter: Annotated[str, StringConstraints(pattern=DELIMITER_PATTERN)] | None = Field(
        None,
        description=(
            "What stands between two values. Without it that of comma, semicolon, tab and | which the first line has "
            'most of; a first line "sep=;" says it too.'
        ),
        examples=["^"],
    )
    quote: Literal['"', "'"] | None = Field(
        None,
        description=(
            "What stands around a value that holds the delimiter. Without it double quotes, or single ones where "
            "every name of the first line is in such."
        ),
        examples=["'"],
    )
    skip_lines: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        0, description="Lines before the one that names the columns, such as a title.", examples=[2]
    )


class ParquetSource(FileSource):
    """A Parquet file, or a folder of them."""

    path: SourcePath = Field(
        description=(
            "File, folder or pattern such as data/*.parquet, relative to this file. The name of a file "
            "that exists is never taken for a pattern. Or s3://BUCKET/PATH, gs://BUCKET/PATH or "
            "az://CONTAINER/PATH in an object storage, from which only the columns and days leave that are needed."
        ),
        examples=["data/weather"],
    )
    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["observed_at"])


class JsonLinesSource(FileSource):
    """A file with one JSON object a line."""

    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["created_at"])


class DeltaSource(FileSource):
    """A table of Delta Lake."""

    path: SourcePath = Field(
        description=(
            "Folder of the table, the one that holds _delta_log, relative to this file. Or s3://BUCKET/PATH, "
            "gs://BUCKET/PATH or az://CONTAINER/PATH in an object storage. Only the columns and days leave it that "
            "are needed."
        ),
        examples=["data/flights"],
    )
    version: Annotated[Whole, Field(ge=0)] | None = Field(
        None, description="Version of the table that is read; without it the newest.", examples=[12]
    )
    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["observed_at"])


ICEBERG_RULES = (
    part_rule(
        "an Iceberg table has a path, or a table with catalogFrom, which says where its catalog is; write one of both",
        lambda source: (
            (source.path is None) != (source.table is None)
            and (source.table is None) == (source.catalog_from is None)
        ),
        Cel(
            "has(self.path) != has(self.table) && has(self.table) == has(self.catalogFrom)",
            "data.sources[].iceberg",
        ),
    ),
)


class IcebergSource(SourceSettings):
    """A table of Apache Iceberg."""

    path: FilePath | None = Field(
        None,
        description=(
            "Folder of a table without a catalog, the one that holds `metadata`, relative to this file; or one of its "
            "files of metadata, which reads the table as that file tells it. Of a folder the newest is read."
        ),
        examples=["data/flights"],
    )
    table: (
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){1,9}$")] | None
    ) = Field(
        None, description="Table of a catalog, with its namespace before a dot.", examples=["shop.orders"]
    )
    catalog_from: ValueFrom | None = Field(
        None,
        description=(
            "Secret with the settings of the catalog as PyIceberg names them, one `name = value` a line, such as "
            "uri =, warehouse =, token =, s3.access-key-id =. A catalog that is a database needs its `name =` too."
        ),
        examples=[{"secretKeyRef": {"name": "lake", "key": "catalog"}}],
    )
    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["observed_at"])

    @property
    def file(self) -> str | None:
        return self.path

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        return () if self.catalog_from is None else (self.catalog_from,)

    @model_validator(mode="after")
    def _of_one_place(self) -> IcebergSource:
        return require(self, ICEBERG_RULES)


class DatabaseSource(SourceSettings):
    """A table of a database."""

    table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}$")] = Field(
        description="Table, optionally with its schema before a dot.", examples=["planes"]
    )
    url_from: ValueFrom = Field(
        description="Secret that holds the database's URL.",
        examples=[{"secretKeyRef": {"name": "planes-db", "key": "url"}}],
    )
    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["updated_at"])

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        return (self.url_from,)


class Source(OneOf):
    """One table that the query can name."""

    members: ClassVar[tuple[str, ...]] = ("csv", "parquet", "json_lines", "delta", "iceberg", "database")

    name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)] = Field(
        description="Name of the table in the query: lower-case letters, digits and underscores.",
        examples=["flights"],
    )
    types: tuple[StatedType, ...] = Field(
        (),
        max_length=5000,
        description=(
            "What a column holds, where its values do not tell: 1.10 may be a release (Text) or a price "
            "(Number). A column that is not listed here is Text where it is used as an id or a category, "
            "or where the query only joins or concatenates it, and a number would change how it is "
            "written (1.10 would become 1.1). `capstan validate --data` names the columns of which you "
            "need to say it."
        ),
        examples=[[{"column": "release", "type": "Text"}]],
    )
    annotations: Annotations | None = Field(
        None,
        description=(
            "The rows are labels that people gave by hand, several of them to one item. The query then sees a table "
            "with one row for each item: the item, its label, `annotators` (how many labelled it), `agreement` (the "
            "share of them who gave this label) and the source's time column (the moment of the newest label)."
        ),
        examples=[{"item": "comment_id", "annotator": "who", "label": "toxic"}],
    )
    csv: CsvSource | None = Field(None, description="CSV files.", examples=[{"path": "data/flights.csv"}])
    parquet: ParquetSource | None = Field(
        None, description="Parquet files.", examples=[{"path": "data/weather"}]
    )
    json_lines: JsonLinesSource | None = Field(
        None, description="Files with one JSON object a line.", examples=[{"path": "data/events.jsonl"}]
    )
    delta: DeltaSource | None = Field(
        None, description="A table of Delta Lake.", examples=[{"path": "data/flights"}]
    )
    iceberg: IcebergSource | None = Field(
        None, description="A table of Apache Iceberg.", examples=[{"path": "data/flights"}]
    )
    database: DatabaseSource | None = Field(
        None,
        description="A table of a database.",
        examples=[{"table": "planes", "urlFrom": {"secretKeyRef": {"name": "planes-db", "key": "url"}}}],
    )

    @model_validator(mode="after")
    def _stated_once(self) -> Source:
        columns = [one.column for one in self.types]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise PydanticCustomError(
                "stated_twice", "types says twice what {column} holds; keep one", {"column": repr(twice[0])}
            )
        return self

    @property
    def settings(self) -> SourceSettings:
        """Those of its kind."""
        settings: SourceSettings = self.chosen
        return settings

    @property
    def time_column(self) -> str | None:
        """Column with the moment a row became known; None where all rows are always read."""
        column: str | None = self.chosen.time_column
        return column


CONTENT_ID = "_capstan_id"
"""Column of the cases with the ids that are made from what rows hold, where the file names no column."""
READ_AT = "_capstan_time"
"""Column of the cases with the moment of the training, where the file names no column of times."""


class Keys(SpecModel):
    """Columns that identify a row, date it and keep a user on one version."""

    id: ColumnName | None = Field(
        None,
        description=(
            "Column with an id of each case, by which labels are joined. Without it an id is made from "
            "the values of a row, and a label names the `request_id` of the answer instead."
        ),
        examples=["flight_id"],
    )
    time: ColumnName | None = Field(
        None,
        description=(
            "Column with the moment of the prediction (event time). Without it every row counts as known "
            "at the moment of the training. Then rows are divided at random, and nothing can be replayed."
        ),
        examples=["scheduled_departure"],
    )
    sticky_by: ColumnName | None = Field(
        None,
        description=(
            "Column, such as the id of a user: requests with the same value go to the same version while "
            "weights stay, and a higher weight only adds values to the challenger. Without it each request "
            "may go to another version."
        ),
        examples=["tailnum"],
    )
    group: ColumnName | None = Field(
        None,
        description=(
            "Column that says which rows are put in order together. Only for tasks such as Ranking, where "
            "a request carries all rows of one group."
        ),
        examples=["departure_hour"],
    )

    @property
    def id_column(self) -> str:
        """Column of the extracted cases that names each."""
        return self.id if self.id is not None else CONTENT_ID

    @property
    def time_column(self) -> str:
        """Column of the extracted cases that dates each."""
        return self.time if self.time is not None else READ_AT


NO_COLUMN = "-"
"""Stands for the column of the label until the objective's target takes its place, where the file names no label."""


class Label(SpecModel):
    """The truth that arrives later."""

    column: ColumnName = Field(
        description=("Column with the true value. Where it is empty, the label is not known."),
        examples=["late"],
    )
    available_at: ColumnName | None = Field(
        None,
        description=(
            "Column with the moment at which the label became known. A training reads no label that "
            "became known after its own moment. Without it a label counts as known once its row is "
            "`maximumDelay` old, or at once where rows have no time."
        ),
        examples=["actual_arrival"],
    )
    maximum_delay: PositiveDuration = Field(
        timedelta(days=3),
        description=(
            "How long a label may take to come. After this time nobody waits for it any more: blocks and "
            "windows close without it."
        ),
        examples=["3d"],
    )


CHECK_RULES = (
    part_rule(
        "min is above max, so no value passes; swap them",
        lambda check: check.min is None or check.max is None or check.min <= check.max,
        Cel("!has(self.min) || !has(self.max) || self.min <= self.max", "data.checks[]", "min"),
    ),
    part_rule(
        "allowed is empty, so no value passes; name some or drop it",
        lambda check: check.allowed is None or bool(check.allowed),
        Cel("!has(self.allowed) || size(self.allowed) > 0", "data.checks[]", "allowed"),
    ),
    part_rule(
        "checks nothing; give min, max, allowed, nullable: false, unique, freshness, volume or condition, or drop it",
        lambda check: check.of_rows or check.freshness is not None or check.volume is not None,
        Cel(
            "has(self.min) || has(self.max) || has(self.allowed) || !self.nullable || self.unique || "
            "has(self.freshness) || has(self.volume) || has(self.condition)",
            "data.checks[]",
        ),
    ),
    part_rule(
        "leaves out rows, and freshness and volume are of all rows together; write `severity: Stop` or `Warn` there, "
        "in a check of their own",
        lambda check: check.severity != "Drop" or (check.freshness is None and check.volume is None),
        Cel(
            "self.severity != 'Drop' || !(has(self.freshness) || has(self.volume))",
            "data.checks[]",
            "severity",
        ),
    ),
)


class Check(SpecModel):
    """What a column's values must be: min, max, allowed and nullable in training data and in requests, others there."""

    column: ColumnName = Field(description="Column that is checked.", examples=["distance"])
    min: Number | None = Field(None, description="Smallest value; without it no bound.", examples=[1])
    max: Number | None = Field(None, description="Largest value; without it no bound.", examples=[5000])
    allowed: tuple[CellText, ...] | None = Field(
        None,
        max_length=10_000,
        description=(
            "The only values allowed; without it any. They are compared by the column's type: 1 is 1.0, true is True. "
            'Texts, or whole numbers; quote what YAML reads otherwise, such as "1.10", "true" or "NO".'
        ),
        examples=[["AA", "UA", "NO"]],
    )
    nullable: Flag = Field(True, description="Whether a value may be missing.", examples=[False])
    unique: Flag = Field(
        False,
        description="Whether each value may be there once; rows without a value are not compared.",
        examples=[True],
    )
    freshness: PositiveDuration | None = Field(
        None,
        description="How old the newest day or time of the column may be when a training begins.",
        examples=["2d"],
    )
    volume: Whole | None = Field(
        None, ge=1, description="So many rows at least must have a value in the column.", examples=[1000]
    )
    condition: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description=(
            "SQL that must not be false in any row. It may name other columns of the query's result. Where a missing "
            "value makes it neither true nor false, the row passes."
        ),
        examples=["actual_arrival >= scheduled_departure"],
    )
    severity: Literal["Stop", "Drop", "Warn"] = Field(
        "Stop",
        description=(
            "What a training does about rows that break the rule: it stops, it leaves them out and counts them, or "
            "it learns from them and says so. Requests are held to min, max, allowed and nullable in any case."
        ),
        examples=["Drop"],
    )

    @model_validator(mode="after")
    def _some_rule(self) -> Check:
        return require(self, CHECK_RULES)

    @property
    def of_rows(self) -> bool:
        """Whether single rows may break it."""
        rules = (self.min, self.max, self.allowed, self.condition)
        return any(one is not None for one in rules) or not self.nullable or self.unique


class Leaks(SpecModel):
    """What the search for features that know the answer leaves alone."""

    allow: tuple[ColumnName, ...] = Field(
        (),
        max_length=5000,
        description=(
            "Names of features that are allowed however well they tell the label, since you know that "
            "their values are there at the moment of the prediction."
        ),
        examples=[["contract_ended"]],
    )


class ByTime(SpecModel):
    """The last days before `asOf`, oldest first: training, validation, test."""

    validation: PositiveDuration = Field(
        timedelta(days=7),
        description="Length of the window on which candidates are chosen.",
        examples=["7d"],
    )
    test: PositiveDuration = Field(
        timedelta(days=14),
        description="Length of the last window, on which the chosen one is judged.",
        examples=["14d"],
    )


DRAWN_RULES = (
    part_rule(
        "validation and test are drawn to choose and to judge by; make both larger than 0%",
        lambda drawn: drawn.validation > 0 and drawn.test > 0,
        why_no_cel=ARITHMETIC,
    ),
    part_rule(
        "validation and test leave no row to learn from; make them smaller",
        lambda drawn: drawn.validation + drawn.test < 1,
        why_no_cel=ARITHMETIC,
    ),
)


CLASSES = ("Boolean", "Category")
"""Kinds of labels that can be drawn by their classes."""


class Drawn(SpecModel):
    """Shares of the rows that are drawn for validation and test; the others train."""

    validation: Share = Field(
        0.15, description="Share of the rows on which candidates are chosen.", examples=["15%"]
    )
    test: Share = Field(
        0.2, description="Share of the rows on which the chosen one is judged.", examples=["20%"]
    )
    seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] = Field(
        0, description="The same seed draws the same rows of the same table.", examples=[1]
    )

    @model_validator(mode="after")
    def _leaves_rows(self) -> Drawn:
        return require(self, DRAWN_RULES)


class DrawnByGroup(Drawn):
    """Shares of the groups that are drawn for validation and test; the others train."""

    by: ColumnName = Field(
        description=(
            "Column whose values are the groups, such as the id of a customer; it need not be a feature. No group is "
            "in two parts. Rows without a value are each a group."
        ),
        examples=["customer"],
    )


class Split(SpecModel):
    """How rows are divided into training, validation and test."""

    by_time: ByTime = Field(
        default_factory=ByTime,
        description="By event time, so that a model is judged on days after those it learnt from.",
        examples=[{"validation": "7d", "test": "14d"}],
    )
    random: Drawn | None = Field(
        None,
        description=(
            "At random, for rows without a time. It is the default for them where labels are numbers. "
            "Rows with equal values, and the rows of one group, stay in one part."
        ),
        examples=[{"validation": "15%", "test": "20%"}],
    )
    stratified: Drawn | None = Field(
        None,
        description=(
            "At random, with the same share of each class in all parts. It is the default for rows "
            "without a time whose labels are classes."
        ),
        examples=[{"validation": "15%", "test": "20%"}],
    )
    group: DrawnByGroup | None = Field(
        None,
        description=(
            "At random, by whole groups, so that a model is judged on customers, patients or machines that it has not "
            "learnt from. For rows without a time."
        ),
        examples=[{"by": "customer", "validation": "15%", "test": "20%"}],
    )
    refit: Flag = Field(
        True,
        description="Whether the chosen candidate is trained once more on all rows before it is packaged.",
        examples=[True],
    )


class Data(SpecModel):
    """Sources, keys, label, checks, split and privacy."""

    sources: tuple[Source, ...] = Field(
        min_length=1,
        max_length=100,
        description="Tables that the query can name.",
        examples=[[{"name": "flights", "csv": {"path": "data/flights.csv"}}]],
    )
    query: Text | None = Field(
        None,
        description="SQL that joins the sources to one row per case; without it the only source is read as it is.",
        examples=["select * from flights left join weather using (origin, time_hour)"],
    )
    engine: Literal["DuckDB", "Polars", "Spark"] = Field(
        "DuckDB",
        description="What runs the query: DuckDB; Polars, which needs the extra `polars`; or Spark, which needs the "
        "extra `spark` and Java 17.",
        examples=["Spark"],
    )
    time_zone: TimeZone = Field(
        "UTC",
        description=(
            "IANA time zone. It decides when a day begins, and which moment a time without an offset means."
        ),
        examples=["America/New_York"],
    )
    events: tuple[Events, ...] = Field(
        (),
        max_length=20,
        description=(
            "Tables of events, such as payments, from which features of a row are counted: as of the moment of that "
            "row, from the events that were known by then."
        ),
        examples=[
            [
                {
                    "source": "payments",
                    "entity": "customer",
                    "time": "paid_at",
                    "aggregates": [
                        {"name": "spent_7d", "function": "Sum", "column": "amount", "window": "7d"}
                    ],
                }
            ]
        ],
    )
    keys: Keys = Field(
        default_factory=Keys,
        description="Columns that identify a row, date it and keep a user on one version.",
        examples=[{"id": "flight_id", "time": "scheduled_departure", "stickyBy": "tailnum"}],
    )
    label: Label = Field(
        # It takes what is validated already, so that no schema writes it into an object: no label is none.
        default_factory=lambda _: Label(column=NO_COLUMN),
        description=(
            "The truth that arrives later. Required where the task learns from it. AnomalyDetection does not: without "
            "`label` no source needs a label, and one that feedback brings later is judged by all the same."
        ),
        examples=[{"column": "late", "availableAt": "actual_arrival", "maximumDelay": "3d"}],
    )
    checks: tuple[Check, ...] = Field(
        (),
        max_length=5000,
        description="Rules that values must keep, in the rows of a training and in requests.",
        examples=[[{"column": "distance", "min": 1}]],
    )
    leaks: Leaks = Field(
        default_factory=Leaks,
        description=(
            "Each training looks for features that give the label away. If one feature alone tells every "
            "label, or is missing exactly where no label came, the training is refused. If one alone "
            "tells nearly every label, there is a warning."
        ),
        examples=[{"allow": ["contract_ended"]}],
    )
    split: Split = Field(
        default_factory=Split,
        description="How rows are divided into training, validation and test.",
        examples=[{"byTime": {"validation": "7d", "test": "14d"}, "refit": True}],
    )
    privacy: Privacy = Field(
        default_factory=Privacy,
        description="Columns that tell of persons, and what stands for their values wherever anything is kept.",
        examples=[{"columns": [{"name": "age", "generalise": {"width": 10}}]}],
    )
    volume: DataVolume = Field(
        default_factory=DataVolume,
        description=(
            "Where the files of the sources and factories lie in a cluster; relative paths are relative "
            "to it. Not used on one machine."
        ),
        examples=[{"size": "1Gi"}],
    )

    @property
    def has_label(self) -> bool:
        """Whether the file names a label; without it no source has one."""
        return "label" in self.model_fields_set

    @property
    def aggregates(self) -> dict[str, Aggregate]:
        """Column of the cases -> what it is made of, for those that are counted from events."""
        return {one.name: one for events in self.events for one in events.aggregates}

    @property
    def entities(self) -> tuple[str, ...]:
        """Columns of the query that say whose events count, each once."""
        return tuple(dict.fromkeys(events.entity for events in self.events))

    @property
    def entity_keys(self) -> dict[str, str]:
        """The entities that are no key otherwise, as keys of a request: `entity0` and so on."""
        keys = (self.keys.id, self.keys.time, self.keys.sticky_by, self.keys.group)
        return {f"entity{place}": one for place, one in enumerate(self.entities) if one not in keys}

    @property
    def settled_after(self) -> timedelta:
        """How old a row is when all that is known of it is known; without a label that is at once."""
        return self.label.maximum_delay if self.has_label else timedelta(0)

    @property
    def written(self) -> dict[str, str]:
        """Column -> how a source writes its moments; without those that two sources write differently."""
        stated = [
            one
            for source in self.sources
            for one in source.types
            if one.written is not None and one.type == "Time"
        ]
        forms = {
            one.column: {other.written for other in stated if other.column == one.column} for one in stated
        }
        return {
            one.column: one.written
            for one in stated
            if one.written is not None and len(forms[one.column]) == 1
        }
