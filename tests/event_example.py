"""Orders and payments that are small enough to write down, and the file of a system that counts payments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from capstan.data import extract
from capstan.spec import parse

START = datetime(2024, 3, 1, tzinfo=UTC)
AGGREGATES = [
    {"name": "n", "function": "Count", "window": "20s"},
    {"name": "total", "function": "Sum", "column": "amount", "window": "20s"},
    {"name": "average", "function": "Mean", "column": "amount", "window": "20s"},
    {"name": "least", "function": "Min", "column": "amount", "window": "20s"},
    {"name": "most", "function": "Max", "column": "amount", "window": "20s"},
    {"name": "shops", "function": "Distinct", "column": "shop", "window": "20s"},
    {"name": "last_amount", "function": "LastValue", "column": "amount", "window": "20s"},
    {"name": "last_shop", "function": "LastValue", "column": "shop", "window": "20s"},
    {"name": "age", "function": "SecondsSinceLast", "window": "20s"},
    {"name": "n_short", "function": "Count", "window": "3s"},
]
Rows = Sequence[Mapping[str, Any]]


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def payment(seconds: float, amount: Any = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "customer": "anna",
        "paid": at(seconds),
        "known": at(seconds),
        "amount": amount,
        "shop": "a",
        **more,
    }


def write(file: Path, rows: Rows) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def document(aggregates: Any = AGGREGATES, **events: Any) -> dict[str, Any]:
    written = {"source": "payments", "entity": "customer", "time": "paid", "aggregates": aggregates, **events}
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "orders"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "data": {
                "sources": [
                    {"name": "orders", "jsonLines": {"path": "orders.jsonl"}},
                    {"name": "payments", "jsonLines": {"path": "payments.jsonl"}},
                ],
                "query": "select * from orders",
                "events": [written],
                "keys": {"id": "id", "time": "ordered"},
                "label": {"column": "late", "maximumDelay": "1d"},
            },
            "features": [
                {"name": one["name"], "categorical" if one["name"] == "last_shop" else "numeric": {}}
                for one in aggregates
            ],
        },
    }


def features(folder: Path, payments: Rows, moments: Sequence[float], **events: Any) -> dict[str, list[Any]]:
    """The columns of the cases, one row of `anna` at each moment (seconds after START), in that order."""
    write(folder / "payments.jsonl", payments)
    orders = [
        {"id": f"o{index:05d}", "customer": "anna", "ordered": at(moment), "late": index % 2 == 0}
        for index, moment in enumerate(moments)
    ]
    write(folder / "orders.jsonl", orders)
    table = extract(parse(document(**events), base_dir=folder), as_of=None, labels_as_of=None)
    return {name: list(values) for name, values in table.sort_by("id").to_pydict().items()}


def micros(moment: str) -> int:
    return (datetime.fromisoformat(moment) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def plain(amount: float | None) -> float | None:
    return None if amount is None else amount + 0.0


NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([0.1, -0.1, 0.3, 1e-9, 1e12, -1e12, -0.0, 3.0]),
    st.floats(-(2.0**42), 2.0**42, allow_nan=False),
)
PAYMENTS = st.lists(
    st.builds(
        lambda paid, lag, amount, shop: payment(paid / 4, amount, known=at(paid / 4 + lag / 4), shop=shop),
        st.integers(0, 200),
        st.integers(0, 120),
        NUMBERS,
        st.sampled_from(["a", "b", "ä", None]),
    ),
    min_size=1,
    max_size=40,
)
