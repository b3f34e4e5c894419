"""`capstan experiment analyze` needs a log and nothing else; it says what was decided and by which rule."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from capstan.cli.main import app

RUN = CliRunner()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(6)
    count = 2000
    arm = rng.integers(0, 2, count)
    before = rng.normal(10, 2, count)
    path = tmp_path_factory.mktemp("experiment") / "log.csv"
    pd.DataFrame(
        {
            "user": [f"u{one:05d}" for one in range(count)],
            "group": np.where(arm, "B", "A"),
            "revenue": before + rng.normal(0, 1, count) + 0.6 * arm,
            "bought": rng.random(count) < 0.2,
            "before": before,
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10, count), unit="D"),
            "land": rng.choice(["DE", "FR"], count),
        }
    ).to_csv(path, index=False)
    return path


def analyze(log: Path, *options: str):  # type: ignore[no-untyped-def]
    named = ("--unit", "user", "--arm", "group", "--control", "A")
    return RUN.invoke(app, ["experiment", "analyze", str(log), *named, *options])


def test_verdict_is_a_sentence_with_its_rule(log: Path) -> None:
    shares = ("--shares", "A=50,B=50")
    result = analyze(
        log, "--metric", "revenue", "--time", "day", "--covariate", "before", "--slice", "land", *shares
    )
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "2,000 units of 2,000 rows" in text
    assert (
        "Successful ShownBetter: B less A of revenue: shown better by AlwaysValid at 0.05 at any look" in text
    )
    assert "CUPED: revenue has 8" in text
    assert "lag-1 autocorrelation" in text
    assert "land = DE" in text
    assert "SampleRatioHolds" in text
    assert "…" not in text
    assert "warning" not in text


def test_machines_get_the_same_as_json(log: Path) -> None:
    result = analyze(log, "--metric", "revenue", "--metric", "bought", "--test", "Welch", "--json")
    document = json.loads(result.stdout)
    table = pd.read_csv(log)
    wanted = stats.ttest_ind(
        table.revenue[table.group == "B"], table.revenue[table.group == "A"], equal_var=False
    )
    first = document["comparisons"][0]
    assert first["effect"]["p_value"] == pytest.approx(wanted.pvalue, rel=1e-9)
    assert first["result"]["reason"] == "ShownBetter"
    assert first["adjusted_p"] == pytest.approx(2 * wanted.pvalue, rel=1e-9)
    assert document["units"] == {"A": int((table.group == "A").sum()), "B": int((table.group == "B").sum())}
    assert document["warnings"] == ["no --shares were given: equal shares of all arms are assumed"]


def test_parquet_in_another_order_gives_the_same_json(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "log.parquet"
    table = pd.read_csv(log, parse_dates=["day"], float_precision="round_trip")
    pd.concat([table, table[:50]]).sample(frac=1, random_state=1).to_parquet(other)
    options = ("--metric", "revenue", "--time", "day", "--covariate", "before", "--slice", "land", "--json")
    documents = [json.loads(analyze(one, *options).stdout) for one in (log, other)]
    assert [one.pop("rows") for one in documents] == [2000, 2050]
    assert documents[0] == documents[1]


@pytest.mark.parametrize("test", ["AlwaysValid", "Welch", "Proportions", "MannWhitney"])
def test_every_test_runs_and_draws(log: Path, tmp_path: Path, test: str) -> None:
    plot = tmp_path / "plot.svg"
    result = analyze(log, "--metric", "bought", "--test", test, "--plot", str(plot), "--better", "Lower")
    assert result.exit_code == 0, result.output
    assert f"by {test}" in result.output
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metric", "profit"), "--metric: "),
        (("--metric", "land"), "values of 'land' are no finite numbers"),
        (("--metric", "revenue", "--control", "C"), "--control: 'C' is no arm; the arms are A, B"),
        (("--metric", "revenue", "--shares", "A=50,C=50"), "--shares: the log has the arm 'B'"),
        (("--metric", "revenue", "--shares", "A=half,B=half"), "--shares: 'A=half' is no ARM=WEIGHT"),
        (("--metric", "revenue", "--shares", "A=1,A=1"), "--shares: the arm 'A' is named twice"),
        (("--metric", "revenue", "--shares", "A=1"), "--shares: 'A=1' names one arm"),
        (("--metric", "revenue", "--test", "Bayes"), "--test: 'Bayes' is none of AlwaysValid, Welch"),
        (("--metric", "revenue", "--alpha", "0"), "--alpha: 0.0 must be above 0"),
        (("--metric", "revenue", "--better", "More"), "--better: 'More' is none of Higher, Lower"),
        (("--metric", "revenue", "--by", "Day"), "--by: Day needs --time"),
        (
            ("--metric", "revenue", "--time", "day", "--by", "Day", "--test", "Welch"),
            "goes with --test AlwaysValid",
        ),
        (("--metric", "revenue", "--crossed", "First"), "--crossed: First needs --time"),
        (("--metric", "revenue", "--event", "day"), "--event: day tells rows apart that are added up"),
        (
            ("--metric", "bought", "--covariate", "before", "--test", "Proportions"),
            "--covariate: before adjusts means",
        ),
        (("--metric", "revenue", "--test", "Proportions"), "neither 0 nor 1"),
        (("--metric", "revenue", "--cap", "high"), "--cap: 'high' is no METRIC=NUMBER"),
        (("--metric", "revenue", "--cap", "profit=3"), "--cap: 'profit' is no metric"),
        (("--metric", "revenue", "--plot", "plot.pdf"), "--plot: plot.pdf must end in .svg or .png"),
        (
            ("--metric", "revenue", "--plot", "/nowhere/plot.svg"),
            "--plot: /nowhere/plot.svg cannot be written",
        ),
        (("--metric", "revenue", "--zone", "Mars"), "--zone: 'Mars' is no time zone"),
        (("--metric", "revenue", "--time", "land"), "--time: 'land' has values that are no moments"),
    ],
)
def test_wrong_options_name_themselves_the_value_and_the_way_out(
    log: Path, options: tuple[str, ...], said: str
) -> None:
    result = analyze(log, *options)
    assert result.exit_code == 1, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_all_wrong_options_are_told_at_once_also_to_machines(log: Path) -> None:
    result = analyze(log, "--metric", "revenue", "--alpha", "2", "--test", "Bayes", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["error"]) == (1, "InvalidSpec")
    assert [one["path"] for one in document["mistakes"]] == ["--test", "--alpha"]


def test_plot_without_matplotlib_says_what_to_install(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("plot", "drawing"):
        monkeypatch.delitem(sys.modules, f"capstan.evaluation.experiments.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = analyze(log, "--metric", "revenue", "--plot", "plot.svg")
    assert result.exit_code == 1
    assert "--plot: matplotlib is not installed here; pip install matplotlib" in result.output


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = analyze(tmp_path / "none.csv", "--metric", "revenue")
    assert result.exit_code == 1
    assert "none.csv does not exist" in result.output


def test_help_holds_an_example() -> None:
    result = RUN.invoke(app, ["experiment", "analyze", "--help"], env={"COLUMNS": "200"})
    assert "Example: capstan experiment analyze" in result.output
    assert "--json" in result.output
