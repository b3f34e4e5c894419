"""The alert that follows from the gaps of all questions: no alert must not look like all is well."""

from __future__ import annotations

from capstan.monitoring.questions.question import AlertFacts
from capstan.monitoring.questions.texts import AlertText

BLIND_WINDOWS = 2
"""Windows in a row without a verdict that are an alert: one may be a holiday."""
BLIND = AlertFacts("MonitorBlind", "warning", "")


def summary(text: AlertText) -> str:
    """Which questions had no answer for how long, and why."""
    return f"cannot be judged: {text.unjudged}so that no alert does not mean that all is well"
