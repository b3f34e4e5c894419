"""What a policy would have earned: the formulas by hand, logs whose truth is known, and logs that cannot tell."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from capstan.cli.main import app
from capstan.evaluation.off_policy import Draws, Rounds, effective_rounds, estimates, overlap

EXAMPLE = Path(__file__).parents[4] / "examples/bandit-policy"
ACTIONS = 3
LOGGED = np.array([0.6, 0.3, 0.1])


def evaluated(frame: pd.DataFrame, folder: Path, *options: str) -> Result:
    frame.to_csv(folder / "log.csv", index=False)
    asked = ["evaluate", str(folder / "log.csv"), "--task", "ContextualBandit", "--label", "reward"]
    columns = ["--action", "action", "--propensity", "propensity"]
    return CliRunner().invoke(app, [*asked, *columns, *options])


def document(frame: pd.DataFrame, folder: Path, *options: str) -> Mapping[str, Any]:
    result = evaluated(frame, folder, "--json", *options)
    assert result.exit_code == 0, result.output
    found: Mapping[str, Any] = json.loads(result.stdout)
    return found


def metric(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    [one] = [one for one in found["metrics"] if one["name"] == name]
    assert isinstance(one, dict)
    return one


def simulated(seed: int, rounds: int = 600) -> tuple[Rounds, float]:
    """A log by a policy that knows the context a little, and what the judged policy is worth in truth."""
    rng = np.random.default_rng(seed)
    context = rng.integers(0, ACTIONS, rounds)
    logging = np.stack([np.roll(LOGGED, shift) for shift in range(ACTIONS)])
    judged = np.full((ACTIONS, ACTIONS), 0.15) + 0.55 * np.eye(ACTIONS)
    worth = np.array([[0.7, 0.2, 0.4], [0.1, 0.6, 0.3], [0.3, 0.2, 0.8]])
    taken = (rng.random(rounds)[:, None] > logging[context].cumsum(axis=1)).sum(axis=1).clip(max=ACTIONS - 1)
    reward = (rng.random(rounds) < worth[context, taken]).astype(np.float64)
    # The model of rewards is wrong on purpose: the doubly robust value must not need it to be right.
    expected = worth[context] * 0.5 + 0.4
    truth = float((judged * worth).sum(axis=1).mean())
    return Rounds(taken, logging[context, taken], reward, judged[context], expected), truth


def log_of(rounds: Rounds) -> pd.DataFrame:
    assert rounds.expected is not None
    parts = {
        f"{name}.a{place}": values[:, place]
        for name, values in (("probabilities", rounds.policy), ("expected", rounds.expected))
        for place in range(ACTIONS)
    }
    actions = [f"a{place}" for place in rounds.taken]
    return pd.DataFrame({"action": actions, "propensity": rounds.propensity, "reward": rounds.reward} | parts)


def test_the_four_values_are_those_of_their_formulas() -> None:
    rounds = Rounds(
        np.array([0, 1, 1]),
        np.array([0.5, 0.25, 0.8]),
        np.array([1.0, 0.0, 3.0]),
        np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]]),
        np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 1.0]]),
    )
    draws = Draws(np.arange(3), rng=np.random.default_rng(0), resamples=10)
    found = {name: one.value for name, one in estimates(rounds, draws).items()}
    # Weights are 2, 2 and 1; the model expects 0.9, 0.5 and 1.0 of the policy and errs by 0.1, -0.6 and 2.0.
    assert found == pytest.approx(
        {
            "ips": (2 * 1 + 2 * 0 + 1 * 3) / 3,
            "snips": (2 * 1 + 2 * 0 + 1 * 3) / 5,
            "dm": (0.9 + 0.5 + 1.0) / 3,
            "dr": (0.9 + 0.5 + 1.0 + 2 * 0.1 - 2 * 0.6 + 1 * 2.0) / 3,
        }
    )
    assert effective_rounds(rounds.weights) == pytest.approx(25 / 9)


def test_values_of_many_logs_are_right_in_the_mean_and_intervals_hold_the_truth_as_often_as_they_say() -> (
    None
):
    logs = 300
    errors: dict[str, list[float]] = {}
    held: dict[str, int] = {}
    for seed in range(logs):
        rounds, truth = simulated(seed)
        draws = Draws(
            np.arange(len(rounds.taken)) % 200, rng=np.random.default_rng(10_000 + seed), resamples=400
        )
        for name, one in estimates(rounds, draws).items():
            low, high = one.interval(0.95)
            errors.setdefault(name, []).append(one.value - truth)
            held[name] = held.get(name, 0) + (low <= truth <= high)
    for name in ("ips", "snips", "dr"):
        found = np.array(errors[name])
        assert abs(found.mean()) < 3 * found.std() / np.sqrt(logs), name
        assert 0.91 <= held[name] / logs <= 0.98, (name, held[name] / logs)
    # The model alone is as wrong as it was made.
    assert np.mean(errors["dm"]) > 0.1
    assert held["dm"] < 0.1 * logs


def test_a_policy_that_earns_more_is_better_than_the_logged_actions_and_the_mean_of_plain_rewards_is_not_its_value(
    tmp_path: Path,
) -> None:
    rounds, truth = simulated(1, 3000)
    found = document(log_of(rounds), tmp_path, "--expected", "expected")
    value, logged = metric(found, "dr"), metric(found, "logged")
    assert value["low"] < truth < value["high"]
    assert logged["value"] == pytest.approx(rounds.reward.mean())
    assert abs(logged["value"] - truth) > 3 * (value["high"] - value["low"]) / 4
    assert metric(found, "gain")["low"] > 0
    assert found["verdict"] == "Better"
    assert {one["name"] for one in found["metrics"]} >= {"ips", "snips", "dm", "dr", "bestConstant"}
    shown = evaluated(log_of(rounds), tmp_path, "--expected", "expected").output
    assert "better than the logged actions" in shown
    assert "effective rounds of 3,000" in shown


def test_two_policies_are_compared_on_the_same_draws(tmp_path: Path) -> None:
    rounds, _ = simulated(2, 3000)
    log = log_of(rounds)
    for place in range(ACTIONS):
        log[f"old.a{place}"] = log[f"probabilities.a{place}"]
    same = document(log, tmp_path, "--champion", "old")
    assert (metric(same, "gain")["low"], metric(same, "gain")["high"]) == (0, 0)
    assert same["verdict"] == "Inconclusive"
    log[[f"old.a{place}" for place in range(ACTIONS)]] = 1 / ACTIONS
    assert document(log, tmp_path, "--champion", "old")["verdict"] == "Better"


def _impossible(log: pd.DataFrame) -> pd.DataFrame:
    """A policy that takes only what was never logged."""
    log = log[log["action"] != "a2"].copy()
    log[["probabilities.a0", "probabilities.a1", "probabilities.a2"]] = [0.0, 0.5, 0.5]
    return log


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(_impossible, "50.0% of the policy's choices are actions that no round has", id="unseen"),
        pytest.param(lambda log: log.head(80), "and 100 are needed", id="few"),
        pytest.param(
            lambda log: log.assign(propensity=1 / 3), "weights are", id="propensities that are not true"
        ),
    ],
)
def test_rounds_that_cannot_tell_give_no_interval_and_no_verdict(
    change: Any, why: str, tmp_path: Path
) -> None:
    found = document(change(log_of(simulated(3, 3000)[0])), tmp_path)
    assert found["verdict"] == "MissingEvidence"
    assert why in found["overlap"]["missing"]
    assert [metric(found, name)["low"] for name in ("ips", "snips", "gain")] == [None, None, None]


def test_a_policy_that_never_does_what_was_logged_has_no_value_and_odd_names_of_actions_are_names(
    tmp_path: Path,
) -> None:
    log = pd.DataFrame({"action": ["it's {0}", "b"] * 150, "propensity": 0.5, "reward": 1.0})
    log["probabilities.it's {0}"] = (log["action"] == "b").astype(float)
    log["probabilities.b"] = 1 - log["probabilities.it's {0}"]
    found = document(log, tmp_path)
    assert metric(found, "snips")["value"] is None
    assert (found["verdict"], found["overlap"]["largestShare"]) == ("MissingEvidence", None)
    assert "the policy never takes an action that was logged" in evaluated(log, tmp_path).output


def test_a_champion_that_the_rounds_cannot_judge_leaves_no_verdict(tmp_path: Path) -> None:
    log = log_of(simulated(3, 3000)[0])
    log = log[log["action"] != "a2"]
    log[["probabilities.a0", "probabilities.a1", "probabilities.a2"]] = [0.5, 0.5, 0.0]
    log[["old.a0", "old.a1", "old.a2"]] = [0.0, 0.0, 1.0]
    found = document(log, tmp_path, "--champion", "old")
    assert found["verdict"] == "MissingEvidence"
    assert metric(found, "gain")["low"] is None


def test_rounds_whose_reward_is_not_known_yet_are_left_out_and_counted(tmp_path: Path) -> None:
    log = log_of(simulated(4, 500)[0])
    log.loc[:49, "reward"] = np.nan
    found = document(log, tmp_path)
    assert (found["rows"], found["leftOut"]) == (450, 50)


def test_rewards_of_one_day_move_together_where_the_time_is_known(tmp_path: Path) -> None:
    rounds, _ = simulated(5, 1200)
    log = log_of(rounds)
    day = np.arange(len(log)) % 30
    log["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D")
    log["reward"] += np.random.default_rng(0).normal(0, 1, 30)[day]
    by_rounds = metric(document(log, tmp_path), "snips")
    by_days = metric(document(log, tmp_path, "--time", "at"), "snips")
    assert by_days["high"] - by_days["low"] > 2 * (by_rounds["high"] - by_rounds["low"])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("propensity", 0.0, "--propensity: row 3 has '0.0' in propensity; a propensity is the probability"),
        ("propensity", -0.2, "row 3 has '-0.2' in propensity"),
        ("propensity", 1.2, "above 0 and at most 1; log it with the action, or leave the rows out"),
        ("propensity", None, "row 3 has no value in propensity"),
        (
            "action",
            "a9",
            "--action: row 3 has 'a9' in action; the actions are those with a column probabilities.",
        ),
        ("action", None, "row 3 has no value in action"),
        ("probabilities.a0", 0.99, "--prediction: probabilities of rewarded row 3 sum to"),
        ("reward", "good", "--label: row 3 has reward good, which is not a number"),
    ],
)
def test_a_round_that_says_nothing_is_refused_with_its_row(
    column: str, value: float | str | None, said: str, tmp_path: Path
) -> None:
    log = log_of(simulated(6, 50)[0]).astype({column: object})
    log.loc[2, column] = value
    result = evaluated(log, tmp_path)
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "ContextualBandit", "--label", "reward"], "--action: ContextualBandit needs the column"),
        (
            ["--task", "ContextualBandit", "--label", "reward", "--action", "action"],
            "--propensity: ContextualBandit needs the column",
        ),
        (
            ["--task", "Regression", "--label", "reward", "--propensity", "propensity"],
            "is for ContextualBandit, not for Regression; drop it",
        ),
        (
            [
                *[
                    "--task",
                    "ContextualBandit",
                    "--label",
                    "reward",
                    "--action",
                    "action",
                    "--propensity",
                    "propensity",
                ],
                "--weight",
                "w",
            ],
            "the propensity says how much a round counts; drop it",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], said: str, tmp_path: Path) -> None:
    log_of(simulated(7, 50)[0]).to_csv(tmp_path / "log.csv", index=False)
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "log.csv"), *options])
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


def test_weights_that_are_alike_say_as_much_as_all_rounds() -> None:
    rounds = Rounds(np.arange(400) % 2, np.full(400, 0.5), np.ones(400), np.full((400, 2), 0.5))
    seen = overlap(rounds)
    assert (seen.effective, seen.mean_weight, seen.missing) == (400, 1, "")
    assert seen.largest == pytest.approx(0.01)


def test_the_example_holds_the_truth_in_its_intervals_and_finds_the_better_policy(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLE / "prepare.py"))
    truth = example["prepare"](tmp_path)
    asked = re.search(r"capstan (evaluate data/rounds\.csv [^\n]*)", (EXAMPLE / "README.md").read_text())
    assert asked is not None
    options = asked[1].replace("data/rounds.csv", str(tmp_path / "rounds.csv")).split()
    result = CliRunner().invoke(app, [*options, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    worth = {
        "dr": truth["challenger"],
        "snips": truth["challenger"],
        "ips": truth["challenger"],
        "champion": truth["champion"],
        "logged": truth["logging policy"],
        "gain": truth["challenger"] - truth["champion"],
    }
    for name, value in worth.items():
        assert metric(found, name)["low"] < value < metric(found, name)["high"], name
    assert found["verdict"] == "Better"
