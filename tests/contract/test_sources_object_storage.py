"""Sources in a real S3 server: the same rows as from the same files on this machine, and keys that show nowhere."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from contract.object_storage import BUCKET, KEYS, ObjectStorage

from capstan.data.sources import Reading, object_storage, open_source
from capstan.data.sources.storages import Storage
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError
from capstan.spec.data import Source
from capstan.testing import check_source
from capstan.testing.sources import toy

pytestmark = pytest.mark.real
LAKE = {"secretKeyRef": {"name": "lake", "key": "credentials"}}
SECRETS = ("hunter2", *KEYS.values())


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    storage = ObjectStorage(tmp_path_factory.mktemp("storage"))
    storage.start()
    yield storage
    storage.stop()


def csv_bytes(table: pa.Table) -> bytes:
    sink = BytesIO()
    pa.csv.write_csv(table, sink)
    return sink.getvalue()


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def json_bytes(table: pa.Table) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in table.to_pylist()).encode()


KINDS: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "csv": ("rows.csv", csv_bytes),
    "parquet": ("rows.parquet", parquet_bytes),
    "jsonLines": ("rows.jsonl", json_bytes),
}


def keep_secret(folder: Path, text: str) -> None:
    (folder / "secrets" / "lake").mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "lake" / "credentials").write_text(text)


def rows_of(folder: Path, settings: Mapping[str, Any], kind: str, **options: Any) -> list[tuple[Any, ...]]:
    source = Source.model_validate({"name": "rows", kind: settings})
    with workspace(threads=options.get("threads", 2), memory=2**28, zone="UTC") as connection:
        reading = Reading(connection, source, options.get("as_of"), folder, folder / "secrets", "UTC")
        reader = open_source(reading)
        names = options.get("columns") or list(reader.columns)
        reader.require_distinct(names)
        reader.read(names)
        found: list[tuple[Any, ...]] = connection.sql(
            f"select {', '.join(map(quote, names))} from {reading.rows}"
        ).fetchall()
        if (numbered := reader.numbered(names[0])) is not None:
            file, number = connection.execute(f"select in_file, row_number from ({numbered})").fetchone() or (
                "",
                1,
            )
            place = reader.place(file, number)
            assert (
                settings["path"].partition("*")[0].partition("20[")[0] in place
                or "://" not in settings["path"]
            ), place
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_in_an_object_storage_keeps_the_suite_of_sources(kind: str, storage: ObjectStorage) -> None:
    name, content = KINDS[kind]

    def write(folder: Path, table: pa.Table) -> Mapping[str, Any]:
        storage.put(f"suite/{folder.name}/{name}", content(table))
        keep_secret(folder, storage.credentials())
        path = f"s3://{BUCKET}/suite/{folder.name}/{name}"
        return {"name": "rows", kind: {"path": path, "timeColumn": "at", "credentialsFrom": LAKE}}

    check_source(write, remove=lambda folder: storage.delete(f"suite/{folder.name}/{name}"))


FORMS = {
    "folder": ("", ""),
    "pattern": ("/*{}", ""),
    "deep pattern": ("/**/*{}", ""),
    "set of characters": ("/20[12]4{}", ""),
    "packed": ("", ".gz"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_files_are_the_same_rows_as_on_this_machine(
    kind: str, form: str, storage: ObjectStorage, tmp_path: Path
) -> None:
    path, packer = FORMS[form]
    suffix = Path(KINDS[kind][0]).suffix + ("" if kind == "parquet" else packer)
    table = toy()
    files = {
        f"2014{suffix}": table.slice(0, 9),
        f"2024{suffix}": table.slice(9, 11).select(["note", "id", "at", "paid"]),
        f"deeper/still/2024{suffix}": table.slice(20),
        f".hidden{suffix}": table if "*" in path or "[" in path else table.slice(0, 0),
    }
    if kind == "jsonLines":
        files.pop(f".hidden{suffix}") if not path else None
    keep_secret(tmp_path, storage.credentials())
    below = f"many/{kind}/{form.replace(' ', '-')}"
    for name, part in files.items():
        content = KINDS[kind][1](part)
        content = gzip.compress(content) if suffix.endswith(".gz") else content
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
        storage.put(f"{below}/{name}", content)
    end = path.format(suffix)
    stored = {"path": f"s3://{BUCKET}/{below}{end}", "credentialsFrom": LAKE, "timeColumn": "at"}
    here = rows_of(tmp_path, {"path": f"data{end}", "timeColumn": "at"}, kind)
    assert here
    assert rows_of(tmp_path, stored, kind) == here


def test_of_parquet_only_the_columns_and_days_that_are_needed_leave_the_storage(
    storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, start = 200_000, datetime(2024, 1, 1, tzinfo=UTC)
    at = np.datetime64("2024-01-01T00:00:00") + np.arange(rows).astype("timedelta64[m]")
    noise = np.random.default_rng(2).bytes(rows * 15).hex()
    table = pa.table(
        {
            "at": pa.array(at.astype("datetime64[us]")).cast(pa.timestamp("us", "UTC")),
            "amount": np.random.default_rng(1).random(rows),
            "wide": [noise[index * 30 : index * 30 + 30] for index in range(rows)],
        }
    )
    content = parquet_bytes(table, row_group_size=10_000)
    storage.put("wide/rows.parquet", content)
    keep_secret(tmp_path, storage.credentials())
    taken: list[int] = []
    read = object_storage._PlacedFile.read

    def counted(file: Any, size: int = -1) -> bytes:
        found = read(file, size)
        taken.append(len(found))
        return found

    monkeypatch.setattr(object_storage._PlacedFile, "read", counted)
    settings = {"path": f"s3://{BUCKET}/wide/rows.parquet", "credentialsFrom": LAKE, "timeColumn": "at"}
    whole = rows_of(tmp_path, settings, "parquet")
    all_bytes, taken[:] = sum(taken), []
    assert len(whole) == rows
    assert all_bytes > len(content) / 2

    columns = rows_of(tmp_path, settings, "parquet", columns=["amount"])
    few_columns, taken[:] = sum(taken), []
    assert len(columns) == rows
    early = rows_of(tmp_path, settings, "parquet", as_of=start + timedelta(minutes=9_999))
    few_days = sum(taken)
    assert early == whole[:10_000]
    assert few_columns < all_bytes * 0.6
    assert few_days < all_bytes * 0.3


def test_threads_that_share_a_file_read_the_same_rows(storage: ObjectStorage, tmp_path: Path) -> None:
    rows = 300_000
    values = np.random.default_rng(3).random((4, rows))
    table = pa.table({name: values[index] for index, name in enumerate("abcd")})
    content = parquet_bytes(table, row_group_size=5_000)
    (tmp_path / "rows.parquet").write_bytes(content)
    storage.put("threads/rows.parquet", content)
    keep_secret(tmp_path, storage.credentials())
    stored = {"path": f"s3://{BUCKET}/threads/rows.parquet", "credentialsFrom": LAKE}
    here = rows_of(tmp_path, {"path": "rows.parquet"}, "parquet", threads=1)
    assert sorted(rows_of(tmp_path, stored, "parquet", threads=8)) == sorted(here)


def test_each_thread_has_a_place_of_its_own_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(bytes(range(100)))
    with pa.OSFile(str(tmp_path / "rows")) as stored, ThreadPoolExecutor(1) as other:
        file = object_storage._PlacedFile(
            stored, "rows", object_storage.Notes(Storage("s3", None, (), str), [])
        )
        file.seek(10)
        other.submit(file.seek, 50).result()
        assert file.read(2) == bytes([10, 11])
        assert other.submit(file.read, 2).result() == bytes([50, 51])
        assert file.read(1) == bytes([12])


def test_a_server_that_goes_away_meanwhile_is_told(storage: ObjectStorage, tmp_path: Path) -> None:
    storage.put("away/rows.parquet", parquet_bytes(toy()))
    keep_secret(tmp_path, storage.credentials())
    settings = {"path": f"s3://{BUCKET}/away/rows.parquet", "credentialsFrom": LAKE}
    source = Source.model_validate({"name": "rows", "parquet": settings})
    with workspace(threads=1, memory=2**28, zone="UTC") as connection:
        reading = Reading(connection, source, None, tmp_path, tmp_path / "secrets", "UTC")
        reader = open_source(reading)
        storage.stop()
        try:
            with pytest.raises(
                InvalidDataError, match=r"data.sources.rows: s3://.*rows.parquet: nobody answers"
            ):
                reader.read(["id"])
        finally:
            storage.start()


REFUSED: dict[str, tuple[str, dict[str, str], str]] = {
    "wrong key": (
        "rows.csv",
        {"aws_access_key_id": "hunter2"},
        "correct aws_access_key_id and aws_secret_access_key",
    ),
    "wrong secret": (
        "rows.csv",
        {"aws_secret_access_key": "hunter2"},
        "correct aws_access_key_id and aws_secret",
    ),
    "no such file": (
        "none.csv",
        {},
        "none.csv does not exist; write the file there or correct data.sources.rows.path",
    ),
    "nothing that matches": ("*.tsv", {}, r"\*.tsv does not exist"),
    "nobody there": (
        "rows.csv",
        {"endpoint_url": "http://127.0.0.1:1"},
        "nobody answers there.*endpoint_url in the",
    ),
    "no address": (
        "rows.csv",
        {"endpoint_url": "storage"},
        "endpoint_url that is no address; write one such as https",
    ),
    "address with a key": (
        "rows.csv",
        {"endpoint_url": "http://me:hunter2@storage"},
        "endpoint_url that is no addr",
    ),
    "unknown line": (
        "rows.csv",
        {"aws_secret": "hunter2"},
        "lines that are not read; the names are aws_access_key_id",
    ),
    "no secret key": (
        "rows.csv",
        {"aws_secret_access_key": ""},
        "lacks aws_secret_access_key; write .default.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_cannot_be_read_is_refused_in_words_without_the_keys(
    case: str, kind: str, storage: ObjectStorage, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    name, changes, words = REFUSED[case]
    storage.put("refused/rows.csv", b"a\n1\n")
    keep_secret(tmp_path, storage.credentials(**changes))
    with pytest.raises(InvalidDataError, match=words) as raised:
        rows_of(tmp_path, {"path": f"s3://{BUCKET}/refused/{name}", "credentialsFrom": LAKE}, kind)
    assert str(raised.value).startswith("data.sources.rows: ")
    shown = f"{raised.value}{raised.value.__cause__}{caplog.text}{''.join(capfd.readouterr())}"
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize(
    "text", ["hunter2", "aws_access_key_id = hunter2", "[other]\naws_access_key_id = hunter2", ""]
)
def test_a_secret_of_another_form_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    keep_secret(tmp_path, text)
    with pytest.raises(
        InvalidDataError, match=r"data.sources.rows: the secret lake/credentials .*write \[default\]"
    ) as raised:
        rows_of(tmp_path, {"path": f"s3://{BUCKET}/rows.csv", "credentialsFrom": LAKE}, "csv")
    assert "hunter2" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_told(storage: ObjectStorage, tmp_path: Path) -> None:
    keep_secret(tmp_path, storage.credentials())
    with pytest.raises(InvalidDataError, match=r"s3://elsewhere/rows.csv"):
        rows_of(tmp_path, {"path": "s3://elsewhere/rows.csv", "credentialsFrom": LAKE}, "csv")


def test_a_wrong_line_is_told_by_the_address_of_its_file(storage: ObjectStorage, tmp_path: Path) -> None:
    storage.put("broken/rows.csv", b"a,b\n1,2\n3\n")
    storage.put("broken/rows.parquet", b"PAR1 and nothing more")
    keep_secret(tmp_path, storage.credentials())
    with pytest.raises(InvalidDataError, match=r"s3://capstan/broken/rows.csv, line 3: has 1 values"):
        rows_of(tmp_path, {"path": f"s3://{BUCKET}/broken/rows.csv", "credentialsFrom": LAKE}, "csv")
    with pytest.raises(
        InvalidDataError, match=r"s3://capstan/broken/rows.parquet is not a whole Parquet file"
    ):
        rows_of(tmp_path, {"path": f"s3://{BUCKET}/broken/rows.parquet", "credentialsFrom": LAKE}, "parquet")


def test_without_credentials_the_keys_are_those_of_the_environment(
    storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put("environment/rows.csv", b"a\n1\n2\n")
    for name, value in {
        **KEYS,
        "AWS_ENDPOINT_URL": f"http://{storage.endpoint}",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert rows_of(tmp_path, {"path": f"s3://{BUCKET}/environment/rows.csv"}, "csv") == [(1,), (2,)]
