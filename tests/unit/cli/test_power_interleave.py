"""`capstan power interleave` tells units and days, and which option is wrong."""

from __future__ import annotations

import json

import pytest
from click.testing import Result
from typer.testing import CliRunner

from capstan.cli.main import app


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["power", "interleave", *options], env={"COLUMNS": "200"})


def test_it_tells_units_of_all_kinds_and_days() -> None:
    found = json.loads(run("--preference", "0.05", "--ties", "0.4", "--json").stdout)["preferences"]
    size = found[0]["size"]
    assert size["pair_units"] == pytest.approx(0.6 * size["units"], abs=1)
    assert size["median_units"] < size["units"]
    shown = run("--preference", "0.05", "--preference", "-0.2", "--ties", "0.4", "--per-day", "100").output
    assert f"{size['units']:,} ({size['units'] / 100:.3g}d)" in shown
    assert "-0.2" in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--preference", "0"), "--preference: 0.0 must be other than 0"),
        (("--preference", "0.4", "--ties", "0.5"), "at most 0.25 away"),
        (("--preference", "0.1", "--ties", "1"), "--ties: 1.0 must be at least 0 and below 1"),
        (("--preference", "0.1", "--per-day", "0"), "--per-day: 0.0 must be above 0"),
        (("--preference", "0.1", "--min-units", "3"), "minUnits: 3 must be at least 20"),
    ],
)
def test_wrong_option_is_named_with_its_rule(options: tuple[str, ...], told: str) -> None:
    result = run(*options)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())
