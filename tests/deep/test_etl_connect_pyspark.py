"""The same SQL by a real Spark of this machine and by a real server of Spark Connect gives the rows of DuckDB."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from etl_engines import ALIKE, DIFFERENT, answered

from capstan.errors import CapstanError, InvalidDataError
from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows

SPARK = Path(pyspark.__file__).parent
REFUSED_BY_SPARK = ("sums of lengths", "rank")
"""Its lengths and ranks have 32 bits, and it refuses to run over."""
OF_SPARK = [case for case in ALIKE if case not in {*REFUSED_BY_SPARK, "texts put together", "words in texts"}]
OTHERWISE = {
    "half to whole": Decimal(1),
    "round half": Decimal(3),
    "decimal by a number": Decimal("0.033333"),
    "greatest of NaN": "NaN",
    "moment as text": "2024-03-10 02:30:00.25",
}
"""What the page says of Spark: the first value of its rows."""


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server of Spark Connect, which works in a folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("connect")
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
    }
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                SPARK / "bin" / "spark-submit",
                *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
                *("--master", "local[2]"),
                *(word for item in settings.items() for word in ("--conf", "=".join(item))),
                "spark-internal",
            ],
            cwd=folder,
            env={
                **os.environ,
                "SPARK_HOME": str(SPARK),
                "SPARK_LOCAL_IP": "127.0.0.1",
                "PYSPARK_PYTHON": sys.executable,
            },
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(240):
                with socket.socket() as asked:
                    if asked.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
            yield port
        finally:
            server.terminate()
            server.wait(60)


@pytest.mark.parametrize("case", OF_SPARK)
def test_spark_connect_gives_the_rows_of_duckdb(case: str, port: int, tmp_path: Path) -> None:
    server = f'  spark: {{remote: "sc://127.0.0.1:{port}"}}\n'
    found = answered(tmp_path, "Spark", ALIKE[case], server=server)
    assert found == answered(tmp_path, "DuckDB", ALIKE[case])


@pytest.mark.parametrize("case", REFUSED_BY_SPARK)
def test_numbers_that_run_over_are_refused(case: str, port: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"^transform.made: [^\n]*overflow[^\n]*$"):
        answered(tmp_path, "Spark", ALIKE[case], server=f'  spark: {{remote: "sc://127.0.0.1:{port}"}}\n')


@pytest.mark.parametrize("case", OTHERWISE)
def test_spark_answers_otherwise_as_the_page_says(case: str, port: int, tmp_path: Path) -> None:
    server = f'  spark: {{remote: "sc://127.0.0.1:{port}"}}\n'
    assert answered(tmp_path, "Spark", DIFFERENT[case], server=server)[0] == (OTHERWISE[case],)


@pytest.mark.parametrize(
    "case",
    [
        "types",
        "moments in the zone",
        "start of a day in the zone",
        "decimals",
        "sums over 8 bits",
        "left join",
    ],
)
def test_spark_of_this_machine_gives_the_rows_of_duckdb(case: str, tmp_path: Path) -> None:
    assert answered(tmp_path, "Spark", ALIKE[case]) == answered(tmp_path, "DuckDB", ALIKE[case])


JOB = """\
apiVersion: capstan.dev/v1alpha1
kind: ETL
metadata: {name: one}
spec:
  engine: Spark
  spark: {remoteFrom: {secretKeyRef: {name: spark, key: url}}}
  extract: [{name: rows, parquet: {path: rows.parquet}}]
  transform:
    - {name: more, sql: "select id + 1 as id, free from rows"}
    - name: made
      python: {factory: "remotesteps:large"}
      drop: [{where: free is null, because: nobody's}]
  load: [{name: made, parquet: {path: made.parquet}}]
"""
STEPS = """\
from pyspark.sql import functions as f

def large():
    return lambda tables: tables["more"].where(f.col("id") > 10).withColumn("twice", f.col("id") * 2)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "etl.yaml").write_text(JOB)
    (tmp_path / "remotesteps.py").write_text(STEPS)
    table = {"id": pa.array([1, 10, 18446744073709551613], pa.uint64()), "free": ["a", "b", None]}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    (tmp_path / "state" / "secrets" / "spark").mkdir(parents=True)
    return tmp_path


def address(place: Path, text: str) -> None:
    (place / "state" / "secrets" / "spark" / "url").write_text(text)


def test_functions_of_pyspark_and_numbers_without_sign_go_through_the_connection(
    port: int, place: Path
) -> None:
    address(place, f"sc://127.0.0.1:{port}/;user_id=capstan")
    report = move_rows(load_etl(place / "etl.yaml"), place / "state").document()
    assert dict(report["steps"][2]["dropped"][0]) == {"because": "nobody's", "rows": 1}
    assert pq.read_table(place / "made.parquet").to_pylist() == [{"id": 11, "free": "b", "twice": 22}]
    assert "SPARK_CONNECT_MODE_ENABLED" not in os.environ


def test_what_the_server_refuses_is_told_in_a_line_by_its_step(port: int, place: Path) -> None:
    address(place, f"sc://127.0.0.1:{port}")
    file = place / "etl.yaml"
    file.write_text(JOB.replace("id + 1 as id", "nothing as id"))
    with pytest.raises(InvalidDataError, match=r"^transform.more: [^\n]*`?nothing`?[^\n]*$"):
        move_rows(load_etl(file), place / "state")
    assert not (place / "made.parquet").exists()


@pytest.mark.parametrize("text", ["sc://127.0.0.1:1", "sc://127.0.0.1:PORT/;use_ssl=true;token=confidential"])
def test_a_server_that_does_not_answer_is_told_soon_and_without_its_address(
    text: str, port: int, place: Path
) -> None:
    address(place, text.replace("PORT", str(port)))
    began = time.monotonic()
    with pytest.raises(CapstanError, match=r"^spark.remoteFrom: no Spark Connect answers: [^\n]*") as raised:
        move_rows(load_etl(place / "etl.yaml"), place / "state")
    assert "127.0.0.1" not in str(raised.value)
    assert "confidential" not in str(raised.value)
    assert time.monotonic() - began < 120


def test_a_secret_with_another_address_is_refused(place: Path) -> None:
    address(place, "https://127.0.0.1:1")
    with pytest.raises(CapstanError, match=r"spark.remoteFrom: the secret holds no address of Spark Connect"):
        move_rows(load_etl(place / "etl.yaml"), place / "state")
