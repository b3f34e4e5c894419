"""`capstan power bandit` and `capstan power canary` tell chances, and which option is wrong."""

from __future__ import annotations

import json

import pytest
from click.testing import Result
from typer.testing import CliRunner

from capstan.cli.main import app

BANDIT = ("bandit", "--mean", "0.4", "--mean", "0.6", "--per-batch", "200", "--batches", "10", "--runs", "5")
CANARY = ("canary", "--requests", "100", "--error-rate", "0.05")


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["power", *options], env={"COLUMNS": "200"})


def test_a_bandit_is_told_by_policy_with_its_regret() -> None:
    every = ("--policy", "Thompson", "--policy", "UCB1")
    found = json.loads(run(*BANDIT, *every, "--json").stdout)
    assert [one["policy"] for one in found["policies"]] == ["Thompson", "UCB1"]
    thompson = found["policies"][0]
    shown = run(*BANDIT).output
    row = next(line.split() for line in shown.splitlines() if line.startswith("Thompson"))
    assert row[1] == f"{thompson['median_units']:,}"
    assert row[3] == f"{thompson['regret']:,.3g}"
    assert "UCB1" not in shown


def test_a_canary_is_told_by_guardrail_and_requests() -> None:
    options = (*CANARY, "--requests", "1000", "--slow", "0.03")
    found = json.loads(run(*options, "--json").stdout)["canaries"]
    assert [(one["guardrail"], one["bad_share"]) for one in found] == [("errors", 0.05), ("slow", 0.03)]
    first, second = found[0]["by_requests"]
    assert (first["requests"], second["requests"]) == (100, 1000)
    assert first["stopped"] < second["stopped"]
    shown = run(*options, "--per-day", "500").output
    assert f"{first['stopped']:.1%}" in shown
    assert "1,000 (2d)" in shown
    assert f"{found[0]['median_requests']:,}" in shown


def test_more_guardrails_share_alpha_and_stop_fewer_canaries() -> None:
    def stopped(guardrails: str) -> float:
        found = json.loads(run(*CANARY, "--guardrails", guardrails, "--json").stdout)
        return float(found["canaries"][0]["by_requests"][0]["stopped"])

    assert stopped("1") > stopped("3")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("bandit", "--mean", "0.1"), "--mean: 1 arms: write 2 to 10"),
        ((*BANDIT, "--mean", "1.2"), "--mean: 1.2 must be a share of 0 to 1, or a number with --sd"),
        ((*BANDIT, "--policy", "Best"), "--policy: 'Best' is none of"),
        ((*BANDIT, "--sd", "1", "--policy", "UCB1"), "--policy: UCB1 needs --cap"),
        ((*BANDIT, "--floor", "51"), "--floor: 51 must be 1 to 50"),
        ((*BANDIT, "--share", "96"), "--share: 96 is more than the 95"),
        ((*BANDIT, "--late", "10"), "--late: 10 must be at least 0 and below 10"),
        (("canary", "--requests", "100"), "--error-rate: none or --slow must be given"),
        (("canary", "--requests", "0", "--slow", "0.1"), "--requests: 0 must be 1 to 100,000"),
        ((*CANARY, "--error-rate", "2"), "--error-rate: 2.0 must be a share of 0 to 1"),
        ((*CANARY, "--guardrails", "4"), "--guardrails: 4 must be 1 to 3"),
    ],
)
def test_wrong_option_is_named_with_its_rule(options: tuple[str, ...], told: str) -> None:
    result = run(*options)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


@pytest.mark.parametrize("step", ["bandit", "canary"])
def test_help_ends_with_an_example(step: str) -> None:
    result = run(step, "--help")
    assert result.exit_code == 0
    assert f"Example: capstan power {step}" in " ".join(result.output.split())
