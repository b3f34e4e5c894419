"""Claims about disks and storages that fail while a source is read: the fault is named, not the file blamed."""

from __future__ import annotations

import errno
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from capstan.data.sources import Reading, csv, open_source, plain_text, storages
from capstan.data.workspace import workspace
from capstan.errors import DiskFullError, InvalidDataError
from capstan.spec.data import Source

SECRET = "AKIA-hunter2"
PARQUET = BytesIO()
pq.write_table(pa.table({"id": ["1", "2"]}), PARQUET)


def read(folder: Path, kind: str, **settings: Any) -> None:
    source = Source.model_validate({"name": "t", kind: settings})
    with workspace(threads=1, memory=2**28, zone="UTC") as connection:
        reading = Reading(connection, source, None, folder, folder, "UTC")
        reader = open_source(reading)
        reader.read(list(reader.columns))


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_full(folder: Path, shown: str, kind: str, **settings: Any) -> None:
    with pytest.raises(DiskFullError) as raised:
        read(folder, kind, **settings)
    said = str(raised.value)
    assert said.startswith("data.sources.t: no room left in ")
    assert f"for a copy of {shown}; free some space there, or name another folder in TMPDIR" in said
    assert "unpacked" not in said


def test_a_disk_that_is_full_while_a_csv_file_is_copied_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_bytes("id,city\n1,Köln\n".encode("latin-1"))
    monkeypatch.setattr(plain_text, "_copy", no_room)
    check_full(tmp_path, str(tmp_path / "t.csv"), "csv", path="t.csv", encoding="latin-1")


def test_the_same_while_line_ends_are_made_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DuckDB reads no file whose lines end in several ways.
    (tmp_path / "t.csv").write_bytes(b"id,city\r\n" + b"1,K\n" + b'2,"a\r\nb"\r\n' * 3)
    monkeypatch.setattr(csv, "with_plain_line_ends", no_room)
    monkeypatch.setattr(csv, "_NO_STATE", "")
    check_full(tmp_path, str(tmp_path / "t.csv"), "csv", path="t.csv")


class Bucket:
    """A storage that gives the content of its file, or fails."""

    type_name = "s3"

    def __init__(self, content: bytes, error: OSError | None = None) -> None:
        self.content, self.error = content, error

    def get_file_info(self, path: str | list[str]) -> Any:
        if isinstance(path, list):
            return [self.get_file_info(one) for one in path]
        return fs.FileInfo(path, fs.FileType.File, size=len(self.content))

    def open_input_stream(self, _: str, compression: None) -> Any:
        return BytesIO(self.content)

    def open_input_file(self, _: str) -> Bucket:
        return self

    def size(self) -> int:
        return len(self.content)

    def read_at(self, count: int, place: int) -> bytes:
        if self.error is not None:
            raise self.error
        return self.content[place : place + count]

    def close(self) -> None:
        pass


def keep(monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> None:
    monkeypatch.setattr(storages, "object_storage", lambda *_: bucket)


def test_the_same_while_a_file_of_a_storage_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, Bucket(b"id\n1\n"))
    own = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        return open("/dev/full", mode) if mode == "wb" else own(self, mode, *more, **options)

    monkeypatch.setattr(Path, "open", full)
    check_full(tmp_path, "s3://lake/t.csv", "csv", path="s3://lake/t.csv")


def test_a_storage_that_refuses_the_end_of_a_parquet_file_is_told_without_the_clients_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        f"When reading information for key 't' ({SECRET}): AWS Error ACCESS_DENIED during GetObject operation"
    )
    keep(monkeypatch, Bucket(PARQUET.getvalue(), OSError(words)))
    with pytest.raises(InvalidDataError) as raised:
        read(tmp_path, "parquet", path="s3://lake/t.parquet")
    said = str(raised.value)
    assert said.startswith("data.sources.t: s3://lake/t.parquet: ")
    assert "the object storage does not allow it with these keys" in said
    assert SECRET not in said
    assert "whole Parquet file" not in said
    assert raised.value.__cause__ is None


def test_a_parquet_file_of_a_storage_that_was_cut_off_is_still_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, Bucket(PARQUET.getvalue()[:-20]))
    with pytest.raises(InvalidDataError, match=r"s3://lake/t.parquet is not a whole Parquet file"):
        read(tmp_path, "parquet", path="s3://lake/t.parquet")
