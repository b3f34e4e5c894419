"""What the columns of the twelve tables hold, without a row of them; and rows made from it.

`python tests/benchmarks/tables/schemas.py` writes schemas.json from the fetched tables. A test makes small tables of
it, so that it needs neither a package nor a licence.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capstan.spec.guessing import ColumnProfile

FILE = Path(__file__).with_name("schemas.json")
MOST_TEXTS = 8
FREE_TEXT = 0.5
"""Share of different texts from which on a column is made of new ones."""


def schemas() -> dict[str, Mapping[str, Any]]:
    """Table -> target and columns."""
    found: dict[str, Mapping[str, Any]] = json.loads(FILE.read_text())
    return found


def csv_of(schema: Mapping[str, Any], *, rows: int, seed: int) -> str:
    """A made table as CSV: each column by itself, in the range and with the categories and gaps of the real one."""
    draw = random.Random(seed)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column["name"] for column in schema["columns"]])
    for index in range(rows):
        writer.writerow(
            [
                "" if draw.random() < column["missing"] else _value(column, index, draw)
                for column in schema["columns"]
            ]
        )
    return text.getvalue()


def _value(column: Mapping[str, Any], index: int, draw: random.Random) -> object:
    kind = column["kind"]
    if kind == "Number":
        if column["unique"]:
            return int(column["low"]) + index
        value = draw.uniform(column["low"], column["high"])
        return round(value) if column["whole"] else round(value, 4)
    if kind == "Boolean":
        return draw.choice(("True", "False"))
    if kind == "Time":
        first, last = (datetime.fromisoformat(column[end]) for end in ("first", "last"))
        moment = first + timedelta(seconds=draw.randrange(max(1, int((last - first).total_seconds()))))
        return moment.strftime(column["written"] or "%Y-%m-%d %H:%M:%S")
    return f"{column['texts'][0]} {index}" if column["free"] else draw.choice(column["texts"])


def schema_of(column: ColumnProfile) -> dict[str, Any]:
    """What `csv_of` needs to know of a column."""
    found: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "missing": round(column.missing / column.rows, 4),
    }
    match column.kind:
        case "Number":
            found |= {"low": column.low, "high": column.high, "whole": column.is_whole}
            found["unique"] = column.is_unique and column.is_whole
        case "Time":
            assert column.first is not None
            assert column.last is not None
            found |= {
                "first": column.first.isoformat(),
                "last": column.last.isoformat(),
                "written": column.written,
            }
        case "Text":
            texts = list(column.counts)[:MOST_TEXTS] or ["nothing"]
            found |= {
                "free": column.distinct > FREE_TEXT * column.rows,
                "texts": texts[: 1 if column.is_unique else None],
            }
    return found


def main() -> None:
    """Write schemas.json."""
    from catalogue import CACHE, TABLES, fetched

    from capstan.data.profiling import profile_table

    told = {}
    for table in TABLES:
        folder = CACHE / "profiled" / table.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / table.file).write_bytes(fetched(table))
        profile = profile_table(folder / table.file)
        told[table.name] = {
            "target": table.target,
            "columns": [schema_of(column) for column in profile.columns],
        }
    FILE.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
