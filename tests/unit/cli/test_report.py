"""What `capstan report` prints of a replay's document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from browser import flights
from ruamel.yaml import YAML
from typer.testing import CliRunner

from capstan.cli.console import out
from capstan.cli.main import app
from capstan.cli.verbs.report import print_report
from capstan.dashboard.snapshot import _metrics
from capstan.embedded.replay.report import described as as_described
from capstan.embedded.replay.report import reported_metrics
from capstan.embedded.replay.watching_section import watching_section
from capstan.monitoring.causes.told import reasons_of
from capstan.spec import parse
from capstan.tasks import TASKS, Learnt

FLIGHTS = Path(__file__).resolve().parents[3] / "examples" / "flight-delays" / "system.yaml"
TASK = TASKS["MulticlassClassification"]
QUIET = {"static": 1.2, "managed": 1.1, "gain": 0.1, "gain_interval": (0.05, 0.15)}


def document(details: Any) -> dict[str, Any]:
    month = {"rows": 3, "metrics": {"logLoss": QUIET}}
    counts = dict.fromkeys(("alerts", "retrainings", "promotions", "rollbacks", "requests"), 1)
    payloads = dict.fromkeys(
        ("failed_requests", "payloads_stored", "payloads_lost", "payloads_unaccounted"), 0
    )
    return {
        **counts,
        **payloads,
        "system": "bands",
        "metrics": [{"name": "logLoss", "title": TASK.facts.metric("logLoss").title}],
        "months": {"2013-02": month},
        "overall": month,
        "details": details,
        "latency_p99_seconds": None,
        "latency_p99_required_seconds": None,
        "windows": {"closed": 0},
        "online_steps": [],
        "watching": {"reasons": [], "estimates": None, "rises": None},
        "failures": [],
        "seconds": 1.0,
    }


def printed(details: Any) -> str:
    with out.capture() as capture:
        print_report(document(details))
    return capture.get()


def test_the_watching_is_told_by_reasons_estimates_and_rises() -> None:
    windows = [dict(one) for one in flights.dropped()._windows()]
    told = orjson.loads(orjson.dumps(watching_section(windows)))
    assert [(one["alert"], one["end"][:10]) for one in told["reasons"]] == [
        ("QualityDropped", "2013-02-08"),
        ("DriftDetected", windows[[bool(one["drift_alert"]) for one in windows].index(True)]["end"][:10]),
    ]
    assert told["estimates"]["windows"] == len(windows)
    assert told["estimates"]["held"] + len(told["estimates"]["wrong"]) == told["estimates"]["checked"] > 0
    assert [one["detector"] for one in told["rises"]] == ["PageHinkley"]
    with out.capture() as capture:
        print_report({**document({}), "watching": told})
    said = capture.get()
    assert "QualityDropped of v1, window to 2013-02-08" in said
    assert "carrier=EV explains 42 % of the rise" in said
    assert "rocAuc was estimated before labels in 7 windows" in said
    assert "losses rose: PageHinkley since" in said


def test_estimates_that_were_never_sure_are_not_counted_out_of_none() -> None:
    told = {"metric": "logLoss", "windows": 2, "checked": 0, "held": 0, "wrong": [], "mean_error": 0.0581}
    with out.capture() as capture:
        print_report({**document({}), "watching": {"reasons": [], "estimates": told, "rises": None}})
    said = " ".join(capture.get().split())
    assert "in 2 windows, on average 0.0581 off; none was sure enough to be held to its interval" in said
    assert "0 of 0" not in said


def test_an_alert_that_fires_again_or_of_another_version_is_told_again() -> None:
    def window(day: int, version: str, *alerts: str) -> dict[str, Any]:
        return {"end": f"2013-02-{day:02}T00:00:00+00:00", "version": version, "alerts": list(alerts),
                "moved": {"drift": ["it moved"]}}  # fmt: skip

    drift = "DriftDetected"
    told = reasons_of(
        [
            window(1, "v1", drift),
            window(2, "v1", drift),
            window(3, "v1"),
            window(4, "v1", drift),
            window(5, "v2", drift),
        ]
    )
    assert [one.end.day for one in told] == [1, 4, 5]


def test_a_replay_whose_requests_failed_says_why() -> None:
    with out.capture() as capture:
        print_report(
            {**document({}), "failed_requests": 2, "failures": ["503: no [healthy] upstream", "timeout"]}
        )
    assert "the first that failed: 503: no [healthy] upstream" in capture.get()


@pytest.mark.parametrize("name", ["on time", "yes [red]"])
def test_the_confusion_matrix_is_printed_with_the_classes_as_they_are_called(name: str) -> None:
    truth = np.array([name, name, "late"])
    said = TASK.predictions(np.array([[0.1, 0.9], [0.1, 0.9], [0.2, 0.8]]), Learnt(("late", name)))
    lines = printed(TASK.details(truth, said)).splitlines()
    assert any("Confusion matrix of the managed system: label down, answer across" in line for line in lines)
    cells = [line.split() for line in lines]
    assert ["late", "0", "1"] in cells
    assert [*name.split(), "0", "2"] in cells


def test_classes_that_no_model_knew_are_told_and_a_task_without_tables_prints_none() -> None:
    said = TASK.predictions(np.array([[0.1, 0.9]]), Learnt(("early", "late")))
    assert "1 label is of a class that the model does not know ('strange' 1)" in printed(
        TASK.details(np.array(["strange"]), said)
    )
    assert "Confusion" not in printed({})


def test_tables_hold_counts_numbers_words_and_what_is_not_known() -> None:
    table = {
        "title": "Gate: recall by carrier", "of_rows": "carrier", "of_columns": "what the gate saw",
        "rows": ["AA", "HA"], "columns": ["rows", "recall", "gate"],
        "cells": [[1200, 0.31256, "passed"], [3, None, "no [evidence]"]], "notes": ["a [note]"],
    }  # fmt: skip
    lines = printed({"tables": [table]}).splitlines()
    cells = [line.split() for line in lines]
    assert ["AA", "1,200", "0.3126", "passed"] in cells
    assert ["HA", "3", "-", "no", "[evidence]"] in cells
    assert "a [note]" in lines


def test_a_report_that_is_not_there_is_answered_with_what_makes_or_names_one(tmp_path: Path) -> None:
    def refusal() -> str:
        result = CliRunner().invoke(app, ["report", "--state", str(tmp_path)])
        assert result.exit_code == 1
        return result.output

    assert f"no report in {tmp_path}" in refusal()
    reports = tmp_path / "reports"
    reports.mkdir()
    for name in ("bands", "flights"):
        (reports / f"{name}.json").write_text("{}")
    assert "name one: bands, flights" in refusal()


@pytest.mark.parametrize(("failures", "code"), [([], 0), (["503: no upstream"], 3)])
def test_a_replay_ends_with_3_if_requests_failed(
    failures: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {**document({}), "failed_requests": len(failures), "failures": failures}
    monkeypatch.setattr("capstan.embedded.replay.whole_replay.run_replay", lambda *_, **__: report)
    told = CliRunner().invoke(app, ["replay", str(FLIGHTS), "--state", str(tmp_path)])
    assert told.exit_code == code, told.output


def test_a_port_that_nobody_can_ask_is_refused(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["replay", str(FLIGHTS), "--state", str(tmp_path), "--gateway-port", "0"])
    assert told.exit_code == 2
    assert "'--gateway-port'" in told.output


@pytest.mark.parametrize(
    ("currency", "title"),
    [("$", "value of a case, $"), ("[eur]", "value of a case, [eur]"), (None, "value of a case")],
)
def test_what_answers_are_worth_is_told_in_the_currency_of_the_file(currency: str | None, title: str) -> None:
    spec = YAML(typ="safe").load(FLIGHTS.read_text())
    worth = {"truePositive": 35, "falsePositive": -5, "trueNegative": 0, "falseNegative": -60}
    spec["spec"]["objective"]["value"] = {**({"currency": currency} if currency else {}), **worth}
    spec["spec"]["monitoring"]["quality"] = {"metric": "value"}
    system = parse(spec, base_dir=FLIGHTS.parent)
    assert title in [shown.title for shown in _metrics(system)], "the page says it too"
    metrics = reported_metrics(system)
    described = [as_described(metric) for metric in metrics]
    assert described[0] == {"name": "value", "title": title, "direction": "Higher", "key": "value"}
    with out.capture() as capture:
        gained = {"static": 1.25, "managed": 2.5, "gain": 1.25, "gain_interval": (0.5, 2.0)}
        month = {"rows": 3, "metrics": {"value": gained, "logLoss": QUIET}}
        print_report({**document({}), "metrics": described, "months": {"2013-02": month}, "overall": month})
    words = capture.get().split()
    for word in title.split():
        assert word in words
    assert "2.5" in " ".join(words)
