"""Every question about a window keeps its suite, and one of nobody's module gets an alert, a rule and a gauge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.exposition import Exposition
from capstan.monitoring.questions import QUESTIONS, AlertFacts, WindowQuestion, alerts
from capstan.monitoring.questions.drift import DriftQuestion
from capstan.monitoring.questions.question import Answer, Reading
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.rules import render
from capstan.monitoring.windows import (
    NO_LABELS,
    Concept,
    DriftWindow,
    Estimate,
    FeatureDrift,
    OnlineDrift,
    OnlineFeature,
    QualityWindow,
    WindowOutcome,
    compare,
)
from capstan.spec import MLSystem, load
from capstan.testing import NotConformingError, check_question

SINCE, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)
SYSTEM: MLSystem = load(Path(__file__).parents[1] / "spec" / "flight_delays.yaml")


def drift_window(*, bad: bool) -> DriftWindow:
    far, rise = (0.3, 0.2) if bad else (0.01, 0.0)
    feature = FeatureDrift("temp", 2000, far, 0.12, 0.5, 0.3, rise, 0.1)
    prediction = FeatureDrift(":probability", 2000, far, 0.12, 0.5, 0.0, 0.0, 0.1)
    decision, value = (WindowOutcome.BREACH, 0.61) if bad else (WindowOutcome.FINE, 0.69)
    estimate = Estimate(
        "rocAuc", decision, "Dropped" if bad else "Fine", value=value, low=value - 0.02, high=value + 0.02,
        reference=0.70, floor=0.65, outside=0.01, is_asked=True,
    )  # fmt: skip
    return DriftWindow(0, SINCE, SINCE + WEEK, 2000, True, (feature,), (prediction,), estimate=estimate)


def quality_window(*, bad: bool) -> QualityWindow:
    decision, value = (WindowOutcome.BREACH, 0.61) if bad else (WindowOutcome.FINE, 0.69)
    return QualityWindow(
        0, SINCE, SINCE + WEEK, "rocAuc", 2000, 1990, 0.995, value, 0.01, 0.70, 0.70 - value, 0.0, 0.65, decision,
        "Dropped" if bad else "Fine",
        concept=Concept("DDM", "brierScore", 0.25 if bad else 0.2, 0.2, decision, SINCE if bad else None),
    )  # fmt: skip


def online_drift(*, bad: bool) -> OnlineDrift:
    feature = OnlineFeature("temp", "CramerVonMises", 2.1 if bad else 0.9, 1.6)
    outcome, since = (WindowOutcome.BREACH, SINCE) if bad else (WindowOutcome.FINE, None)
    return OnlineDrift(SINCE + WEEK, outcome, since, features=(feature,), lots=56)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_keeps_its_suite(name: str) -> None:
    question = QUESTIONS[name]
    windows: dict[str, Any] = {"Drift": drift_window, "Quality": quality_window, "Rows": online_drift}
    window = windows[question.kind]
    check_question(question, SYSTEM, breach=window(bad=True), fine=window(bad=False))


def test_where_no_labels_are_promised_their_lack_is_neither_an_answer_nor_a_gap() -> None:
    told = replace(quality_window(bad=True), decision=WindowOutcome.NO_EVIDENCE, reason=NO_LABELS)
    assert QUESTIONS["quality"].ask(told) == Answer(WindowOutcome.NO_EVIDENCE)
    late = QUESTIONS["quality"].ask(replace(told, reason="CoverageTooLow"))
    assert late.gap is not None


def test_no_two_questions_share_an_alert() -> None:
    assert len({alert.name for alert in alerts()}) == len(QUESTIONS) + 1


class Crowd(WindowQuestion):
    """A question of nobody's module: whether there are more rows than anybody asked for."""

    name: ClassVar[str] = "crowd"
    alert: ClassVar[AlertFacts] = AlertFacts("TooManyRows", "critical", "drift")

    def ask(self, window: DriftWindow) -> Answer:
        if window.too_few is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, window.too_few)
        return Answer(compare(window.numbers.get(self.name, {}).get("rows"), 1500))

    def summary(self, text: AlertText) -> str:
        rows = text.value_of("capstan_window_number", extra=",question='crowd',number='rows'", form="%.0f")
        return f"{rows} rows{text.in_windows}"


