"""Rows of one group stay together from the sources to the parts of a training."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from capstan.data import extract, part_cases
from capstan.data.leakage import find_leaks
from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.spec import MLSystem, parse
from capstan.training.cases import Cases

DAYS, GROUPS, ITEMS = 40, 4, 5


def document(shop: Any, *, features: list[str] | None = None, query: str | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "shelf"},
        "spec": {
            "objective": {"task": "Ranking", "target": "clicks"},
            "data": {
                "sources": [{"name": "items", "csv": {"path": "items.csv", "timeColumn": "asked"}}],
                **({"query": query} if query else {}),
                "keys": {"id": "id", "time": "asked", "group": "search"},
                "label": {"column": "clicks", "availableAt": "seen", "maximumDelay": "1d"},
                "split": {"byTime": {"validation": "5d", "test": "7d"}},
            },
            "features": [{"name": name, "numeric": {}} for name in features or ["price"]],
            "training": {"candidates": [{"name": "trees", "gradientBoosting": {}}]},
        },
    }


def items(shop: Any) -> list[dict[str, Any]]:
    """Searches of five items, four of them a day; the last of each day is never clicked."""
    rows = []
    for day in range(DAYS):
        for group in range(GROUPS):
            at = shop.first + timedelta(days=day, hours=5 * group)
            for item in range(ITEMS):
                clicks = 0 if group == GROUPS - 1 else max(0, 2 - item)
                rows.append(
                    {
                        "id": f"{day}-{group}-{item}",
                        "search": 100 * day + group,
                        "asked": at.isoformat(),
                        "price": 3 * item % 5 + day % 7,
                        "told": clicks,
                        "clicks": None if item == 4 and group == 1 else clicks,
                        "seen": None if item == 4 and group == 1 else (at + timedelta(hours=3)).isoformat(),
                    }
                )
    return rows


@pytest.fixture
def shelf(shop: Any) -> MLSystem:
    shop.write("items.csv", items(shop))
    return parse(document(shop), base_dir=shop.folder)


def test_groups_are_texts_and_no_part_cuts_one(shop: Any, shelf: MLSystem) -> None:
    as_of = shop.first + timedelta(days=DAYS)
    table = extract(shelf, as_of=as_of, labels_as_of=as_of)
    assert table["search"].to_pylist()[:2] == ["0", "0"]
    parted = part_cases(table, shelf, as_of=as_of)
    names = parted.table["search"].to_numpy(zero_copy_only=False)
    parts = [set(names[rows]) for rows in (parted.parts.training, parted.parts.validation, parted.parts.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    cases = Cases.of(parted.table, shelf)
    assert cases.groups is not None
    # An item that never gets a label leaves its group.
    assert set(np.bincount(cases.groups).tolist()) == {4, 5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"search": None}, ["data.keys.group: 1 rows have no 'search'", "filter them in data.query"]),
        (
            {"asked": "2024-03-01T00:20:00+00:00"},
            ["data.keys.group: 1 groups have rows of different 'asked': '0' (2 moments)", "max(asked) over"],
        ),
    ],
    ids=["no group", "two moments"],
)
def test_a_group_that_is_none_is_refused_with_the_way_out(
    shop: Any, change: dict[str, Any], words: list[str]
) -> None:
    rows = items(shop)
    rows[1] |= change
    shop.write("items.csv", rows)
    with pytest.raises(InvalidDataError) as caught:
        extract(parse(document(shop), base_dir=shop.folder), as_of=None, labels_as_of=None)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_way_out_of_several_moments_works(shop: Any) -> None:
    rows = items(shop)
    rows[1]["asked"] = "2024-03-01T00:20:00+00:00"
    shop.write("items.csv", rows)
    query = "select * replace (max(asked) over (partition by search) as asked) from items"
    table = extract(parse(document(shop, query=query), base_dir=shop.folder), as_of=None, labels_as_of=None)
    assert table.num_rows == len(rows)


def test_a_feature_that_tells_the_relevance_is_a_leak(shop: Any) -> None:
    shop.write("items.csv", items(shop))
    system = parse(document(shop, features=["price", "told"]), base_dir=shop.folder)
    (leak,) = find_leaks(extract(system, as_of=None, labels_as_of=None), system)
    assert leak.feature == "told"


def test_a_feature_that_tells_the_order_of_each_group_and_no_relevance_is_told_as_a_leak(shop: Any) -> None:
    rows = items(shop)
    rng = np.random.default_rng(5)
    for first in range(0, len(rows), ITEMS):
        group, level = rows[first : first + ITEMS], float(rng.normal(0, 100))
        for row in group:
            row["told"] = level - (row["clicks"] or 0) - rng.random() / 2
    shop.write("items.csv", rows)
    system = parse(document(shop, features=["price", "told"]), base_dir=shop.folder)
    leaks = {
        leak.feature: leak for leak in find_leaks(extract(system, as_of=None, labels_as_of=None), system)
    }
    assert "puts the rows of each group in the order of the label" in str(leaks["told"])
    assert not leaks["told"].is_certain


def test_a_feature_of_the_group_is_refused(shop: Any) -> None:
    with pytest.raises(InvalidSpecError, match=r"features\[1\].name: 'search' is keys.group"):
        parse(document(shop, features=["price", "search"]), base_dir=shop.folder)
