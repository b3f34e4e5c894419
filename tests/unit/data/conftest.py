"""A shop with orders and weather that is small enough to write down, and the real flights."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan.spec import MLSystem, load, parse

EXAMPLE = Path(__file__).parents[3] / "examples" / "flight-delays"


class Shop:
    """Forty hourly orders and the weather, in a folder."""

    first = datetime(2024, 3, 1, tzinfo=UTC)
    orders = 40

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("orders.csv", [self.order(index) for index in range(self.orders)])
        self.write("weather.csv", [self.weather(index) for index in range(self.orders)])

    def order(self, index: int) -> dict[str, object]:
        """The order of hour `index`; it is known to be late half a day afterwards, each tenth never."""
        at = self.first + timedelta(hours=index)
        lost = index % 10 == 9
        return {
            "id": f"o{index:03d}",
            "ordered": at.isoformat(),
            "shop": ["north", "south"][index % 2],
            "price": 10 + index,
            "late": None if lost else str(index % 3 == 0).lower(),
            "arrived": None if lost else (at + timedelta(hours=12)).isoformat(),
        }

    def weather(self, index: int) -> dict[str, object]:
        return {"hour": (self.first + timedelta(hours=index)).isoformat(), "temp": 1.5 * index}

    def write(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """A CSV file of the rows."""
        lines = [",".join(rows[0])]
        lines += [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def document(self, **data: Any) -> dict[str, Any]:
        """A system over orders.csv and weather.csv; `data` replaces parts of `spec.data`."""
        return {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "orders"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "late"},
                "data": {
                    "sources": [
                        {"name": "orders", "csv": {"path": "orders.csv", "timeColumn": "ordered"}},
                        {"name": "weather", "csv": {"path": "weather.csv", "timeColumn": "hour"}},
                    ],
                    "query": "select orders.*, temp from orders left join weather on weather.hour = orders.ordered",
                    "keys": {"id": "id", "time": "ordered"},
                    "label": {"column": "late", "availableAt": "arrived", "maximumDelay": "1d"},
                    **data,
                },
                "features": [
                    {"name": "shop", "categorical": {"encode": "Integer"}},
                    {"name": "price", "numeric": {}},
                    {"name": "temp", "numeric": {}},
                ],
            },
        }

    def system(self, **data: Any) -> MLSystem:
        return parse(self.document(**data), base_dir=self.folder)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def orders(shop: Shop) -> MLSystem:
    return shop.system()


@pytest.fixture(scope="session")
def prepare() -> Any:
    """The example's prepare.py as a module."""
    spec = importlib.util.spec_from_file_location("flight_delays_prepare", EXAMPLE / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def flights(prepare: Any, tmp_path_factory: pytest.TempPathFactory) -> MLSystem:
    """The example over tables of its own."""
    folder = tmp_path_factory.mktemp("flights")
    prepare.prepare(folder / "data")
    (folder / "system.yaml").write_bytes((EXAMPLE / "system.yaml").read_bytes())
    return load(folder / "system.yaml")


@pytest.fixture
def with_feature(flights: MLSystem) -> Callable[[str], MLSystem]:
    """The example with one more numeric feature from the flights table."""

    def build(column: str) -> MLSystem:
        changed = copy.deepcopy(flights.model_dump(mode="json", by_alias=True, exclude_unset=True))
        data = changed["spec"]["data"]
        data["query"] = data["query"].replace("late,", f"late, {column},", 1)
        changed["spec"]["features"].append({"name": column, "numeric": {}})
        return parse(changed, base_dir=flights.base_dir)

    return build
