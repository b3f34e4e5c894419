"""Sources in Azure's and Google's object storage, by their emulators: the same rows as from files on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract.object_storage import BUCKET as S3_BUCKET
from contract.object_storage import ObjectStorage
from contract.other_storages import BUCKET, Azure, Google, OtherStorage
from contract.test_sources_object_storage import KINDS, LAKE, keep_secret, rows_of

from capstan.data.sources import object_storage
from capstan.errors import InvalidDataError
from capstan.testing import check_source
from capstan.testing.sources import toy

pytestmark = pytest.mark.real
SERVERS: dict[str, type[Azure] | type[Google]] = {"az": Azure, "gs": Google}


@pytest.fixture(scope="module", params=SERVERS)
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OtherStorage]:
    server = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_there_keeps_the_suite_of_sources(kind: str, storage: OtherStorage) -> None:
    name, content = KINDS[kind]

    def write(folder: Path, table: pa.Table) -> Mapping[str, Any]:
        storage.put(f"suite/{folder.name}/{name}", content(table))
        keep_secret(folder, storage.secret())
        path = f"{storage.scheme}://{BUCKET}/suite/{folder.name}/{name}"
        return {"name": "rows", kind: {"path": path, "timeColumn": "at", "credentialsFrom": LAKE}}

    check_source(write, remove=lambda folder: storage.delete(f"suite/{folder.name}/{name}"))


@pytest.mark.parametrize("form", ["", "/*.parquet", "/**/*.parquet", "/20[12]4.parquet"])
def test_many_files_are_the_same_rows_as_on_this_machine(
    form: str, storage: OtherStorage, tmp_path: Path
) -> None:
    table = toy()
    files = {
        "2014.parquet": table.slice(0, 9),
        "2024.parquet": table.slice(9, 11).select(["note", "id", "at", "paid"]),
        "deeper/still/2024.parquet": table.slice(20),
    }
    keep_secret(tmp_path, storage.secret())
    below = f"many/{len(form)}"
    for name, part in files.items():
        content = KINDS["parquet"][1](part)
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
        storage.put(f"{below}/{name}", content)
    stored = {
        "path": f"{storage.scheme}://{BUCKET}/{below}{form}",
        "credentialsFrom": LAKE,
        "timeColumn": "at",
    }
    here = rows_of(tmp_path, {"path": f"data{form}", "timeColumn": "at"}, "parquet")
    assert here
    assert rows_of(tmp_path, stored, "parquet") == here


def test_of_parquet_only_the_columns_and_days_that_are_needed_leave_the_storage(
    storage: OtherStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, start = 100_000, datetime(2024, 1, 1, tzinfo=UTC)
    at = np.datetime64("2024-01-01T00:00:00") + np.arange(rows).astype("timedelta64[m]")
    noise = np.random.default_rng(2).bytes(rows * 15).hex()
    table = pa.table(
        {
            "at": pa.array(at.astype("datetime64[us]")).cast(pa.timestamp("us", "UTC")),
            "amount": np.random.default_rng(1).random(rows),
            "wide": [noise[index * 30 : index * 30 + 30] for index in range(rows)],
        }
    )
    sink = BytesIO()
    pq.write_table(table, sink, row_group_size=10_000)
    storage.put("wide/rows.parquet", sink.getvalue())
    keep_secret(tmp_path, storage.secret())
    taken: list[int] = []
    read = object_storage._PlacedFile.read

    def counted(file: Any, size: int = -1) -> bytes:
        found = read(file, size)
        taken.append(len(found))
        return found

    monkeypatch.setattr(object_storage._PlacedFile, "read", counted)
    path = f"{storage.scheme}://{BUCKET}/wide/rows.parquet"
    settings = {"path": path, "credentialsFrom": LAKE, "timeColumn": "at"}
    assert len(rows_of(tmp_path, settings, "parquet")) == rows
    all_bytes, taken[:] = sum(taken), []
    assert len(rows_of(tmp_path, settings, "parquet", columns=["amount"])) == rows
    few_columns, taken[:] = sum(taken), []
    early = rows_of(tmp_path, settings, "parquet", as_of=start + timedelta(minutes=9_999))
    assert len(early) == 10_000
    assert few_columns < all_bytes * 0.6
    assert sum(taken) < all_bytes * 0.3


def put_delta(storage: OtherStorage | ObjectStorage, folder: Path, below: str) -> None:
    deltalake.write_deltalake(folder / "delta", toy())
    for file in (folder / "delta").rglob("*"):
        if file.is_file():
            storage.put(f"{below}/{file.relative_to(folder / 'delta')}", file.read_bytes())


def test_a_table_of_delta_lake_is_read_there(storage: OtherStorage, tmp_path: Path) -> None:
    put_delta(storage, tmp_path, "delta")
    keep_secret(tmp_path, storage.secret())
    settings = {"path": f"{storage.scheme}://{BUCKET}/delta", "credentialsFrom": LAKE, "timeColumn": "at"}
    here = rows_of(tmp_path, {"path": "delta", "timeColumn": "at"}, "delta")
    assert len(here) == toy().num_rows
    assert rows_of(tmp_path, settings, "delta") == here
    settings["path"] += "-of-nobody"
    with pytest.raises(InvalidDataError, match="holds no table of Delta Lake; correct the path"):
        rows_of(tmp_path, settings, "delta")


def test_a_table_of_delta_lake_is_read_from_s3(tmp_path: Path) -> None:
    storage = ObjectStorage(tmp_path / "storage")
    storage.start()
    try:
        put_delta(storage, tmp_path, "delta")
        keep_secret(tmp_path, storage.credentials())
        settings = {"path": f"s3://{S3_BUCKET}/delta", "credentialsFrom": LAKE, "timeColumn": "at"}
        assert rows_of(tmp_path, settings, "delta") == rows_of(
            tmp_path, {"path": "delta", "timeColumn": "at"}, "delta"
        )
        keep_secret(tmp_path, storage.credentials(aws_secret_access_key="hunter2"))
        with pytest.raises(InvalidDataError, match=r"data.sources.rows: s3://.*refuses the keys") as raised:
            rows_of(tmp_path, settings, "delta")
        assert "hunter2" not in str(raised.value)
    finally:
        storage.stop()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_is_not_there_is_told(kind: str, storage: OtherStorage, tmp_path: Path) -> None:
    keep_secret(tmp_path, storage.secret())
    settings = {"path": f"{storage.scheme}://{BUCKET}/none/rows.{kind}", "credentialsFrom": LAKE}
    with pytest.raises(
        InvalidDataError, match=r"none/rows.* does not exist; write the file there or correct"
    ):
        rows_of(tmp_path, settings, kind)


AZ_REFUSED = {
    "wrong key": ({"AccountKey": "aHVudGVyMg=="}, "refuses the keys.*correct AccountName and AccountKey"),
    "nobody there": (
        {"BlobEndpoint": "http://127.0.0.1:1/devstoreaccount1"},
        "nobody answers there.*BlobEndpoint",
    ),
    "no address": ({"BlobEndpoint": "storage"}, "BlobEndpoint that is no address"),
    "unknown part": (
        {"AccountSecret": "hunter2"},
        "has 1 parts that are not read; write a connection string",
    ),
    "no account": ({"AccountName": "", "AccountKey": "!hunter2!"}, "correct AccountName"),
}


@pytest.mark.parametrize("case", AZ_REFUSED)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_azure_refuses_is_told_without_the_keys(
    case: str, kind: str, tmp_path: Path, azure: Azure, caplog: pytest.LogCaptureFixture
) -> None:
    changes, words = AZ_REFUSED[case]
    azure.put("refused/rows.csv", b"a\n1\n")
    keep_secret(tmp_path, azure.secret(**changes))
    with pytest.raises(InvalidDataError, match=words) as raised:
        rows_of(tmp_path, {"path": f"az://{BUCKET}/refused/rows.csv", "credentialsFrom": LAKE}, kind)
    assert str(raised.value).startswith("data.sources.rows: ")
    shown = f"{raised.value}{raised.value.__cause__}{caplog.text}"
    assert not [secret for secret in ("hunter2", "aHVudGVyMg", "Eby8vdM02") if secret in shown]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    server = Azure(tmp_path_factory.mktemp("refusing"))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("scheme", "text", "words"),
    [
        ("gs", "hunter2", "is no key of a service account; write the key"),
        ("gs", '{"type": "hunter2"}', "is no key of a service account"),
        ("az", "hunter2", "is no connection string; write a connection string such as"),
        ("az", "AccountName=hunter2", "is no connection string"),
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_shown(
    scheme: str, text: str, words: str, tmp_path: Path
) -> None:
    keep_secret(tmp_path, text)
    with pytest.raises(InvalidDataError, match=f"the secret lake/credentials {words}") as raised:
        rows_of(tmp_path, {"path": f"{scheme}://{BUCKET}/rows.csv", "credentialsFrom": LAKE}, "csv")
    assert "hunter2" not in str(raised.value)


def test_azure_without_an_account_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidDataError, match="nothing names the account; write credentialsFrom"):
        rows_of(tmp_path, {"path": f"az://{BUCKET}/rows.csv"}, "csv")
