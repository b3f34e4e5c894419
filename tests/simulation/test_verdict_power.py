"""The table of `capstan power shadow` tells what the verdict would really do."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capstan.cli.verbs.power import app
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.verdicts.feasibility import LossHistory, time_to_verdict
from capstan.domain.verdicts.quality import Decide, QualityRule, judge_quality
from capstan.evaluation.power import Scenario, Simulation, simulate_power

DOCS = Path(__file__).parents[2] / "platform" / "docs" / "verdicts.md"
START = datetime(2013, 2, 1, tzinfo=UTC)
SMALL = Scenario(runs=300, blocks=20, seed=9, autocorrelation=0.2)


def judged(simulation, rule, difference, run, blocks):
    counts = simulation.counts[run, :blocks]
    sums = simulation.effects[run, :blocks] + difference * counts
    evidence = PairedEvidence(
        blocks=tuple(
            LossBlock(START + timedelta(days=day), int(count), float(total), 0.99)
            for day, (count, total) in enumerate(zip(counts, sums, strict=True))
        ),
        paired_requests=int(counts.sum()),
        labelled_pairs=int(counts.sum()),
    )
    return judge_quality(evidence, rule).verdict


def decided(simulation, rule, difference, run):
    """The first verdict that ends the step, looked at after every block."""
    looks = (
        judged(simulation, rule, difference, run, blocks)
        for blocks in range(7, simulation.scenario.blocks + 1)
    )
    return next((verdict for verdict in looks if verdict is not Verdict.INCONCLUSIVE), Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("decide", list(Decide))
@pytest.mark.parametrize("difference", [-0.08, 0.0, 0.05])
def test_the_table_counts_what_the_verdict_says_rollout_by_rollout(decide, difference):
    rule = QualityRule(decide, margin=0.01)
    simulation = Simulation(SMALL)
    row = simulation.power(rule, difference)
    if decide is Decide.UNLESS_WORSE:
        # A later block may take back what passed, so each look is asked.
        found = [decided(simulation, rule, difference, run) for run in range(SMALL.runs)]
    else:
        # Bounds of an earlier block stay, so the last look tells the verdict, at a fourteenth of the cost.
        found = [judged(simulation, rule, difference, run, SMALL.blocks) for run in range(SMALL.runs)]
        assert found[:60] == [decided(simulation, rule, difference, run) for run in range(60)]
    assert row.promoted == pytest.approx(found.count(Verdict.SUCCESSFUL) / SMALL.runs)
    assert row.rejected == pytest.approx(found.count(Verdict.FAILED) / SMALL.runs)
    assert row.promoted + row.rejected + row.undecided == pytest.approx(1)


def test_the_table_waits_as_the_verdict_does_while_no_bound_is_finite():
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01, alpha=0.002)
    scenario = replace(SMALL, runs=40, autocorrelation=0.6)
    simulation = Simulation(scenario)
    units = simulation.units(rule)
    early = units.is_independent[:, 6] & ~simulation.suspicions(rule, 0.0)[:, 6]
    assert early.sum() >= 10
    assert not simulation.passes(rule, 0.0)[:, 6].any()
    found = [decided(simulation, rule, 0.0, run) for run in range(scenario.runs)]
    row = simulation.power(rule, 0.0)
    assert row.promoted == pytest.approx(found.count(Verdict.SUCCESSFUL) / scenario.runs)
    for block in range(7, scenario.blocks + 1):
        passed = sum(judged(simulation, rule, 0.0, run, block) is Verdict.SUCCESSFUL for run in range(40))
        assert passed == simulation.passes(rule, 0.0)[:, block - 1].sum(), block


def test_what_unless_worse_lets_through_shrinks_with_blocks_and_with_the_damage():
    simulation = Simulation(Scenario(seed=1))
    rule = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    bad, worst = (
        simulation.let_through(rule, difference, (7, 14, 28)).by_blocks for difference in (-0.06, -0.09)
    )
    assert bad[7] > bad[14] > bad[28]
    assert worst[7] < bad[7]


def test_unless_worse_seldom_passes_what_is_worse_by_one_deviation_of_a_day_and_nearly_all_that_is_equal():
    """Without the suspicion nine in ten of the worse ones pass."""
    simulation = Simulation(Scenario(spread=1.0, seed=1))
    rule = QualityRule(Decide.UNLESS_WORSE)
    equal, worse, much_worse = (simulation.power(rule, difference) for difference in (0.0, -1.0, -2.0))
    assert equal.promoted > 0.97
    assert equal.median_blocks == 7
    assert worse.promoted < 0.15
    assert much_worse.promoted < 0.01


def test_a_suspicion_without_a_deadline_ends():
    simulation = Simulation(Scenario(spread=1.0, blocks=60, seed=1))
    for difference in (0.0, -0.2, -0.5, -1.0):
        assert simulation.power(QualityRule(Decide.UNLESS_WORSE), difference).undecided < 0.03


@pytest.mark.parametrize(("effect", "median", "late"), [(0.5, 28, 50), (0.8, 14, 22), (1.2, 9, 12)])
def test_delay_of_single_blocks_is_the_published_one(effect, median, late):
    scenario = Scenario(spread=0.05, requests_per_block=100_000, blocks=120, seed=5)
    row = Simulation(scenario, merges=False).power(QualityRule(Decide.NOT_WORSE), effect * 0.05)
    assert row.median_blocks == pytest.approx(median, rel=0.1)
    assert row.late_blocks == pytest.approx(late, rel=0.1)


@pytest.mark.parametrize("effect", [0.5, 0.8, 1.2])
def test_delay_of_merged_blocks_is_the_one_of_the_docs(effect):
    scenario = Scenario(spread=0.05, requests_per_block=100_000, blocks=120, seed=5)
    [row] = simulate_power(scenario, [QualityRule(Decide.NOT_WORSE)], [effect * 0.05])
    assert row.median_blocks == pytest.approx(7 / effect**2 + 7, rel=0.1)
    assert row.late_blocks == pytest.approx(13 / effect**2 + 8, rel=0.1)


@pytest.mark.parametrize("decide", [Decide.BETTER, Decide.NOT_WORSE])
@pytest.mark.parametrize("planned", [14, 30])
@pytest.mark.parametrize("effect", [0.4, 0.7])
def test_the_time_told_beforehand_is_the_time_it_takes(decide, planned, effect):
    rule = QualityRule(decide, planned_blocks=planned)
    [row] = simulate_power(Scenario(blocks=150, seed=6), [rule], [effect * 0.059])
    told = time_to_verdict(rule, LossHistory(50, 0.059, 500, 500), true_difference=effect * 0.059)
    assert told.median_blocks == pytest.approx(row.median_blocks, rel=0.15)
    assert told.late_blocks == pytest.approx(row.late_blocks, rel=0.15)


def run(*arguments):
    return CliRunner().invoke(app, ["power", "shadow", *arguments, "--runs", "200", "--blocks", "14"])


def test_the_same_seed_gives_the_same_table_and_another_seed_another():
    first, again, other = run("--json"), run("--json"), run("--json", "--seed", "1")
    assert first.exit_code == 0
    assert first.stdout == again.stdout != other.stdout


def test_json_holds_scenario_rules_and_every_row():
    document = json.loads(run("--json", "--mean", "0.05", "--mean", "-0.2", "--margin", "0.02").stdout)
    assert document["scenario"]["seed"] == 0
    assert {rule["decide"]: rule["margin"] for rule in document["rules"]} == dict.fromkeys(Decide, 0.02)
    assert [(row["decide"], row["difference"]) for row in document["power"]] == [
        (decide, difference) for decide in Decide for difference in (-0.2, 0.05)
    ]
    assert [row["difference"] for row in document["unlessWorsePasses"]] == [-0.2, 0.05]


def test_the_table_states_its_seed():
    assert "(seed 0)" in run().stdout


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["--sd", "0"], "--sd"), (["--min-blocks", "3"], "minBlocks"), (["--sd", "nan"], "--sd")],
)
def test_an_impossible_scenario_is_refused_by_name(arguments, field):
    result = run("--json", *arguments)
    assert result.exit_code == 1
    assert field in result.output


def test_the_table_in_the_docs_is_what_the_command_prints():
    printed = subprocess.run(
        [sys.executable, "-c", "from capstan.cli.verbs.power import app; app()", "power", "shadow"],
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shown = DOCS.read_text().split("$ capstan power shadow\n")[1].split("```")[0]
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()
