"""Tables of real databases as sources: the values that a CSV file would hold, and addresses that show nowhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy
from contract.mariadb import PASSWORD, mariadb
from contract.postgresql import postgresql

from capstan.data.extraction import extract
from capstan.data.sources import Reading, open_source, sql_server
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec import parse
from capstan.spec.data import Source
from capstan.testing import check_source

pytestmark = pytest.mark.real
SECRET = {"secretKeyRef": {"name": "shop", "key": "url"}}


@dataclass
class Server:
    """A database that a test fills."""

    url: str
    """As a secret has it."""

    def run(self, *statements: str) -> None:
        engine = sqlalchemy.create_engine(self._engine_url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def fill(self, table: str, rows: list[Mapping[str, Any]]) -> None:
        engine = sqlalchemy.create_engine(self._engine_url)
        with engine.begin() as connection:
            stored = sqlalchemy.Table(table, sqlalchemy.MetaData(), autoload_with=connection)
            connection.execute(stored.insert(), rows)
        engine.dispose()

    @property
    def _engine_url(self) -> str:
        return self.url.replace("mariadb://", "mysql+pymysql://").replace(
            "postgresql://", "postgresql+psycopg2://"
        )


KINDS = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with ExitStack() as ending:
        file = tmp_path_factory.mktemp("sqlite") / "shop.db"
        with closing(sqlite3.connect(file)):
            pass
        address = ending.enter_context(postgresql()).replace("+psycopg2", "")
        yield {
            "sqlite": Server(f"sqlite:///{file}"),
            "postgresql": Server(address),
            "mariadb": Server(ending.enter_context(mariadb())),
        }


def keep_secret(folder: Path, url: str) -> None:
    (folder / "secrets" / "shop").mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "shop" / "url").write_text(f"{url}\n")


def rows_of(
    folder: Path, kind: Mapping[str, Any], columns: list[str], **options: Any
) -> list[tuple[Any, ...]]:
    source = Source.model_validate({"name": "rows", **kind})
    with workspace(threads=1, memory=2**28, zone=options.get("zone", "UTC")) as connection:
        reading = Reading(
            connection, source, options.get("as_of"), folder, folder / "secrets", options.get("zone", "UTC")
        )
        reader = open_source(reading)
        reader.require_distinct(columns)
        reader.read(columns)
        asked = ", ".join(quote(name) for name in columns)
        found: list[tuple[Any, ...]] = connection.sql(f"select {asked} from {reading.rows}").fetchall()
        return found


TOY = {
    "sqlite": "id text, at text, amount real, paid boolean, note text",
    "postgresql": "id text, at timestamptz, amount double precision, paid boolean, note text",
    "mariadb": "id varchar(20), at timestamp null, amount double, paid boolean, note text",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_keeps_the_suite_of_sources(kind: str, servers: dict[str, Server]) -> None:
    server = servers[kind]

    def write(folder: Path, table: pa.Table) -> Mapping[str, Any]:
        name = f"toy_{folder.name}"
        server.run(f"drop table if exists {name}", f"create table {name} ({TOY[kind]})")
        rows = table.to_pylist()
        for row in rows:
            if kind == "mariadb":
                # The connection of this test speaks in the server's zone, which is three hours off.
                at = datetime.fromisoformat(row["at"]).timestamp()
                row["at"] = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        if kind == "mariadb":
            engine = sqlalchemy.create_engine(
                server._engine_url, connect_args={"init_command": "set time_zone = '+00:00'"}
            )
            with engine.begin() as connection:
                stored = sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=connection)
                connection.execute(stored.insert(), rows)
        else:
            server.fill(name, rows)
        keep_secret(folder, server.url)
        return {"name": "rows", "database": {"table": name, "urlFrom": SECRET, "timeColumn": "at"}}

    check_source(write, remove=lambda folder: server.run(f"drop table if exists toy_{folder.name}"))


CSV = (
    "id,at,whole,big,price,share,flag,note,day\n"
    "1,2024-03-01 10:00:00,7,9223372036854775807,1.10,0.1,true,Grüße 😀,2024-02-29\n"
    "2,2024-07-01 00:30:00.25,,-5,-20.00,1e-9,false,NULL,1999-12-31\n"
    '3,,-3,0,,,,"a, ""b""\n%s :c",\n'
)
VALUES = {
    "sqlite": (
        "create table plain (id integer, at text, whole integer, big integer, price real, share real, flag boolean, "
        "note text, day text)",
        "insert into plain values (1, '2024-03-01 10:00:00', 7, 9223372036854775807, 1.10, 0.1, 1, 'Grüße 😀', "
        "'2024-02-29'), (2, '2024-07-01 00:30:00.25', null, -5, -20.00, 1e-9, 0, 'NULL', '1999-12-31'), "
        "(3, null, -3, 0, null, null, null, 'a, \"b\"\n%s :c', null)",
    ),
    "postgresql": (
        "create table plain (id serial, at timestamp, whole smallint, big bigint, price numeric(10, 2), share real, "
        "flag boolean, note text, day date)",
        "insert into plain values (1, '2024-03-01 10:00:00', 7, 9223372036854775807, 1.10, 0.1, true, 'Grüße 😀', "
        "'2024-02-29'), (2, '2024-07-01 00:30:00.25', null, -5, -20.00, 1e-9, false, 'NULL', '1999-12-31'), "
        "(3, null, -3, 0, null, null, null, 'a, \"b\"\n%%s :c', null)",
    ),
    "mariadb": (
        "create table plain (id mediumint unsigned, at datetime(2), whole smallint, big bigint, price decimal(10, 2), "
        "share double, flag boolean, note text, day date) character set utf8mb4",
        "insert into plain values (1, '2024-03-01 10:00:00', 7, 9223372036854775807, 1.10, 0.1, true, 'Grüße 😀', "
        "'2024-02-29'), (2, '2024-07-01 00:30:00.25', null, -5, -20.00, 1e-9, false, 'NULL', '1999-12-31'), "
        "(3, null, -3, 0, null, null, null, 'a, \"b\"\n%%s :c', null)",
    ),
}
SPEC: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "toy"},
    "spec": {
        "objective": {"business": "See", "task": "BinaryClassification", "target": "flag"},
        "data": {
            "sources": [],
            "timeZone": "America/New_York",
            "query": 'select * replace (coalesce("at", timestamp \'2024-01-01\') as "at") from plain order by id',
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "flag"},
        },
        "features": [
            *({"name": name, "numeric": {}} for name in ("whole", "big", "price", "share")),
            *({"name": name, "categorical": {"encode": "OneHot"}} for name in ("note", "day")),
        ],
        "training": {"candidates": [{"name": "baseline", "mostFrequent": {}}]},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_a_csv_file(kind: str, servers: dict[str, Server], tmp_path: Path) -> None:
    servers[kind].run("drop table if exists plain", *VALUES[kind])
    (tmp_path / "plain.csv").write_text(CSV)
    keep_secret(tmp_path, servers[kind].url)

    def cases(source: Mapping[str, Any]) -> pa.Table:
        spec = {**SPEC["spec"], "data": {**SPEC["spec"]["data"], "sources": [{"name": "plain", **source}]}}
        system = parse({**SPEC, "spec": spec}, base_dir=tmp_path)
        return extract(system, as_of=None, labels_as_of=None, secrets=tmp_path / "secrets")

    types = [{"column": "at", "type": "Time"}, {"column": "day", "type": "Text"}]
    written = cases({"csv": {"path": "plain.csv"}, "types": types})
    found = cases({"database": {"table": "plain", "urlFrom": SECRET}, "types": types})
    assert found.select(written.column_names).to_pylist() == written.to_pylist()
    assert written.column("big").to_pylist().count(9223372036854775807) == 1


def test_what_a_server_has_beside_plain_types_is_read_too(servers: dict[str, Server], tmp_path: Path) -> None:
    servers["mariadb"].run(
        "drop table if exists rich",
        "create table rich (id bigint unsigned, tiny tinyint(1), bit1 bit(1), kind enum('x', 'y'), clock time(1), "
        'at timestamp null, `odd "name` int)',
        "set time_zone = '+03:00'",
        "insert into rich values (18446744073709551615, 1, b'1', 'y', '12:30:00.5', '2024-03-01 03:00:00', 5), "
        "(0, 0, b'0', null, '00:00:01', null, null)",
    )
    keep_secret(tmp_path, servers["mariadb"].url)
    rich = {"database": {"table": "rich", "urlFrom": SECRET}}
    columns = ["id", "tiny", "bit1", "kind", "clock", "at", 'odd "name']
    assert rows_of(tmp_path, rich, columns) == [
        (2**64 - 1, True, True, "y", "12:30:00.5", datetime(2024, 3, 1, tzinfo=UTC), 5),
        (0, False, False, None, "00:00:01", None, None),
    ]
    servers["postgresql"].run(
        "drop schema if exists other cascade",
        "create schema other",
        'create table other.rich (id uuid, price numeric, clock time, at timestamptz, "odd ""name" int, free json)',
        "insert into other.rich values ('00000000-0000-0000-0000-000000000001', 1.25, '12:30:00.5', "
        "'2024-03-01 03:00:00+03', 5, null), (null, 'NaN', null, 'infinity', null, null)",
    )
    keep_secret(tmp_path, servers["postgresql"].url)
    rich = {"database": {"table": "other.rich", "urlFrom": SECRET}}
    first, second = rows_of(tmp_path, rich, ["id", "price", "clock", "at", 'odd "name'])
    assert first == (
        "00000000-0000-0000-0000-000000000001",
        1.25,
        "12:30:00.500000",
        datetime(2024, 3, 1, tzinfo=UTC),
        5,
    )
    assert second[3].year == 9999


def test_what_one_server_alone_has_is_read_as_it_is(servers: dict[str, Server], tmp_path: Path) -> None:
    servers["mariadb"].run(
        "drop table if exists floats",
        "create table floats (small float, day date)",
        "set sql_mode = ''",
        "insert into floats values (16777216, '0000-00-00'), (0.1, '0000-00-00')",
    )
    keep_secret(tmp_path, servers["mariadb"].url)
    floats = {"database": {"table": "floats", "urlFrom": SECRET}}
    assert sorted(rows_of(tmp_path, floats, ["small"])) == [(pytest.approx(0.1, abs=1e-8),), (16777216.0,)]
    server = servers["postgresql"]
    server.run(
        "drop schema if exists shop cascade",
        "create schema shop",
        "create table shop.prices (price numeric(5, -2))",
        "insert into shop.prices values (1234)",
        "drop table if exists prices",
        "create table prices (price int)",
        'create table shop.twins ("Id" int, id int, x int)',
        "create table shop.old (at timestamp)",
        "insert into shop.old values ('0044-03-15 BC')",
    )
    keep_secret(tmp_path, f"{server.url}{'&' if '?' in server.url else '?'}options=-csearch_path%3Dshop")
    assert rows_of(tmp_path, {"database": {"table": "prices", "urlFrom": SECRET}}, ["price"]) == [(1200,)]
    for table, column, said in (
        ("twins", "id", "names 'Id' and 'id'"),
        ("old", "at", "'at' lies outside the years"),
    ):
        with pytest.raises(InvalidDataError, match=said):
            rows_of(tmp_path, {"database": {"table": table, "urlFrom": SECRET}}, [column])


def test_a_column_of_small_numbers_that_is_no_boolean_stays_one_of_numbers(
    servers: dict[str, Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servers["mariadb"].run(
        "drop table if exists tiny",
        "create table tiny (stars tinyint(1))",
        "insert into tiny values (0), (1), (5)",
    )
    keep_secret(tmp_path, servers["mariadb"].url)
    found = rows_of(tmp_path, {"database": {"table": "tiny", "urlFrom": SECRET}}, ["stars"])
    assert found == [(0,), (1,), (5,)]
    assert "declared as boolean, but 1 of its values is neither 0 nor 1 (table tiny: '5')" in caplog.text


NUMBERED = {
    "postgresql": "insert into many select i, timestamp '2024-01-01' + i * interval '1 hour', repeat('x', 100) "
    "from generate_series(0, 49999) i",
    "mariadb": "insert into many select seq, timestamp '2024-01-01 00:00:00' + interval seq hour, repeat('x', 100) "
    "from seq_0_to_49999",
}


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_only_columns_and_days_that_are_needed_are_asked_for(
    kind: str, servers: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers[kind].run(
        "drop table if exists many",
        "create table many (id int, at timestamp null, wide text)",
        NUMBERED[kind],
    )
    keep_secret(tmp_path, servers[kind].url)
    asked: list[int] = []
    batches = sql_server.ServerTable._batches

    def counted(self: Any, kinds: Any, limit: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches(self, kinds, limit):
            if limit is None:
                asked.append(batch.num_rows)
                assert batch.schema.names == ["id", "at"]
                assert batch.num_rows <= 20_000
            yield batch

    monkeypatch.setattr(sql_server.ServerTable, "_batches", counted)
    many = {"database": {"table": "many", "urlFrom": SECRET, "timeColumn": "at"}}
    found = rows_of(tmp_path, many, ["id"], as_of=datetime(2024, 1, 1, 9, tzinfo=UTC))
    assert found[0] == (0,)
    assert 7 <= len(found) <= 13
    assert sum(asked) < 50
    asked.clear()
    assert len(rows_of(tmp_path, many, ["id"])) == 50_000
    assert sum(asked) == 50_000


def _wrong(change: Callable[[str], str], table: str = "plain") -> tuple[Callable[[str], str], str]:
    return change, table


WRONG = {
    "no table": (_wrong(lambda url: url, "none"), "table 'none' cannot be read: there is no such table"),
    "no database": (_wrong(lambda url: url.rpartition("/")[0] + "/nowhere"), "no such database|refuses user"),
    "no user": (
        _wrong(lambda url: url.replace("://capstan", "://sally")),
        "refuses user or password|refuses it",
    ),
    "no server": (_wrong(lambda url: url.rpartition(":")[0] + ":1/shop"), "nobody answers there"),
    "no form": (
        _wrong(lambda url: url.split("://")[0] + "://[me:hunter2"),
        "address of the database has another form",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_cannot_be_read_is_told_without_the_address(
    case: str, kind: str, servers: dict[str, Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (change, table), words = WRONG[case]
    keep_secret(tmp_path, change(servers[kind].url))
    with pytest.raises(InvalidDataError, match=words) as raised:
        rows_of(tmp_path, {"database": {"table": table, "urlFrom": SECRET}}, ["id"])
    assert str(raised.value).startswith("data.sources.rows: ")
    shown = f"{raised.value}{raised.value.__cause__}{caplog.text}"
    assert not [secret for secret in (PASSWORD, "127.0.0.1", "sally", "capstan@") if secret in shown]


REFUSED = {
    "nested": (
        "postgresql",
        "j json",
        "'{\"a\": 1}'",
        r"'j' holds .* it is nested: let a view give plain",
    ),
    "list": ("postgresql", "j int[]", "'{1,2}'", r"column 'j' holds .* it is nested"),
    "digits": (
        "postgresql",
        "j numeric",
        "12345678901234567890.5",
        r"holds '12345678901234567890.5'; give the column",
    ),
    "bytes": ("postgresql", "j bytea", "'x'", "column 'j' holds binary values; leave it out of data.query"),
    "no day": (
        "mariadb",
        "j datetime",
        "'0000-00-00'",
        "column 'j' holds '0000-00-00 00:00:00'; it is no moment: write NULL",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_value_that_has_no_plain_form_is_refused(
    case: str, servers: dict[str, Server], tmp_path: Path
) -> None:
    kind, column, value, words = REFUSED[case]
    servers[kind].run(
        "drop table if exists strange",
        f"create table strange (id int, {column})",
        f"insert into strange values (1, {value})",
    )
    keep_secret(tmp_path, servers[kind].url)
    with pytest.raises(InvalidDataError, match=words):
        rows_of(tmp_path, {"database": {"table": "strange", "urlFrom": SECRET}}, ["id", "j"])
    assert rows_of(tmp_path, {"database": {"table": "strange", "urlFrom": SECRET}}, ["id"]) == [(1,)]


@pytest.mark.parametrize(
    ("scheme", "extra"), [("postgresql", "postgresql"), ("mariadb", "mysql"), ("mysql", "mysql")]
)
def test_a_driver_that_is_not_installed_is_named_by_its_extra(
    scheme: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_server, "find_spec", lambda name: None)
    keep_secret(tmp_path, f"{scheme}://me:hunter2@db/shop")
    with pytest.raises(MissingExtraError, match=rf"capstan-mlops\[{extra}\]"):
        rows_of(tmp_path, {"database": {"table": "plain", "urlFrom": SECRET}}, ["id"])
