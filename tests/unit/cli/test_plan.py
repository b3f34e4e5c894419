"""`capstan plan` tells what a file would change and what follows, before anything is done."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan import data
from capstan.domain.verdicts.feasibility import LossHistory
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.verbs.verdict_times import verdict_time


@pytest.fixture
def planned(tmp_path):
    """Plan the stored file after an edit."""

    def plan(machine, edit=lambda spec: None, *options: str) -> Any:
        edit(machine.document["spec"])
        file = tmp_path / "system.yaml"
        file.write_text(json.dumps(machine.document))
        return machine.run("plan", str(file), *options)

    return plan


def test_same_file_changes_nothing_and_exits_with_0(serving, planned) -> None:
    result = planned(serving)
    assert result.exit_code == 0, result.output
    assert "flights: no changes" in result.output


def test_default_that_is_written_out_is_no_change(serving, planned) -> None:
    result = planned(serving, lambda spec: spec.update(suspend=False))
    assert (
        result.exit_code,
        json.loads(planned(serving, lambda spec: None, "--json").stdout)["changes"],
    ) == (0, [])


def test_with_exit_code_2_says_that_something_would_change(serving, planned) -> None:
    def cooled(spec):
        spec["retraining"].update(cooldown="7d")

    assert planned(serving, lambda spec: None, "--exit-code").exit_code == 0
    assert planned(serving, cooled).exit_code == 0
    assert planned(serving, cooled, "--exit-code").exit_code == 2


def test_unknown_system_would_be_created(machine, tmp_path, planned) -> None:
    machine.document["metadata"]["name"] = "trains"
    result = planned(machine)
    assert planned(machine, lambda spec: None, "--exit-code").exit_code == 2
    assert result.exit_code == 0
    assert "trains: would be created" in result.output


def test_field_is_told_by_its_dotted_path_with_both_values(serving, planned) -> None:
    result = planned(serving, lambda spec: spec["retraining"].update(cooldown="7d"))
    assert result.exit_code == 0
    assert "~ retraining.cooldown: 14d -> 7d" in result.output


def test_item_of_a_named_list_is_told_by_its_name(serving, planned) -> None:
    def add(spec):
        spec["features"].append({"name": "carrier", "categorical": {}})

    document = json.loads(planned(serving, add, "--json").stdout)
    assert [(change["path"], change["old"]) for change in document["changes"]] == [
        ("features[carrier]", None)
    ]
    assert any("champion v1 is not touched" in text for text in document["consequences"])


def test_changed_steps_restart_a_rollout_in_progress(rolling, planned) -> None:
    result = planned(rolling, lambda spec: spec["rollout"]["steps"][1]["canary"].update(weight=40))
    assert result.exit_code == 0
    assert "~ rollout.steps[1].canary.weight: 25 -> 40" in result.output
    assert "starts again at its first step" in result.output


def test_changed_steps_touch_nothing_between_rollouts(serving, planned) -> None:
    result = planned(serving, lambda spec: spec["rollout"]["steps"][1]["canary"].update(weight=40))
    assert "no version in service is touched" in result.output


def test_changed_keys_cut_evidence(rolling, planned) -> None:
    result = planned(rolling, lambda spec: spec["data"]["keys"].update(id="other_id"))
    assert "evidence begin anew" in result.output
    assert "capstan abort" in result.output


def test_lost_trigger_is_named(serving, planned) -> None:
    result = planned(serving, lambda spec: spec["retraining"]["triggers"].pop(1))
    assert "no training starts by quality any more" in result.output


def test_triggers_that_count_together_are_named_together(serving, planned) -> None:
    both = {"all": {"of": [{"drift": {}}, {"newData": {"rows": 5000}}]}}
    result = planned(serving, lambda spec: spec["retraining"]["triggers"].append(both))
    assert "trainings start by drift and new_data together too" in result.output


def test_wrong_file_exits_with_1_and_names_the_field(serving, planned) -> None:
    result = planned(serving, lambda spec: spec["rollout"]["steps"][1]["canary"].update(weight=140))
    assert result.exit_code == 1
    assert "rollout.steps[1].canary.weight" in result.output


def test_without_history_the_time_to_a_verdict_is_not_invented(serving, planned) -> None:
    def no_data(spec):
        spec["rollout"]["analyses"][0]["decide"] = "NotWorse"

    verdict = json.loads(planned(serving, no_data, "--json").stdout)["verdicts"][0]
    assert (verdict["median"], verdict["late"]) == (None, None)
    assert "no paired predictions are stored yet" in verdict["basis"]


def test_deadline_that_history_cannot_meet_is_a_warning_with_ways_out() -> None:
    noisy = LossHistory(blocks=30, spread=0.06, labels_per_block=500, requests_per_block=500)
    rule = QualityRule(Decide.NOT_WORSE, margin=0.01)
    verdict = verdict_time(0, "quality", rule, noisy, timedelta(days=21), timedelta(days=2))
    assert verdict.problem is not None
    assert "ways out" in verdict.problem
    easy = QualityRule(Decide.UNLESS_WORSE, margin=0.01)
    assert verdict_time(0, "quality", easy, noisy, timedelta(days=21), timedelta(days=2)).problem is None


def test_a_label_delay_of_60_days_makes_no_verdict_of_7_days_one_of_67() -> None:
    rule, delay = QualityRule(Decide.UNLESS_WORSE), timedelta(days=60)
    verdict = verdict_time(0, "quality", rule, None, timedelta(days=21), delay)
    assert (verdict.median, verdict.label_delay) == ("7 days", "60 days")
    assert verdict.problem is not None
    assert "as late as data.label.maximumDelay allows make it 67 days" in verdict.problem
    history = LossHistory(blocks=30, spread=0.06, labels_per_block=500, requests_per_block=500)
    stored = verdict_time(0, "quality", rule, history, timedelta(days=21), delay)
    assert (stored.median, stored.late, stored.problem) == ("7 days", "7 days", verdict.problem)
    assert verdict_time(0, "quality", rule, history, timedelta(days=67), delay).problem is None


def test_plan_changes_nothing(serving, planned) -> None:
    planned(serving, lambda spec: spec["retraining"].update(cooldown="7d"))
    assert json.loads(serving.run("status", "--json").stdout)["generation"] == 1


def small_traffic(folder, per_week: int, weeks: int = 19) -> Path:
    """A file beside a table with so many rows a week."""
    start, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=7) / per_week
    moments = [(start + n * step).isoformat() for n in range(weeks * per_week + 2)]
    lines = [f"c{n},{at},{n % 5},{n % 2 == 0},{at}" for n, at in enumerate(moments)]
    (folder / "rows.csv").write_text("\n".join(["id,seen_at,value,churned,known_at", *lines, ""]))
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "small"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "churned"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "seen_at"}}],
                "keys": {"id": "id", "time": "seen_at"},
                "label": {"column": "churned", "availableAt": "known_at", "maximumDelay": "1d"},
            },
            "features": [{"name": "value", "numeric": {}}],
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        },
    }
    file = folder / "system.yaml"
    file.write_text(json.dumps(document))
    return file


def test_a_split_that_takes_most_of_a_short_table_is_told_with_a_shorter_one(machine, tmp_path) -> None:
    told = " ".join(machine.run("plan", str(small_traffic(tmp_path, 700, weeks=4))).output.split())
    assert "data.split.byTime: validation 7d and test 14d take 75% of the 2,802 labelled cases" in told
    assert "`split: {byTime: {validation: 2d, test: 5d}}` takes about 30%" in told


def test_a_split_is_not_told_where_the_table_is_long_or_cannot_be_read(machine, tmp_path) -> None:
    file = small_traffic(tmp_path, 700)
    assert json.loads(machine.run("plan", str(file), "--json").stdout)["split"] == []
    (tmp_path / "rows.csv").unlink()
    assert json.loads(machine.run("plan", str(file), "--json").stdout)["split"] == []


def test_windows_that_could_never_be_judged_are_told_with_what_to_write(machine, tmp_path) -> None:
    result = machine.run("plan", str(small_traffic(tmp_path, 672)))
    told = " ".join(result.output.split())
    assert "0 of 19 windows of 7 days have at least 1,000 rows; the one in the middle has 672" in told
    assert "would go unseen in all of them" in told
    assert "`monitoring: {window: {duration: 14d}}` or `monitoring: {window: {minRows: 650}}`" in told


def test_traffic_too_small_for_its_window_is_offered_a_longer_one_with_fewer_rows(machine, tmp_path) -> None:
    told = " ".join(machine.run("plan", str(small_traffic(tmp_path, 84))).output.split())
    assert "0 of 19 windows of 7 days have at least 1,000 rows; the one in the middle has 84" in told
    assert "write `monitoring: {window: {duration: 14d, minRows: 150}}`" in told


def test_a_table_of_a_header_alone_has_no_row_rather_than_a_wrong_type(machine, tmp_path) -> None:
    file = small_traffic(tmp_path, 84)
    (tmp_path / "rows.csv").write_text("id,seen_at,value,churned,known_at\n")
    told = " ".join(machine.run("plan", str(file)).output.split())
    assert "data.query: gives no row; a source has no rows" in told
    assert "not a moment" not in told


def test_windows_with_enough_rows_need_no_warning(machine, tmp_path) -> None:
    file = small_traffic(tmp_path, 1200)
    watched = json.loads(machine.run("plan", str(file), "--json").stdout)["watched"]
    assert (watched["windows"], watched["judged"], watched["problem"]) == (19, 19, None)


def test_windows_are_counted_over_rows_up_to_now_and_the_later_ones_are_told(machine, tmp_path) -> None:
    file = small_traffic(tmp_path, 1200, weeks=3)
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    start = datetime.now(UTC)
    for n in range(2400):
        at = (start + timedelta(days=1, minutes=8.4 * n)).isoformat()
        lines.append(f"f{n},{at},{n % 5},{n % 2 == 0},{at}")
    (tmp_path / "rows.csv").write_text("\n".join([*lines, ""]))
    planned = json.loads(machine.run("plan", str(file), "--json").stdout)
    assert planned["watched"]["windows"] == 3
    assert planned["left_out"].startswith(
        "data.keys.time: 2,400 of 6,002 cases are left out, because their 'seen_at' is after now, "
    )
    assert "2,400 of 6,002 cases are left out" in " ".join(machine.run("plan", str(file)).output.split())


def test_a_table_that_is_not_there_is_told_and_the_plan_goes_on(machine, tmp_path) -> None:
    file = small_traffic(tmp_path, 84)
    (tmp_path / "rows.csv").unlink()
    result = machine.run("plan", str(file))
    assert "the data cannot be read" in result.output
    assert "small: would be created" in result.output


def test_a_plan_reads_only_what_its_numbers_come_from(
    machine, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, Any] = {}
    whole = data.extract
    monkeypatch.setattr(data, "extract", lambda *a, **given: whole(*a, **given, on_read=read.update))
    watched = json.loads(machine.run("plan", str(small_traffic(tmp_path, 1200)), "--json").stdout)["watched"]
    assert watched["windows"] == 19
    assert sorted(read["rows"]) == ["churned", "id", "known_at", "seen_at"]
