"""`capstan validate` and `capstan explain` say what a person needs to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from capstan.cli.verbs import explain, validate

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"

app = typer.Typer()
app.add_typer(validate.app)
app.add_typer(explain.app)
runner = CliRunner()


def test_valid_file_exits_with_0() -> None:
    result = runner.invoke(app, ["validate", str(FLIGHTS)])
    assert (result.exit_code, result.output) == (0, f"{FLIGHTS}: flight-delays is valid\n")


def test_mistakes_are_printed_as_compilers_do_and_exit_with_1(tmp_path: Path, flights: str) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(flights.replace("weight: 25", "weight: 140").replace("business:", "busines:"))
    result = runner.invoke(app, ["validate", str(file)])
    assert result.exit_code == 1
    assert result.stdout == (
        f"{file}:5: objective.busines: unknown key; did you mean business?\n"
        f"{file}:44: rollout.steps[1].canary.weight: 140 is above 99; write 99 or less\n"
    )
    assert result.stderr == "2 mistakes\n"


def test_mistakes_as_json(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("a: 1\na: 2\n")
    result = runner.invoke(app, ["validate", "--json", str(file)])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["valid"] is False
    assert {"line": 2, "path": "a", "message": "written twice, first in line 1; keep one of them"} in report[
        "mistakes"
    ]


def test_missing_file_is_a_mistake_not_a_traceback(tmp_path: Path) -> None:
    result = runner.invoke(app, ["validate", str(tmp_path / "nowhere.yaml")])
    assert result.exit_code == 1
    assert "can't be read: No such file or directory" in result.stdout


def test_data_that_is_not_there_is_told_only_when_asked(tmp_path: Path, flights: str) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(flights)
    assert runner.invoke(app, ["validate", str(file)]).exit_code == 0
    result = runner.invoke(app, ["validate", "--data", str(file)])
    assert result.exit_code == 1
    assert f"{file}:9: data.sources[0].csv.path: 'data/flights.csv' is not there" in result.stdout
    assert "module 'mymodels' is not beside the file" in result.stdout
    (tmp_path / "data" / "weather").mkdir(parents=True)
    (tmp_path / "data" / "flights.csv").touch()
    (tmp_path / "mymodels.py").touch()
    result = runner.invoke(app, ["validate", "--data", str(file)])
    assert result.exit_code == 1
    assert "is not there" not in result.stdout
    assert f"{file}:9: data.sources.flights: {tmp_path}/data/flights.csv is empty" in result.stdout
    assert "data.sources.weather: the folder" in result.stdout


@pytest.mark.parametrize("written", ["data.split", "spec.data.split", "Data.Split", "data.split."])
def test_field_is_explained_with_type_default_and_example(written: str) -> None:
    result = runner.invoke(app, ["explain", written])
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "data.split\n  How rows are divided into training, validation and test.\n"
    )
    assert "type     map" in result.stdout
    assert "example  split: {byTime: {validation: 7d, test: 14d}, refit: true}" in result.stdout


def test_item_of_a_list_is_explained_by_index() -> None:
    result = runner.invoke(app, ["explain", "rollout.steps[2].canary.weight"])
    assert "whole number from 1 to 99, required" in result.stdout


def test_unknown_field_is_answered_with_the_nearest() -> None:
    result = runner.invoke(app, ["explain", "rollout.steps.canry.weigth"])
    assert result.exit_code == 1
    assert "did you mean rollout.steps.canary.weight" in result.stderr


def test_without_a_field_the_tree_is_shown() -> None:
    result = runner.invoke(app, ["explain"])
    assert "\n  split  " in result.stdout
    assert "\n    name * " in result.stdout


def test_explanations_as_json() -> None:
    doc = json.loads(runner.invoke(app, ["explain", "--json", "serving.traffic.provider"]).stdout)
    assert (doc["path"], doc["default"], doc["choices"]) == (
        "serving.traffic.provider",
        "Envoy",
        ["Envoy", "Istio"],
    )
    assert len(json.loads(runner.invoke(app, ["explain", "--json"]).stdout)) > 150


@pytest.mark.parametrize("command", ["validate", "explain"])
def test_help_holds_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert f"Example: capstan {command}" in result.stdout


def test_explain_prints_what_to_do_about_an_alert() -> None:
    text = runner.invoke(app, ["explain", "DriftDetected"]).stdout
    assert text.startswith("# DriftDetected\n")
    assert "](" not in text, "links lead nowhere in a terminal"
    assert json.loads(runner.invoke(app, ["explain", "DriftDetected", "--json"]).stdout) == {
        "alert": "DriftDetected",
        "runbook": text.strip(),
    }


def test_explain_guesses_which_alert_was_meant() -> None:
    result = runner.invoke(app, ["explain", "DriftDetectd"])
    assert result.exit_code == 1
    assert "DriftDetectd: there is no such field or alert; did you mean DriftDetected" in result.stderr
