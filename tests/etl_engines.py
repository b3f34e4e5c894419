"""Cases of SQL that every engine of ETL answers with the same rows, and those whose answers differ."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows

ZONE = "America/New_York"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE))


def _clock(text: str) -> datetime:
    return datetime.fromisoformat(text)


# The clock is put forward in the morning of the first day, and back in that of the last.
ORDERS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5], pa.int32()),
        "customer": pa.array([1, 2, 1, 9, None], pa.int64()),
        "weight": pa.array([10.5, None, 4.0, -1.0, 3.0]),
        "amount": pa.array(
            [Decimal("10.50"), None, Decimal("0.10"), Decimal("7.00"), Decimal("99999999.99")], pa.decimal128(10, 2)
        ),
        "day": pa.array([date(2024, 3, 10), date(2024, 12, 31), None, date(2024, 11, 3), date(1969, 12, 31)]),
        "moment": pa.array(
            [
                _moment("2024-03-10 03:30"),
                _moment("2024-12-31 23:30"),
                None,
                _moment("2024-11-03 01:30"),
                _moment("1969-12-31 23:59:59.999999"),
            ],
            pa.timestamp("us", "UTC"),
        ),
        "clock": pa.array([_clock("2024-03-10 02:30:00.25"), None, None, _clock("2024-11-03"), _clock("2024-01-01")]),
        "paid": pa.array([True, False, None, True, False]),
        "town": pa.array(["Århus 😀", "", None, "Lund", "O'Hara"]),
    }
)  # fmt: skip
CUSTOMERS = pa.table({"customer": pa.array([1, 2, 3], pa.int64()), "name": ["Ada", None, "Eve"]})
NUMBERS = pa.table(
    {
        "small": pa.array([100] * 3, pa.int8()),
        "middle": pa.array([2_000_000_000] * 3, pa.int32()),
        "large": pa.array([9_007_199_254_740_993] * 3, pa.int64()),
    }
)
EMPTY = ORDERS.slice(0, 0)
TABLES = {"orders": ORDERS, "customers": CUSTOMERS, "numbers": NUMBERS, "empty": EMPTY}

ALIKE = {
    "types": "select * from orders",
    "nulls": "select id, coalesce(weight, 0) as w, nullif(id, 1) as n, "
    "weight is null as m, paid and true as p from orders",
    "where of nulls": "select id from orders where weight > 1 or not paid",
    "moments in the zone": "select id, extract(hour from moment) as h, extract(day from moment) as d from orders",
    "start of a day in the zone": "select id, date_trunc('day', moment) as start from orders",
    "months times hundred": "select id, extract(year from day) * 10000 + extract(month from day) * 100 + "
    "extract(day from day) as number from orders",
    "hours times minutes": "select id, extract(hour from moment) * extract(minute from moment) * 60 as n from orders",
    "clocks": "select id, extract(hour from clock) as h, clock > '2024-03-01 00:00:00' as late from orders",
    "days": "select id from orders where day >= '2024-03-10'",
    "moments after a text": "select id from orders where moment > '2024-11-03 00:00:00'",
    "decimals": "select sum(amount) as s, min(amount) as least, max(amount) as most, "
    "sum(amount * 2) as twice from orders",
    "casts": "select id, cast(amount as double) as a, cast(weight as decimal(10, 2)) as w, "
    "cast(id as varchar(9)) as t, "
    "cast('7' as int) as seven from orders",
    "days as texts": "select id, cast(day as varchar(10)) as t from orders",
    "groups": "select customer, count(*) as n, count(weight) as known, sum(weight) as s, avg(id) as m from orders "
    "group by customer having count(*) > 0",
    "sums over 8 bits": "select sum(small) as s from numbers",
    "sums over 32 bits": "select sum(middle) as s, sum(middle * 1) as t from numbers",
    "sums of cases": "select sum(case when small > 1 then 1000000000 else 0 end) as s from numbers",
    "sums of casts": "select sum(cast(small * 10000000 as int)) as s from numbers",
    "sums of lengths": "select sum(length(town) * 1000000000) as s from orders",
    "sums of different values": "select sum(distinct middle) as s from numbers",
    "sums of a window": "select middle, sum(middle) over (partition by small) as s from numbers",
    "numbers beyond floats": "select large, large + 1 as more from numbers",
    "division": "select id / 2 as half, id % 2 as rest, -7 % 3 as negative from orders",
    "inner join": "select o.id, c.name from orders o join customers c on o.customer = c.customer",
    "left join": "select orders.id, customers.name from orders "
    "left join customers on orders.customer = customers.customer",
    "full join": "select o.id, c.name from orders o full join customers c on o.customer = c.customer",
    "using": "select id, customer, name from orders join customers using (customer)",
    "cross join": "select o.id, c.name from orders o cross join customers c",
    "anti join": "select id from orders where customer not in (select customer from customers)",
    "exists": "select id from orders where exists (select 1 from customers where customers.customer = orders.customer)",
    "subquery": "select id from orders where id = (select max(id) from orders)",
    "with": "with heavy as (select customer, max(weight) as most from orders group by customer) "
    "select o.id, h.most from orders o join heavy h using (customer)",
    "union": "select customer from orders union select customer from customers",
    "union all": "select customer from orders union all select customer from customers",
    "distinct": "select distinct customer from orders",
    "window": "select id, row_number() over (partition by customer order by id) as n, "
    "lag(id) over (order by id) as before from orders",
    "rank": "select id, rank() over (order by customer nulls last) * 1000000000 as r from orders",
    "order and limit": "select id, weight from orders order by weight desc nulls last limit 2",
    "texts": "select id, upper(town) as u, length(town) as l, town like '%h%' as h, "
    "substr(town, 1, 2) as s from orders",
    "texts put together": "select id, concat(town, '!') as c from orders",
    "words in texts": "select id, 'sum(' as t, town = 'O''Hara' as o from orders -- sum(1)",
    "case": "select id, case when weight > 5 then 'big' when weight is null then '?' else 'small' end as s from orders",
    "no rows": "select id, weight from orders where id > 99",
    "table without rows": "select id, amount, moment from empty",
    "sum without rows": "select sum(weight) as s, count(*) as n from empty",
}  # fmt: skip
IN_UTC = {
    "days of moments": "select id, cast(moment as date) as d, cast(moment as timestamp) as t from orders",
    "moments beside days": "select id from orders where moment > day",
    "constants": "select id from orders where day >= date '2024-03-10' and moment > timestamptz '2024-03-10 00:00:00'",
}
DIFFERENT = {
    "half to whole": "select cast(1.5 as int) as n from customers",
    "round half": "select round(cast(2.5 as double)) as n from customers",
    "decimal by a number": "select amount / 3 as a from orders",
    "greatest of NaN": "select max(cast(case when id = 1 then 'nan' else '1' end as double)) as m from orders",
    "moment as text": "select cast(clock as varchar(40)) as t from orders where id = 1",
}


def answered(place: Path, engine: str, sql: str, zone: str = ZONE, server: str = "") -> list[tuple[Any, ...]]:
    """Rows that the engine gives, in an order that does not depend on it; numbers as numbers, whatever their type."""
    for name, table in TABLES.items():
        if not (place / f"{name}.parquet").exists():
            pq.write_table(table, place / f"{name}.parquet")
    file = place / "etl.yaml"
    extract = "".join(f"    - {{name: {name}, parquet: {{path: {name}.parquet}}}}\n" for name in TABLES)
    quoted = sql.replace("\\", "\\\\").replace('"', '\\"')
    file.write_text(
        f"apiVersion: capstan.dev/v1alpha1\nkind: ETL\nmetadata: {{name: one}}\nspec:\n  engine: {engine}\n{server}"
        f'  timeZone: {zone}\n  extract:\n{extract}  transform:\n    - name: made\n      sql: "{quoted}"\n'
        "  load:\n    - {name: made, parquet: {path: made.parquet}}\n"
    )
    move_rows(load_etl(file), place / "state")
    made = pq.read_table(place / "made.parquet")
    rows = [
        tuple(_plain(value) for value in row)
        for row in zip(*(c.to_pylist() for c in made.columns), strict=True)
    ]
    return sorted(rows, key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(ZoneInfo("UTC"))
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        # Floats and whole numbers of the same value are the same, beyond 53 bits too.
        return Decimal(value).normalize() if value == value else "NaN"
    return value
