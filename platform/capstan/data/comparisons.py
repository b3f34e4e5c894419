"""Columns of text that the query compares with numbers: `orders.shop = shops.shop`, where one holds 007 and one 7.

DuckDB reads the text as a number there without being asked: 007 and 7 are one, and 7.4 is 7 beside a whole number.
"""

# DuckDB takes no parameters for names; they all go through `quote`.

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing

import duckdb

from capstan.data.syntax import Syntax
from capstan.data.text_types import AS_WRITTEN, quote
from capstan.data.usage import plain_plans

_AS_NUMBER = re.compile(
    r"(?<!TRY_)CAST\((?P<value>.+?) AS "
    r"(?:(?P<whole>TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w+INT\w*)|FLOAT|DOUBLE|DECIMAL)\b"
)
_COMPARISON = re.compile(r"=| IN ")


def compared_as_numbers(query: str, tables: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], bool]:
    """Table and column of each text that DuckDB would read as a number for a comparison -> whether as a whole one.

    Empty for a wrong query.
    `tables` maps a table to its columns and their SQL types. A cast that the query itself writes is none of them.
    """
    texts = [
        (table, column)
        for table, types in tables.items()
        for column, kind in types.items()
        if kind == AS_WRITTEN
    ]
    mentioned = {word.casefold() for word in re.findall(r"\w+", query)}
    natural = "natural" in mentioned
    texts = [
        (table, column)
        for table, column in texts
        if natural or set(re.findall(r"\w+", column.casefold())) <= mentioned
    ]
    if not texts:
        return {}
    with closing(duckdb.connect()) as connection:
        for table, types in tables.items():
            items = ", ".join(f"{quote(name)} {kind}" for name, kind in types.items())
            connection.execute(f"create table {quote(table)} ({items})")
        try:
            with plain_plans(connection):
                plan = connection.execute(f"explain (format json) {query}").fetchall()[0][1]
            syntax = Syntax.of(connection, query)
        except duckdb.Error:
            return {}
    read: dict[str, bool] = {}
    for text in _texts(json.loads(plan)):
        if _COMPARISON.search(text):
            for found in _AS_NUMBER.finditer(text):
                for word in re.findall(r"\w[\w ]*", found["value"]):
                    if word.casefold() not in syntax.cast:
                        whole = found["whole"] is not None
                        read |= {name: whole or read.get(name, False) for name in syntax.origins(word)}
    return {(table, column): read[name] for table, column in texts if (name := column.casefold()) in read}


def _texts(plan: object) -> Iterator[str]:
    if isinstance(plan, str):
        yield plan
    elif isinstance(plan, dict):
        for part in plan.values():
            yield from _texts(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _texts(part)
