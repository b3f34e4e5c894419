# ruff: noqa: E501 - tables of cases are read line by line
"""`capstan init` on tables as people have them: what it writes is valid with its data, and each guess says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from capstan.cli.main import app

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
Rows = Callable[[np.random.Generator, int], list[object]]


@dataclass(frozen=True)
class Table:
    """A table with what must be guessed of it."""

    header: str
    row: Rows
    expected: Mapping[str, Any]
    target: str = "y"
    rows: int = 300
    delimiter: str = ","
    without: tuple[str, ...] = field(default=())
    """Columns that are no features."""


def moment(index: int) -> str:
    return (FIRST + timedelta(hours=6 * index)).isoformat()


def odd(index: int, every: int, value: object, otherwise: object) -> object:
    return value if index % every == 0 else otherwise


TABLES = {
    "binary without times and ids": Table(
        "a,b,y",
        lambda rng, _: [rng.normal(), rng.choice(["x", "z"]), rng.choice(["true", "false"])],
        {"task": "BinaryClassification", "keys": None, "split": "stratified"},
    ),
    "binary of two texts": Table(
        "a,y",
        lambda rng, _: [rng.normal(), rng.choice(["B", "M"], p=[0.7, 0.3])],
        {"task": "BinaryClassification", "positive": "M", "negative": "B"},
    ),
    "binary of a word that says true": Table(
        "a,y",
        lambda rng, _: [rng.normal(), rng.choice(["churned", "stayed"], p=[0.7, 0.3])],
        {"task": "BinaryClassification", "positive": "churned", "negative": "stayed"},
    ),
    "classes with an id": Table(
        "penguin_id,bill,island,species",
        lambda rng, i: [f"p{i}", odd(i, 9, "NA", round(rng.normal(40, 5), 1)), rng.choice(["Dream", "Biscoe"]), rng.choice(["A", "C", "G"])],
        {"task": "MulticlassClassification", "keys": {"id": "penguin_id"}, "split": "stratified"},
        target="species",
    ),
    "stars are classes": Table(
        "words,stars",
        lambda rng, _: [int(rng.integers(1, 900)), int(rng.integers(1, 6))],
        {"task": "MulticlassClassification"},
        target="stars",
    ),
    "numbers": Table(
        "a,b,y",
        lambda rng, _: [rng.normal(), int(rng.integers(0, 50)), rng.normal(100, 20)],
        {"task": "Regression", "split": "random"},
    ),
    "numbers with times": Table(
        "created_at,temp,count",
        lambda rng, i: [moment(i), round(rng.normal(10, 4), 1), int(rng.integers(0, 900))],
        {"task": "Regression", "keys": {"time": "created_at"}, "split": "byTime"},
        target="count",
    ),
    "dates as Germans write them": Table(
        "Datum,temp,y",
        lambda rng, i: [(FIRST + timedelta(hours=6 * i)).strftime("%d.%m.%Y %H:%M"), rng.normal(), rng.choice(["yes", "no"])],
        {"task": "BinaryClassification", "keys": {"time": "Datum"}, "split": "byTime", "types": [{"column": "Datum", "type": "Time", "written": "%d.%m.%Y %H:%M"}]},
    ),
    "dates of which day and month cannot be told apart": Table(
        "day,temp,y",
        lambda rng, i: [f"0{i % 9 + 1}/0{i % 7 + 1}/2025", rng.normal(), rng.choice(["yes", "no"])],
        {"task": "BinaryClassification", "keys": None},
    ),
    "late labels": Table(
        "ticket_id,opened_at,resolved_at,team,y",
        lambda rng, i: [i + 1, moment(i), (FIRST + timedelta(hours=6 * i + int(rng.integers(1, 100)))).isoformat(), rng.choice(["n", "s"]), rng.choice(["yes", "no"])],
        {"task": "BinaryClassification", "keys": {"id": "ticket_id", "time": "opened_at"}, "availableAt": "resolved_at", "maximumDelay": "5d"},
    ),
    "semicolons and decimal commas": Table(
        "Fläche;Preis",
        lambda rng, _: [f"{rng.normal(80, 20):.1f}".replace(".", ","), f"{rng.normal(900, 90):.2f}".replace(".", ",")],
        {"task": "Regression", "types": [{"column": "Fläche", "type": "Number", "written": "1.234,5"}, {"column": "Preis", "type": "Number", "written": "1.234,5"}]},
        target="Preis",
        delimiter=";",
    ),
    "a question mark for a missing number": Table(
        "a,b,y",
        lambda rng, i: [odd(i, 20, "?", round(rng.normal(), 2)), rng.choice(["x", "z"]), rng.choice(["0", "1"])],
        {"task": "BinaryClassification", "missing": ["?"]},
    ),
    "free text, a constant, an empty column and an index": Table(
        ",note,same,nothing,a,y",
        lambda rng, i: [i, f"words {i} {rng.normal()}", "k", "", rng.normal(), rng.choice(["yes", "no"])],
        {"task": "BinaryClassification"},
        without=("note", "same", "nothing"),
    ),
    "a column that is the label in disguise": Table(
        "a,sure,y",
        lambda rng, i: [rng.normal(), "won" if i % 3 else "lost", "yes" if i % 3 else "no"],
        {"task": "BinaryClassification"},
        without=("sure",),
    ),
    "columns that add up to the label": Table(
        "a,casual,registered,y",
        lambda rng, i: [f"{rng.normal():.3f}", i % 7, (i * i) % 31, i % 7 + (i * i) % 31],
        {"task": "Regression"},
        without=("casual", "registered"),
    ),
    "three short seasons": Table(
        "seen,a,y",
        lambda rng, i: [(FIRST - timedelta(days=365 * (2 - i // 100), hours=-6 * (i % 100))).isoformat(), rng.normal(), rng.choice(["yes", "no"])],
        {"keys": {"time": "seen"}, "byTime": {"validation": "8d", "test": "15d"}},
    ),
    "few rows": Table(
        "a,y",
        lambda rng, i: [rng.normal(), "yes" if i % 2 else "no"],
        {"task": "BinaryClassification", "candidates": ["baseline", "logistic"]},
        rows=60,
    ),
}  # fmt: skip


def write(table: Table, folder: Path) -> Path:
    rng = np.random.default_rng(7)
    lines = [table.header]
    lines += [
        table.delimiter.join(str(cell) for cell in table.row(rng, index)) for index in range(table.rows)
    ]
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def run(*words: str, answers: str = "") -> Any:
    return CliRunner().invoke(app, list(words), input=answers)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_file_for_a_table_is_guessed_and_is_valid_with_its_data(table: Table, tmp_path: Path) -> None:
    file = write(table, tmp_path)
    told = run("init", str(file), "--target", table.target, "--json")
    assert told.exit_code == 0, told.output
    spec = json.loads(told.stdout)["system"]["spec"]
    data = spec["data"]
    found = {
        **{name: spec["objective"].get(name) for name in ("task", "positive", "negative")},
        "keys": data.get("keys"),
        "split": next(iter(data["split"])),
        "byTime": data["split"].get("byTime"),
        "availableAt": data["label"].get("availableAt"),
        "maximumDelay": data["label"].get("maximumDelay"),
        "missing": data["sources"][0]["csv"].get("missing"),
        "types": data["sources"][0].get("types"),
        "candidates": [one["name"] for one in spec["training"]["candidates"]],
    }
    for name, value in table.expected.items():
        assert found[name] == value, (name, found, data)
    assert not {feature["name"] for feature in spec["features"]} & set(table.without)
    assert spec["features"]

    valid = run("validate", "--data", str(tmp_path / "system.yaml"), "--json")
    assert valid.exit_code == 0, valid.output
    assert yaml.safe_load((tmp_path / "system.yaml").read_text())["spec"].keys() == spec.keys()
    assert f"`{table.target}`" in (tmp_path / "README.md").read_text()


def test_each_guess_is_said_with_its_reason(tmp_path: Path) -> None:
    told = run("init", str(write(TABLES["late labels"], tmp_path)), "--target", "y").stdout
    assert "objective.task: BinaryClassification: 'y' holds two values" in told
    assert "data.keys.id: ticket_id: every row has another value in it" in told
    assert "data.label.maximumDelay: 5d: the longest time" in told
    assert (
        "# data.keys.time: opened_at: every row has a moment in it" in (tmp_path / "system.yaml").read_text()
    )


def test_what_is_kept_is_a_feature(tmp_path: Path) -> None:
    file = write(TABLES["free text, a constant, an empty column and an index"], tmp_path)
    kept = json.loads(run("init", str(file), "--target", "y", "--keep", "same", "--json").stdout)
    assert "same" in {feature["name"] for feature in kept["system"]["spec"]["features"]}
    assert run("validate", "--data", str(tmp_path / "system.yaml")).exit_code == 0
    refused = run("init", str(file), "--target", "y", "--keep", "sam", "--force")
    assert refused.exit_code == 1
    assert "did you mean 'same'?" in refused.stderr.replace("\n", " ")


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    file = write(TABLES["numbers"], tmp_path)
    (tmp_path / "README.md").write_text("mine")
    refused = run("init", str(file), "--target", "y")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "system.yaml").exists()
    assert run("init", str(file), "--target", "y", "--force").exit_code == 0
    assert (tmp_path / "README.md").read_text() != "mine"


def test_who_is_asked_decides(tmp_path: Path) -> None:
    file = write(TABLES["stars are classes"], tmp_path)
    told = run("init", str(file), "--target", "stars", "--ask", answers="Regression\n-\n-\n")
    assert told.exit_code == 0, told.output
    assert yaml.safe_load((tmp_path / "system.yaml").read_text())["spec"]["objective"]["task"] == "Regression"


@pytest.mark.parametrize(
    ("target", "words"),
    [("yy", "did you mean 'y'?"), ("note", "which are no classes"), ("same", "nothing to learn")],
)
def test_a_target_that_cannot_be_learnt_is_refused_with_the_way_out(
    target: str, words: str, tmp_path: Path
) -> None:
    file = write(TABLES["free text, a constant, an empty column and an index"], tmp_path)
    refused = run("init", str(file), "--target", target)
    assert refused.exit_code == 1
    assert words in refused.stderr.replace("\n", " ")
    assert not (tmp_path / "system.yaml").exists()


def _unlabelled(folder: Path, **columns: list[Any]) -> Path:
    file = folder / "rows.csv"
    rows = zip(*columns.values(), strict=True)
    file.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return file


def test_a_table_without_a_label_is_described_for_a_task_that_needs_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    file = _unlabelled(
        tmp_path, amount=rng.lognormal(3, 1, 300).tolist(), unusual=rng.integers(0, 9, 300).tolist()
    )
    told = CliRunner().invoke(app, ["init", str(file), "--task", "AnomalyDetection"])
    assert told.exit_code == 0, told.output
    assert "data.label: none: no column is to be predicted" in told.output
    spec = yaml.safe_load((tmp_path / "system.yaml").read_text())["spec"]
    # A column has the usual name of what is predicted; and bounds would refuse the rows that are looked for.
    assert spec["objective"] == {"task": "AnomalyDetection", "target": "unusual_2", "flaggedShare": 0.01}
    assert "label" not in spec["data"]
    assert "checks" not in spec["data"]
    assert [one["name"] for one in spec["features"]] == ["amount", "unusual"]
    checked = CliRunner().invoke(app, ["validate", "--data", str(tmp_path / "system.yaml")])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (["fraud", "", ""], "'mark' holds 1 different values (fraud)"),
        (["a", "b", "c"], "'mark' holds 3 different values (a, b, c)"),
        (["", "", ""], "'mark' holds 0 different values"),
    ],
    ids=["one", "three", "none"],
)
def test_a_label_of_another_number_of_values_than_two_is_refused(
    marks: list[str], told: str, tmp_path: Path
) -> None:
    file = _unlabelled(tmp_path, amount=[1.5, 2.5, 3.5] * 20, mark=marks * 20)
    found = CliRunner().invoke(app, ["init", str(file), "--task", "AnomalyDetection", "--target", "mark"])
    assert found.exit_code != 0
    words = " ".join(found.output.split())
    assert told in words
    assert "leave --target out: the task needs no label" in words
    assert not (tmp_path / "system.yaml").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "nothing says what is to be predicted; name the column with --target"),
        (["--task", "Regression"], "Regression learns from a column; name the column with --target"),
        (["--task", "Guessing"], "'Guessing' is none of the tasks BinaryClassification"),
    ],
    ids=["nothing", "a task that needs one", "no task"],
)
def test_a_table_without_a_label_needs_a_task_that_needs_none(
    options: list[str], told: str, tmp_path: Path
) -> None:
    file = _unlabelled(tmp_path, amount=[1.5, 2.5, 3.5])
    found = CliRunner().invoke(app, ["init", str(file), *options])
    assert found.exit_code != 0
    assert told in " ".join(found.output.split())
    assert not (tmp_path / "system.yaml").exists()
