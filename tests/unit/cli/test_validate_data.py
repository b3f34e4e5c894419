"""`capstan validate --data` reads what a training would read, and tells all at once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import capstan
from capstan.cli.main import app
from capstan.data.inspection import column_type

runner = CliRunner()
SYSTEM = """\
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: shop}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources:
      - {name: orders, csv: {path: orders.csv, timeColumn: ordered}}
      - {name: shops, csv: {path: shops.csv}}
    query: select * from orders join shops using (shop)
    keys: {id: id, time: ordered}
    label: {column: late, availableAt: ordered, maximumDelay: 1d}
    checks: [{column: price, max: 1000}]
    split: {byTime: {validation: 3d, test: 3d}}
  features: [{name: price, numeric: {}}, {name: town, categorical: {}}]
  training: {candidates: [{name: linear, logisticRegression: {}}]}
"""


def write(folder: Path, **odd: Any) -> Path:
    """A system over 400 orders of the last twenty days; `odd` maps `row_COLUMN` to another value."""
    now = datetime.now(UTC).replace(microsecond=0)
    lines = ["id,ordered,shop,price,late"]
    for index in range(400):
        row = {
            "id": f"o{index}",
            "ordered": (now - timedelta(days=20) + timedelta(hours=1.1 * index)).isoformat(),
            "shop": "ab"[index % 2],
            "price": index % 7,
            "late": str(index % 3 == 0).lower(),
        }
        row |= {
            name.split("_")[1]: value for name, value in odd.items() if name.split("_")[0] == f"row{index}"
        }
        lines.append(",".join(map(str, row.values())))
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")
    (folder / "shops.csv").write_text("shop,town,employees\na,north,3\nb,south,4\n")
    (folder / "system.yaml").write_text(SYSTEM)
    return folder / "system.yaml"


def validated(file: Path) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(app, ["validate", "--data", "--json", str(file)])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("way", ["command", "api"])
def test_secrets_are_those_of_the_state_folder_as_of_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    file, state = write(tmp_path), tmp_path / "kept"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("create table shops (shop text, town text, employees integer)")
        connection.executemany("insert into shops values (?, ?, ?)", [("a", "north", 3), ("b", "south", 4)])
    named = "database: {table: shops, urlFrom: {secretKeyRef: {name: shop, key: url}}}"
    file.write_text(SYSTEM.replace("csv: {path: shops.csv}", named))
    for place, url in ((state, "sqlite:///shop.db"), (tmp_path / ".capstan", "sqlite:///nothing.db")):
        (place / "secrets/shop").mkdir(parents=True)
        (place / "secrets/shop/url").write_text(url)
    monkeypatch.chdir(tmp_path)
    if way == "api":
        assert capstan.System.from_file(file, state=state).validate()
        assert not capstan.System.from_file(file).validate()
        return
    assert runner.invoke(app, ["validate", "--data", str(file), "--state", str(state)]).exit_code == 0
    assert runner.invoke(app, ["validate", "--data", str(file)]).exit_code == 1


def test_columns_types_cases_parts_and_age_are_told(tmp_path: Path) -> None:
    code, report = validated(write(tmp_path))
    assert code == 0
    assert report["valid"]
    data = report["data"]
    assert data["sources"][0]["name"] == "orders"
    assert data["sources"][0]["types"] == {
        "id": "Text",
        "ordered": "Time",
        "shop": "Text",
        "price": "Number",
        "late": "Boolean",
    }
    assert data["sources"][1]["types"] == {"shop": "Text", "town": "Text", "employees": "Number"}
    assert data["rows"] == 400
    assert data["columns"] == {
        "id": "Text",
        "ordered": "Time",
        "price": "Number",
        "town": "Text",
        "late": "Boolean",
        "label_available_at": "Time",
    }
    assert [part["name"] for part in data["parts"]] == ["training", "validation", "test"]
    assert sum(part["labels"] for part in data["parts"]) > 350
    tally = data["parts"][0]["tally"]
    assert min(tally.values()) > 0
    assert sum(tally.values()) == data["parts"][0]["labels"]
    assert timedelta(days=1) < timedelta(seconds=data["ageSeconds"]) < timedelta(days=2)
    text = runner.invoke(app, ["validate", "--data", str(tmp_path / "system.yaml")])
    assert text.exit_code == 0
    for words in (
        "orders: 5 columns: id Text, ordered Time, shop Text, price Number, late Boolean",
        "query: 400 cases: id Text, ordered Time, price Number",
        "newest case:",
        "training (",
        "shop is valid",
    ):
        assert words in text.stdout


def dated(file: Path, ahead: int, early: int = 0, undated: int = 0) -> Path:
    """The orders with the last `ahead` of them tomorrow, and some labels from before their order or of no time."""
    now = datetime.now(UTC).replace(microsecond=0)
    lines = []
    for index in range(400):
        at = now - timedelta(days=20) + timedelta(hours=index)
        at = now + timedelta(days=1, minutes=index) if index >= 400 - ahead else at
        known = at - timedelta(hours=2) if index < early else at
        lines.append(
            f"o{index},{at.isoformat()},{'ab'[index % 2]},{index % 7},{str(index % 3 == 0).lower()},"
            f"{'' if early <= index < early + undated else known.isoformat()}"
        )
    (file.parent / "orders.csv").write_text("\n".join(["id,ordered,shop,price,late,arrived", *lines]) + "\n")
    text = file.read_text().replace("availableAt: ordered", "availableAt: arrived")
    file.write_text(text)
    return file


@pytest.mark.parametrize("source_time", [True, False])
def test_rows_of_the_future_are_told_with_their_number_and_the_reason(
    source_time: bool, tmp_path: Path
) -> None:
    file = dated(write(tmp_path), ahead=40)
    if not source_time:
        file.write_text(file.read_text().replace(", timeColumn: ordered", ""))
    code, report = validated(file)
    assert (code, report["data"]["rows"]) == (0, 360)
    (told,) = [warning for warning in report["data"]["warnings"] if "left out" in warning]
    assert told.startswith(
        "data.keys.time: 40 of 400 cases are left out, because their 'ordered' is after now, "
    )
    assert "('o360' of " in told
    assert "times without offset are of data.timeZone, UTC" in told
    assert "40 of 400 cases are left out" in runner.invoke(app, ["validate", "--data", str(file)]).stdout


def test_rows_of_the_past_leave_none_out(tmp_path: Path) -> None:
    _, report = validated(dated(write(tmp_path), ahead=0))
    assert not [warning for warning in report["data"]["warnings"] if "left out" in warning]


def test_labels_known_before_their_case_are_counted_with_an_example(tmp_path: Path) -> None:
    _, report = validated(dated(write(tmp_path), ahead=0, early=7))
    (told,) = [text for text in report["data"]["warnings"] if text.startswith("data.label.availableAt")]
    assert told.startswith(
        "data.label.availableAt: 7 of 400 labels were known before their case ('o0' is of "
    )


def test_labels_of_which_nobody_knows_since_when_are_counted(tmp_path: Path) -> None:
    _, report = validated(dated(write(tmp_path), ahead=0, undated=9))
    (told,) = [text for text in report["data"]["warnings"] if text.startswith("data.label.availableAt")]
    assert "9 labels do not count, because 'arrived' is empty beside them" in told


def test_a_source_column_is_told_as_it_will_be_used(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "shops.csv").write_text("shop,town,employees,opened\na,1.10,3,2020\nb,2.0,4,2021\n")
    file.write_text(
        file.read_text().replace(
            "shops, csv: {path: shops.csv}",
            "shops, types: [{column: opened, type: Text}], csv: {path: shops.csv}",
        )
    )
    code, report = validated(file)
    assert code == 0
    assert report["data"]["sources"][1]["types"] == {
        "shop": "Text",
        "town": "Text",
        "employees": "Number",
        "opened": "Text",
    }
    assert report["data"]["columns"]["town"] == "Text"


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ("DECIMAL(18,3)", "Number"),
        ("HUGEINT", "Number"),
        ("FLOAT", "Number"),
        ("INTERVAL", "Number"),
        ("TIME", "Text"),
        ("ENUM('a', 'b')", "Text"),
        ("TIMESTAMP_NS", "Time"),
        ("TIMESTAMP WITH TIME ZONE", "Time"),
        ("DATE", "Time"),
        ("VARCHAR[]", "VARCHAR[]"),
    ],
)
def test_duckdbs_types_have_the_files_words(found: str, kind: str) -> None:
    assert column_type(found) == kind


def test_without_the_option_no_data_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, row5_price="?")
    result = runner.invoke(app, ["validate", "--json", str(file)])
    assert result.exit_code == 0
    assert "data" not in json.loads(result.stdout)


def test_the_cell_in_the_last_line_that_makes_a_column_text_is_named(tmp_path: Path) -> None:
    code, report = validated(write(tmp_path, row399_price="?"))
    assert code == 1
    (mistake,) = report["mistakes"]
    assert mistake["path"] == "features"
    assert f"{tmp_path}/orders.csv, line 401: '?'" in mistake["message"]
    assert mistake["line"] == 15


def test_every_broken_source_is_told_at_its_line(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "orders.csv").write_text("")
    (tmp_path / "shops.csv").write_text("shop,town\na,b,c\n")
    code, report = validated(file)
    assert code == 1
    assert [(each["path"], each["line"]) for each in report["mistakes"]] == [
        ("data.sources.orders", 8),
        ("data.sources.shops", 9),
    ]
    assert "is empty" in report["mistakes"][0]["message"]
    assert "line 2: has more values than the 2 columns" in report["mistakes"][1]["message"]


def test_broken_rules_leaks_and_parts_are_told_together(tmp_path: Path) -> None:
    file = write(tmp_path, row5_price="5000")
    text = file.read_text().replace("{name: town, categorical: {}}", "{name: leak, categorical: {}}")
    text = text.replace("select * from orders", "select *, if(late, 'y', 'n') as leak from orders")
    file.write_text(text.replace("validation: 3d, test: 3d", "validation: 30d, test: 3d"))
    code, report = validated(file)
    assert code == 1
    told = {mistake["path"]: mistake["message"] for mistake in report["mistakes"]}
    assert "is above the maximum 1000 (o5 has 5000)" in told["data.checks"]
    assert "'leak'" in told["features"]
    assert "part for training is empty" in told["data.split.byTime"]


def test_a_broken_query_is_told_without_reading(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("select * from orders", "select idd from orders"))
    code, report = validated(file)
    assert code == 1
    (mistake,) = report["mistakes"]
    assert mistake["path"] == "data.query"
    assert '"idd" not found' in mistake["message"]
    assert mistake["line"] == 10


def test_local_times_that_clocks_made_unclear_are_warned_of(tmp_path: Path) -> None:
    file = write(tmp_path, row0_ordered="2025-11-02 01:30:00")
    file.write_text(file.read_text().replace("  data:\n", "  data:\n    timeZone: America/New_York\n"))
    code, report = validated(file)
    assert code == 0
    (warning,) = [each for each in report["data"]["warnings"] if "2025-11-02 01:30:00" in each]
    assert "data.sources.orders.timeColumn" in warning
    assert "happened twice in America/New_York" in warning
