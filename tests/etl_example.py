"""The example of ETL between two real databases, with tables to move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy
from typer.testing import CliRunner

from capstan.cli.main import app

EXAMPLE = Path(__file__).parents[1] / "examples" / "mariadb-to-postgresql"
ORDERS = (
    (1, 1, "2024-03-01 10:00:00.25", "10.50"),
    (2, 2, "2024-03-01 11:00:00", None),
    (3, 1, None, "0.10"),
    (4, 9, "2024-03-02 00:00:00", "7.00"),
    (18446744073709551615, 2, "2024-07-01 12:00:00", "99999999.99"),
)
PAID = [
    (1, "Århus 😀", "2024-03-01 10:00:00.250000", "10.50"),
    (3, "Århus 😀", "None", "0.10"),
    (18446744073709551615, "Lund", "2024-07-01 12:00:00", "99999999.99"),
]


def engine_of(url: str) -> Any:
    names = {"mariadb": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}
    return sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername=names[url.partition(":")[0]]))


def filled(folder: Path, source: str, target: str) -> Path:
    """The example's folder beside the two databases, of which the first has rows."""
    place = folder / "example"
    shutil.copytree(EXAMPLE, place)
    for name, url in (("shop", source), ("reports", target)):
        (place / ".capstan" / "secrets" / name).mkdir(parents=True)
        (place / ".capstan" / "secrets" / name / "url").write_text(url)
    engine = engine_of(source)
    with engine.begin() as connection:
        for statement in (
            "drop table if exists orders",
            "drop table if exists customers",
            "create table orders (id bigint unsigned, customer int, ordered_at datetime(6), amount decimal(10, 2))",
            "create table customers (id int, town varchar(40)) character set utf8mb4",
            "insert into customers values (1, 'Århus 😀'), (2, 'Lund')",
        ):
            connection.exec_driver_sql(statement)
        for order in ORDERS:
            connection.exec_driver_sql("insert into orders values (%s, %s, %s, %s)", order)
    engine.dispose()
    return place


def moved(place: Path) -> dict[str, Any]:
    """What the command tells."""
    done = CliRunner().invoke(
        app, ["etl", str(place / "etl.yaml"), "--state", str(place / ".capstan"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def written(target: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of the two new tables."""
    engine = engine_of(target)
    with engine.connect() as connection:
        paid = connection.exec_driver_sql(
            "select id, town, ordered_at, amount from paid_orders order by id"
        ).fetchall()
        towns = connection.exec_driver_sql("select town, orders, spent from towns order by town").fetchall()
    engine.dispose()
    return (
        [(int(row[0]), row[1], str(row[2]), str(row[3])) for row in paid],
        [(row[0], row[1], round(float(row[2]), 2)) for row in towns],
    )


def check_example(place: Path, target: str) -> None:
    """Moves the rows twice."""
    for _ in range(2):
        report = moved(place)
        assert [(step["part"], step["name"], step["made"], step["kept"]) for step in report["steps"]] == [
            ("extract", "orders", 5, 5),
            ("extract", "customers", 2, 2),
            ("transform", "paid", 5, 3),
            ("transform", "towns", 2, 2),
            ("load", "paid", 3, 3),
            ("load", "towns", 2, 2),
            ("load", "towns", 2, 2),
        ]
        assert report["steps"][2]["dropped"] == [
            {"because": "no amount", "rows": 1},
            {"because": "no known customer", "rows": 1},
        ]
        paid, towns = written(target)
        assert paid == PAID
        assert sorted(towns) == [("Lund", 1, 99999999.99), ("Århus 😀", 2, 10.6)]
        assert (place / "out" / "towns.parquet").is_file()