def crowd(rows: float, number: int = 0) -> DriftWindow:
    start = SINCE + number * WEEK
    found = replace(drift_window(bad=False), number=number, start=start, end=start + WEEK)
    return replace(found, numbers={"crowd": {"rows": rows}})


class Watching:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.online = ()


def test_a_new_question_is_one_module_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gauge, alert, rule, status, checkpoint and what the page is told follow from it."""
    check_question(Crowd(), SYSTEM, breach=crowd(2000), fine=crowd(1000))
    monkeypatch.setitem(QUESTIONS, "crowd", Crowd())  # type: ignore[arg-type]
    checkpoint = Checkpoint().watching("v3", "/model", SINCE)
    for number in range(2):
        checkpoint = checkpoint.with_drift(crowd(2000, number), consecutive=2)
    assert checkpoint.watch is not None
    assert checkpoint.watch.alerts(consecutive=2) == ("TooManyRows",)
    assert [q.name for q in checkpoint.watch.questions()] == [
        "drift",
        "predictions",
        "estimate",
        "quality",
        "crowd",
    ]
    assert checkpoint.told[-1]["answers"]["crowd"] == {
        "outcome": WindowOutcome.BREACH, "gap": None, "numbers": {"rows": 2000},
    }  # fmt: skip
    registry = CollectorRegistry()
    registry.register(Exposition("flight-delays", Watching(checkpoint), 2))  # type: ignore[arg-type]
    shown = generate_latest(registry).decode()
    assert 'capstan_data_alert{alert="TooManyRows",system="flight-delays",version="v3"} 1.0' in shown
    assert (
        'capstan_window_number{number="rows",question="crowd",system="flight-delays",version="v3"} 2000.0'
        in shown
    )
    (rule,) = (
        rule
        for group in render(SYSTEM)["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "TooManyRows"
    )
    assert rule["labels"] == {"severity": "critical", "kind": "data", "trigger": "drift"}
    assert rule["annotations"]["runbook"] == "capstan explain TooManyRows"


class Optimist(DriftQuestion):
    def ask(self, window: DriftWindow) -> Answer:
        answer = super().ask(window)
        return Answer(WindowOutcome.FINE) if answer.outcome is WindowOutcome.NO_EVIDENCE else answer


class Silent(DriftQuestion):
    def ask(self, window: DriftWindow) -> Answer:
        return Answer(super().ask(window).outcome)


class Deaf(DriftQuestion):
    def ask(self, window: DriftWindow) -> Answer:
        return Answer(WindowOutcome.FINE) if window.too_few is None else super().ask(window)


class Fickle(DriftQuestion):
    calls: ClassVar = count()

    def ask(self, window: DriftWindow) -> Answer:
        return super().ask(window) if next(self.calls) % 2 == 0 else Answer(WindowOutcome.BREACH)


class Unclosed(DriftQuestion):
    def summary(self, text: AlertText) -> str:
        return "{{ $value"


class Invisible(DriftQuestion):
    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        return ()


class Foreign(DriftQuestion):
    def readings(self, window: DriftWindow) -> Iterable[Reading]:
        return [Reading("drift", "of whom?", float("nan"), {"version": "v1"})]


class Impatient(DriftQuestion):
    def windows_needed(self, consecutive: int) -> int:
        return 0


class Shouting(DriftQuestion):
    name: ClassVar[str] = "DRIFT"


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (Optimist(), "of too few rows it says Fine"),
        (Silent(), "it tells no gap"),
        (Deaf(), "a window that is Breach: it says Fine"),
        (Fickle(), "asked again it answers otherwise"),
        (Unclosed(), "a template is not closed"),
        (Invisible(), "nobody can see how near to an alert"),
        (Foreign(), "does not begin with capstan_"),
        (Impatient(), "windows_needed"),
        (Shouting(), "not in lower case"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, WindowQuestion) else "",
)
def test_the_suite_notices_a_question_that_is(question: WindowQuestion, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_question(question, SYSTEM, breach=drift_window(bad=True), fine=drift_window(bad=False))
