"""Batches of predictions that the calendar asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from capstan.spec.cluster import BatchVolume
from capstan.spec.data import ADDRESS, FilePath, TimeZone
from capstan.spec.grammar import OneOf, SpecModel, Text
from capstan.spec.retraining import Cron
from capstan.spec.rule import UNTRIED, Breach, rule

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


KINDS = {".csv": "csv", ".jsonl": "json_lines", ".ndjson": "json_lines", ".parquet": "parquet"}
"""How names of files end, and the kind of source that reads them."""


def _in_a_file_system(value: str) -> str:
    if ADDRESS.match(value):
        raise PydanticCustomError(
            "address", "is an address, and batches are files in this version; mount it and write its folder"
        )
    return value


class BatchInput(OneOf):
    """Rows that are not those of the training: as a request sends them, with the keys and no label."""

    members: ClassVar[tuple[str, ...]] = ("source", "path")

    source: Text | None = Field(
        None, description="Name of a table of data.sources, which is read as it is.", examples=["bookings"]
    )
    path: FilePath | None = Field(
        None,
        description="File, folder or pattern of CSV, JSON lines or Parquet, relative to this file.",
        examples=["data/bookings.parquet"],
    )


class Batch(SpecModel):
    """The champion predicts the rows since the last batch, and they are written as Parquet."""

    schedule: Cron = Field(
        description="Minute, hour, day, month, weekday, as cron reads them.", examples=["0 3 * * *"]
    )
    time_zone: TimeZone = Field(
        "UTC", description="IANA zone of the schedule.", examples=["America/New_York"]
    )
    output: Annotated[Text, AfterValidator(_in_a_file_system)] = Field(
        description="Folder in which each batch has a folder of its own: relative to this file, in a cluster to the "
        "volume of batches.",
        examples=["predictions"],
    )
    input: BatchInput | None = Field(
        None,
        description="Which rows are predicted; without it those of data.query.",
        examples=[{"source": "bookings"}],
    )
    engine: Literal["Local", "Spark"] = Field(
        "Local",
        description="What predicts: one process, or tasks of Spark, which needs the extra `spark` and Java 17.",
        examples=["Spark"],
    )
    volume: BatchVolume = Field(
        default_factory=lambda: BatchVolume.model_validate({}),
        description="In a cluster: where they are written.",
        examples=[{"size": "10Gi"}],
    )


@rule(
    "rows have no time, so none is newer than the last batch; name it in data.keys.time, or drop batch and use "
    "`capstan predict --output`",
    why_no_cel=UNTRIED,
)
def a_batch_knows_which_rows_are_new(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.batch is not None and spec.data.keys.time is None:
        yield Breach(("spec", "batch"))


@rule("names no table of data.sources; write the name of one, or path", why_no_cel=UNTRIED)
def a_batch_reads_a_table_of_the_file(spec: MLSystemSpec) -> Iterator[Breach]:
    given = spec.batch.input if spec.batch is not None else None
    if given is not None and given.source is not None:
        known = {source.name for source in spec.data.sources}
        if given.source not in known:
            yield Breach(("spec", "batch", "input", "source"), value=given.source)


@rule(
    "is none of the kinds of files that are read; write a path that ends in .csv, .jsonl, .ndjson or .parquet, or make "
    "it a table of data.sources and name that",
    why_no_cel=UNTRIED,
)
def a_batch_reads_a_file_of_a_known_kind(spec: MLSystemSpec) -> Iterator[Breach]:
    given = spec.batch.input if spec.batch is not None else None
    if given is not None and given.path is not None and kind_of(given.path) is None:
        yield Breach(("spec", "batch", "input", "path"), value=given.path)


def kind_of(path: str) -> str | None:
    """The kind of source that reads the path, by how its name ends; None: none does."""
    plain = path.lower().rstrip("/").removesuffix(".gz")
    return next((kind for end, kind in KINDS.items() if plain.endswith(end)), None)


RULES = (
    a_batch_knows_which_rows_are_new,
    a_batch_reads_a_table_of_the_file,
    a_batch_reads_a_file_of_a_known_kind,
)
