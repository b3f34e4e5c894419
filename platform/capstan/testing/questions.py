"""The suite of questions about a window."""

from __future__ import annotations

import math
from dataclasses import replace

from capstan.monitoring.questions import WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.watched_version import Asked
from capstan.monitoring.windows import DriftWindow, Gap, OnlineDrift, WindowOutcome
from capstan.spec import MLSystem
from capstan.testing.conformance import Suite

_SHARED = frozenset({"system", "version"})


def check_question(
    question: WindowQuestion,
    system: MLSystem,
    *,
    breach: Asked,
    fine: Asked,
) -> None:
    """Ask about a window that is bad and one that is good; raises NotConformingError with all broken rules.

    `breach` and `fine` are windows of the question's kind, with what it measures by itself in their `numbers`.
    """
    suite = Suite(type(question).__name__)
    with suite.rule("it has a name, and an alert of its own"):
        assert question.name.isidentifier(), f"name {question.name!r} is no word"
        assert question.name.islower(), f"name {question.name!r} is not in lower case"
        assert question.alert.name.isidentifier(), f"alert {question.alert.name!r} is no word"
        assert question.alert.name[0].isupper(), f"alert {question.alert.name!r} is not in CamelCase"
    for window, outcome in ((breach, WindowOutcome.BREACH), (fine, WindowOutcome.FINE)):
        with suite.rule(f"it tells a window that is {outcome}"):
            answer = question.ask(window)
            assert answer.outcome is outcome, f"it says {answer.outcome}"
            assert answer == question.ask(window), "asked again it answers otherwise"
            assert answer.gap is None, "it has an answer and tells a gap"
    with suite.rule("a window without evidence is neither good nor bad, and it says why"):
        answer = question.ask(_empty(fine))
        assert answer.outcome is WindowOutcome.NO_EVIDENCE, f"of too few rows it says {answer.outcome}"
        if question.tells_gaps:
            assert answer.gap is not None, (
                "it tells no gap; set `tells_gaps` to False if another question does"
            )
            assert answer.gap.reason.isidentifier(), f"reason {answer.gap.reason!r} is no word"
            assert answer.gap.message, "the gap has no message"
    with suite.rule("the alert says why it fires"):
        for namespace in (None, "team"):
            text = question.summary(AlertText(system, namespace))
            assert text.strip(), "the summary is empty"
            assert text.count("{{") == text.count("}}"), f"a template is not closed: {text}"
    with suite.rule("an alert needs at least one window"):
        assert question.windows_needed(2) >= 1, f"windows_needed(2) is {question.windows_needed(2)}"
    with suite.rule("Prometheus is shown finite values of named series"):
        readings = [reading for window in (breach, fine) for reading in question.readings(window)]
        assert readings, "it shows nothing, so that nobody can see how near to an alert a window is"
        for reading in readings:
            assert reading.metric.startswith("capstan_"), f"{reading.metric} does not begin with capstan_"
            assert math.isfinite(reading.value), f"{reading.metric} is {reading.value}"
            assert not _SHARED & reading.labels.keys(), f"{reading.metric} sets system or version itself"
        by_metric = {reading.metric: frozenset(reading.labels) for reading in readings}
        for reading in readings:
            assert by_metric[reading.metric] == frozenset(reading.labels), (
                f"{reading.metric} has now these labels and now others"
            )
    suite.require()


def _empty(window: Asked) -> Asked:
    if isinstance(window, OnlineDrift):
        return OnlineDrift(window.reached, gap=Gap("TooFewRows", "3 of 8 lots have come"))
    if isinstance(window, DriftWindow):
        return DriftWindow(window.number, window.start, window.end, 3, False, min_rows=1000)
    return replace(
        window,
        labelled=0,
        coverage=0.0,
        value=None,
        standard_error=None,
        drop=None,
        drop_bound=None,
        decision=WindowOutcome.NO_EVIDENCE,
        reason="CoverageTooLow",
        message="labels of 0 % of the rows",
        concept=None,
    )
