"""Marked columns are treated before a case is made of a row; nothing quotes their raw values."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from capstan.data import extract, request_schema, treated_columns
from capstan.data.partitions import partitioned_cases
from capstan.errors import InvalidDataError
from capstan.features.pseudonyms import read_pseudonym_keys
from capstan.features.treatments import RowTreatments
from capstan.serving.model import as_requests
from capstan.spec import MLSystem, parse

PSEUDONYMISE = {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "key"}}}
QUERY = (
    "select *, price as exact, price as spent, ordered as day, 'x-' || id as card, id as twin, 7 as number "
    "from orders"
)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    (folder / "privacy").mkdir(parents=True)
    (folder / "privacy" / "key").write_text("3 in-use-since-this-year\n")
    return folder


def system(shop: Any, *columns: dict[str, Any], query: str = QUERY, **data: Any) -> MLSystem:
    document = shop.document(query=query, privacy={"columns": list(columns)}, **data)
    document["spec"]["data"]["sources"] = document["spec"]["data"]["sources"][:1]
    names = {feature["name"] for feature in document["spec"]["features"]}
    document["spec"]["features"] = [
        one for one in document["spec"]["features"] if one["name"] in ("shop", "price")
    ]
    document["spec"]["features"] += [
        {"name": column["name"], "numeric" if "width" in column.get("generalise", {}) else "categorical": {}}
        for column in columns
        if column["name"] not in (*names, "id") and "drop" not in column
    ]
    return parse(document, base_dir=shop.folder)


COLUMNS = (
    {"name": "id", "pseudonymise": PSEUDONYMISE},
    {"name": "spent", "generalise": {"width": 10}},
    {"name": "day", "generalise": {"date": "Day"}},
    {"name": "card", "mask": {"keep": 3}},
    {"name": "twin", "pseudonymise": PSEUDONYMISE},
    {"name": "number", "generalise": {"prefix": 1}},
    {"name": "exact", "drop": {}},
)


def read(system: MLSystem, secrets: Path) -> Any:
    return extract(system, as_of=None, labels_as_of=None, secrets=secrets)


def test_cases_hold_what_stands_for_raw_values(shop: Any, secrets: Path) -> None:
    table = read(system(shop, *COLUMNS), secrets)
    rows = {row["price"]: row for row in table.to_pylist()}
    keys = read_pseudonym_keys(secrets, "privacy", "key")
    row = rows[27]
    assert row["id"] == row["twin"] == keys.pseudonym("o017", 3), "one value has one pseudonym in all columns"
    assert (row["spent"], row["card"], row["number"]) == (20.0, "x-o***", "7")
    assert row["day"].isoformat() == "2024-03-01T00:00:00+00:00"
    assert "exact" not in table.column_names


def test_a_request_is_treated_to_the_bit_as_the_table_was(shop: Any, secrets: Path) -> None:
    marked = system(shop, *COLUMNS)
    unmarked = parse(
        {
            **shop.document(query=QUERY),
            "spec": {
                **shop.document(query=QUERY)["spec"],
                "features": [
                    f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in marked.spec.features
                ],
            },
        },
        base_dir=shop.folder,
    )
    table, raw = read(marked, secrets), read(unmarked, secrets)
    names = [feature.column for feature in marked.spec.features]
    treatments = RowTreatments(treated_columns(table), secrets)
    wanted = as_requests(table.sort_by("price").select([*names, "id"]))
    for row, treated in zip(as_requests(raw.sort_by("price").select([*names, "id"])), wanted, strict=True):
        treatments.apply(row)
        again = dict(row)
        treatments.apply(again)
        assert row == again
        moment = str(treated.pop("day")).replace(" ", "T").replace("+00:00", "Z")
        assert row.pop("day") == moment
        assert row == treated
    assert {column.name: column.type for column in request_schema(marked, table)}["spent"] == "Number"


def test_what_cannot_be_treated_is_told_without_its_value(
    shop: Any, secrets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    query = (
        "select *, case when id = 'o005' then 'SECRET' else cast(price as varchar) end as spent from orders"
    )
    with pytest.raises(InvalidDataError) as raised:
        read(system(shop, COLUMNS[1], query=query), secrets)
    assert "spent" in str(raised.value)
    shop.write("orders.csv", [{**shop.order(at), "price": "SECRET" if at == 3 else at} for at in range(40)])
    for bad in ({"name": "price", "generalise": {"width": 5}}, COLUMNS[3]):
        with pytest.raises(InvalidDataError) as broken:
            read(system(shop, bad, query=QUERY), secrets)
        raised_from = broken.value
        texts = [str(broken.value), str(raised.value), str(raised_from.__cause__), caplog.text]
        assert not any("SECRET" in text for text in texts)
        assert "orders.csv, line 5: (not shown)" in str(broken.value), "the place helps, and tells nobody"


def test_errors_of_the_query_itself_quote_no_value(shop: Any, secrets: Path) -> None:
    query = "select *, cast('SECRET-' || id as integer) as card from orders"
    with pytest.raises(InvalidDataError) as raised:
        read(system(shop, COLUMNS[3], query=query), secrets)
    assert "o000" not in str(raised.value)
    assert "(not shown)" in str(raised.value)
    assert raised.value.__cause__ is None


def test_ids_that_come_twice_are_told_by_their_pseudonyms(shop: Any, secrets: Path) -> None:
    shop.write("orders.csv", [{**shop.order(at), "id": "Ann Miller"} for at in range(40)])
    with pytest.raises(
        InvalidDataError, match=r"must be unique, but there is 'p3-[0-9a-f]{32}' \(40 times\)"
    ) as raised:
        read(system(shop, COLUMNS[0]), secrets)
    assert "Miller" not in str(raised.value)


def test_without_its_key_nothing_is_read(shop: Any, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"the secret privacy/key cannot be read .*openssl rand -base64 32"
    ):
        read(system(shop, *COLUMNS), tmp_path / "none")


def test_other_systems_go_on_showing_cells(
    shop: Any, secrets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write("orders.csv", [{**shop.order(at), "price": "shown" if at == 3 else at} for at in range(40)])
    caplog.set_level(logging.WARNING)
    with pytest.raises(InvalidDataError, match="line 5: 'shown'"):
        read(shop.system(), secrets)


def test_a_batch_gets_the_pseudonyms_that_its_version_has_learnt(shop: Any, secrets: Path) -> None:
    (secrets / "privacy" / "key").write_text("3 in-use-since-this-year\n4 in-use-since-yesterday\n")
    one = system(shop, {"name": "twin", "pseudonymise": PSEUDONYMISE})

    def twins(numbers: dict[str, int]) -> set[str]:
        given = {"columns": ("twin",), "start": None, "end": None, "secrets": secrets}
        with partitioned_cases(one, **given, key_numbers=numbers) as cases:
            tables = [pa.Table.from_batches(cases.batches(part)) for part in cases.partitions]
        return {value.partition("-")[0] for value in pa.concat_tables(tables)["twin"].to_pylist()}

    assert twins({"twin": 3}) == {"p3"}
    assert twins({}) == {"p4"}
    with pytest.raises(
        InvalidDataError, match="key 2 of the pseudonyms of 'twin' is not in its secret any more"
    ):
        twins({"twin": 2})
