"""`capstan power experiment` tells units and days beforehand, and every way in which its options are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from capstan.cli.main import app

SHARE = ("--effect", "0.01", "--base", "0.1")


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["power", "experiment", *options], env={"COLUMNS": "200"})


def row(*options: str) -> dict[str, Any]:
    result = run(*options, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)["effects"][0]
    return found


def test_it_tells_units_of_all_arms_and_of_one_look() -> None:
    found = row(*SHARE)
    assert found["fixedHorizon"]["units"] == pytest.approx(2 * 14_749, abs=20)
    assert found["alwaysValid"]["units"] == pytest.approx(1.6 * found["fixedHorizon"]["units"], rel=0.03)
    assert found["alwaysValid"]["days"] is None


def test_traffic_and_window_make_days() -> None:
    found = row(*SHARE, "--per-day", "5000", "--window", "7")
    assert found["fixedHorizon"]["days"] == 6 + 7
    assert found["alwaysValid"]["median_days"] < found["alwaysValid"]["days"]


def test_arms_metrics_and_guardrails_cost_units() -> None:
    plain = row("--effect", "0.2", "--sd", "2")["alwaysValid"]
    several = row("--effect", "0.2", "--sd", "2", "--shares", "50,25,25")["alwaysValid"]
    assert several["units"] > 1.5 * plain["units"]
    assert row("--effect", "0.2", "--sd", "2", "--metrics", "3")["alwaysValid"]["units"] > plain["units"]
    assert row("--effect", "0.2", "--sd", "2", "--guardrails", "2")["alwaysValid"]["units"] > plain["units"]


def test_covariate_saves_units() -> None:
    plain, helped = (
        row("--effect", "0.1", "--sd", "2", "--correlation", rho)["fixedHorizon"] for rho in ("0", "0.8")
    )
    assert helped["units"] == pytest.approx(0.36 * plain["units"], rel=0.001)


def test_deadline_that_cannot_be_met_says_so_with_the_ways_out() -> None:
    result = run(*SHARE, "--per-day", "1000", "--deadline", "20")
    assert result.exit_code == 0
    assert "20d cannot be met" in result.output
    assert "look for an effect of +0.01" in result.output
    found = row(*SHARE, "--per-day", "1000", "--deadline", "200")
    assert found["infeasible"] == {"alwaysValid": None, "fixedHorizon": None}


def test_the_table_has_a_row_for_each_effect() -> None:
    result = run("--effect", "-0.01", "--effect", "0.02", "--base", "0.1", "--per-day", "1000")
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if line.strip().startswith(("-0.01", "+0.02"))]
    assert len(lines) == 2
    assert all("d)" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--effect", "1"), "--sd: None or --base must be given, and not both"),
        (("--effect", "1", "--sd", "1", "--base", "0.1"), "--sd: 1.0 or --base must be given, and not both"),
        (("--effect", "0", "--sd", "1"), "--effect: 0.0 must be a difference other than 0"),
        (("--effect", "0.5", "--base", "0.6"), "that leaves a share of 0 to 1"),
        (("--effect", "1", "--sd", "-1"), "--sd: -1.0 must be above 0"),
        ((*SHARE, "--shares", "50"), "--shares: 50 must name at least two arms"),
        ((*SHARE, "--shares", "50,x"), "'x' must be a whole number of at least 1"),
        ((*SHARE, "--alpha", "0"), "--alpha: 0.0 must be above 0 and at most 0.5"),
        ((*SHARE, "--power", "1"), "--power: 1.0 must be at least 0.05 and below 1"),
        ((*SHARE, "--deadline", "3"), "--deadline: 3.0 needs --per-day"),
    ],
)
def test_wrong_option_is_named_with_its_rule(options: tuple[str, ...], told: str) -> None:
    result = run(*options)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())
