"""The query of a training by a real Spark gives the bytes that DuckDB gives."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from unit.data.conftest import Shop
from unit.data.test_other_engines import NOON, QUERIES, as_bytes

from capstan.data import extract
from capstan.errors import InvalidDataError


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.mark.parametrize("as_of", [None, NOON], ids=["all", "as of"])
@pytest.mark.parametrize("query", ["join", "sums of whole numbers", "window"])
def test_spark_gives_the_bytes_of_duckdb(query: str, as_of: datetime | None, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    found = [
        extract(shop.system(query=QUERIES[query], engine=engine), as_of=as_of, labels_as_of=as_of)
        for engine in ("DuckDB", "Spark")
    ]
    assert as_bytes(found[1]) == as_bytes(found[0])


def test_what_spark_refuses_is_told_of_the_query(tmp_path: Path) -> None:
    system = Shop(tmp_path).system(
        query="select *, date_diff('hour', ordered, ordered) as temp from orders", engine="Spark"
    )
    with pytest.raises(InvalidDataError, match=r"^data.query: [^\n]+$"):
        extract(system, as_of=None, labels_as_of=None)
