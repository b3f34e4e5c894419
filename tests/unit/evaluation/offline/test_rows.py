"""Metrics of a table of predictions equal scikit-learn's, weights and all; each interval has the value in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from typer.testing import CliRunner

from capstan.cli.main import app

ROWS = 1500
EXPECTED_BRIER = 1 / 2 - (0.99**3 - 0.01**3) / 3 / 0.98
"""Of calibrated probabilities from 0.01 to 0.99: the mean of p (1 - p)."""


def evaluated(file: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["evaluate", str(file), *options, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def values(document: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["value"] for one in document["metrics"]}


def refused(file: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["evaluate", str(file), *options])
    assert result.exit_code == 1, result.output
    return " ".join(result.stderr.split())


def binary(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.01, 0.99, rows)
    return pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=rows, freq="20min", tz="UTC"),
            "probability": probability,
            "late": rng.random(rows) < probability,
            "counts": rng.integers(1, 5, rows),
            "carrier": rng.choice(["UA", "AA"], rows),
        }
    )


@pytest.mark.parametrize("weight", [None, "counts"], ids=["each row counts once", "rows have weights"])
def test_binary_metrics_equal_those_of_scikit_learn(tmp_path: Path, weight: str | None) -> None:
    frame = binary()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["--task", "BinaryClassification", "--label", "late", "--threshold", "0.6"]
    document = evaluated(tmp_path / "rows.csv", *options, *(["--weight", weight] if weight else []))
    weights = frame[weight] if weight else None
    truth, probability = frame["late"], frame["probability"]
    said = probability >= 0.6
    assert values(document) == pytest.approx(
        values(document)
        | {
            "rocAuc": metrics.roc_auc_score(truth, probability, sample_weight=weights),
            "averagePrecision": metrics.average_precision_score(truth, probability, sample_weight=weights),
            "logLoss": metrics.log_loss(truth, probability, sample_weight=weights),
            "brierScore": metrics.brier_score_loss(truth, probability, sample_weight=weights),
            "accuracy": metrics.accuracy_score(truth, said, sample_weight=weights),
            "f1": metrics.f1_score(truth, said, sample_weight=weights),
            "precision": metrics.precision_score(truth, said, sample_weight=weights),
            "recall": metrics.recall_score(truth, said, sample_weight=weights),
        }
    )
    for one in document["metrics"]:
        if one["name"] != "calibrationError":
            assert one["low"] < one["value"] < one["high"], one


def test_multiclass_and_regression_and_ranking_equal_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet([1, 1, 1], ROWS)
    truth = np.array([rng.choice(list("abc"), p=row) for row in probabilities])
    frame = pd.DataFrame({f"probabilities.{name}": probabilities[:, at] for at, name in enumerate("abc")})
    frame.assign(y=truth).to_parquet(tmp_path / "classes.parquet")
    found = values(
        evaluated(tmp_path / "classes.parquet", "--task", "MulticlassClassification", "--label", "y")
    )
    said = np.array(list("abc"))[probabilities.argmax(axis=1)]
    assert found["macroF1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert found["logLoss"] == pytest.approx(metrics.log_loss(truth, probabilities))

    numbers = pd.DataFrame({"value": rng.normal(size=ROWS), "minutes": rng.normal(size=ROWS)})
    numbers.to_json(tmp_path / "numbers.jsonl", orient="records", lines=True, double_precision=15)
    found = values(evaluated(tmp_path / "numbers.jsonl", "--task", "Regression", "--label", "minutes"))
    assert found["rmse"] ** 2 == pytest.approx(
        metrics.mean_squared_error(numbers["minutes"], numbers["value"])
    )
    assert found["r2"] == pytest.approx(metrics.r2_score(numbers["minutes"], numbers["value"]))

    lists = pd.DataFrame({"query": np.repeat(np.arange(100), 12), "score": rng.normal(size=1200)})
    lists["clicks"] = rng.integers(0, 3, 1200)
    lists.to_csv(tmp_path / "lists.csv", index=False)
    document = evaluated(tmp_path / "lists.csv", "--task", "Ranking", "--label", "clicks", "--group", "query")
    each = [metrics.ndcg_score([part["clicks"]], [part["score"]], k=10) for _, part in lists.groupby("query")]
    assert values(document)["ndcgAt10"] == pytest.approx(float(np.mean(each)))


def test_a_loss_that_was_bounded_is_said_so(tmp_path: Path) -> None:
    frame = binary(rows=50)
    frame.loc[3, ["probability", "late"]] = 1e-9, True
    frame.to_csv(tmp_path / "rows.csv", index=False)
    document = evaluated(tmp_path / "rows.csv", "--task", "BinaryClassification", "--label", "late")
    notes = {one["name"]: one["note"] for one in document["metrics"]}
    assert notes["logLoss"] == "losses of 1 rows were bounded, so that none decides alone"
    assert notes["brierScore"] == ""


def test_days_that_go_together_make_an_interval_wider_than_rows_that_stand_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    days, per_day = 30, 100
    shift = np.repeat(rng.normal(size=days), per_day)
    frame = pd.DataFrame(
        {
            "at": np.repeat(pd.date_range("2024-01-01", periods=days, freq="D"), per_day),
            "value": 0.0,
            "y": shift + 0.1 * rng.normal(size=days * per_day),
        }
    )
    frame.to_csv(tmp_path / "days.csv", index=False)
    options = (tmp_path / "days.csv", "--task", "Regression", "--label", "y")
    widths = []
    for document in (evaluated(*options), evaluated(*options, "--time", "at")):
        [rmse] = [one for one in document["metrics"] if one["name"] == "rmse"]
        widths.append(rmse["high"] - rmse["low"])
    assert widths[1] > 3 * widths[0]
    assert document["intervals"]["drawn"] == "30 days"


def test_an_interval_holds_the_true_value_about_as_often_as_it_says(tmp_path: Path) -> None:
    held = 0
    for seed in range(40):
        binary(seed, 400).to_csv(tmp_path / "rows.csv", index=False)
        document = evaluated(
            tmp_path / "rows.csv", "--task", "BinaryClassification", "--label", "late", "--seed", str(seed)
        )
        [brier] = [one for one in document["metrics"] if one["name"] == "brierScore"]
        held += brier["low"] <= EXPECTED_BRIER <= brier["high"]
    assert 34 <= held <= 40


def test_slices_and_rows_without_a_label_are_told(tmp_path: Path) -> None:
    frame = binary().astype({"late": object})
    frame.loc[:99, "late"] = None
    frame.to_csv(tmp_path / "rows.csv", index=False)
    document = evaluated(
        tmp_path / "rows.csv", "--task", "BinaryClassification", "--label", "late", "--slice", "carrier"
    )
    assert (document["rows"], document["leftOut"]) == (ROWS - 100, 100)
    part = frame[100:][frame[100:]["carrier"] == "UA"]
    [ua] = [one for one in document["slices"] if one["value"] == "UA"]
    assert ua["rows"] == len(part)
    assert ua["metrics"]["rocAuc"] == pytest.approx(
        metrics.roc_auc_score(part["late"].astype(bool), part["probability"])
    )


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        ({}, ("--task", "Binary", "--label", "late"), "--task: 'Binary' is none of BinaryClassification"),
        ({}, ("--task", "BinaryClassification"), "--label: BinaryClassification needs the column of what is true"),
        ({}, ("--task", "BinaryClassification", "--label", "x"), "--label: rows.csv has no column 'x'"),
        ({}, ("--task", "BinaryClassification", "--label", "carrier"), "which is not true/false"),
        (
            {},
            ("--task", "Regression", "--label", "counts", "--threshold", "0.7"),
            "--threshold: 0.7 is for BinaryClassification and AnomalyDetection, not for Regression",
        ),
        ({}, ("--task", "Ranking", "--label", "counts"), "--group: Ranking needs the column of a row's group"),
        ({"probability": 1.5}, ("--task", "BinaryClassification", "--label", "late"), "must be a number from 0 to 1"),
        ({"probability": "?!"}, ("--task", "BinaryClassification", "--label", "late"), "row 8 has '?!' in probability"),
        ({"probability": None}, ("--task", "BinaryClassification", "--label", "late"), "row 8 has no value"),
        ({"counts": -1}, ("--task", "BinaryClassification", "--label", "late", "--weight", "counts"), "at least 0"),
        ({"at": "soon"}, ("--task", "BinaryClassification", "--label", "late", "--time", "at"), "is no moment"),
        (
            {},
            ("--task", "MulticlassClassification", "--label", "carrier"),
            "has 0 columns that begin with 'probabilities.'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_by_option_row_and_rule(
    tmp_path: Path, change: dict[str, Any], options: tuple[str, ...], told: str
) -> None:
    frame = binary(rows=20).astype(object)
    for column, value in change.items():
        frame.loc[7, column] = value
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert told in refused(tmp_path / "rows.csv", *options)


def test_a_missing_or_strange_file_is_refused_in_words(tmp_path: Path) -> None:
    options = ("--task", "Regression", "--label", "y")
    assert "does not exist" in refused(tmp_path / "none.csv", *options)
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    assert "not a kind of table" in refused(tmp_path / "table.xlsx", *options)
