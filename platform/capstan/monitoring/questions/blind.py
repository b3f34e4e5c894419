"""The alert that follows from the gaps of all questions: no alert must not look like all is well."""

from __future__ import annotations

from capstan.monitoring.questions.question import AlertFacts
from capstan.monitoring.questions.texts import AlertText

BLIND_WINDOWS = 2
"""Windows in a row without a verdict that are an alert: one may be a holiday."""
BLIND = AlertFacts("MonitorBlind", "warning", "")


def summary(text: AlertText) -> str:
    """Which questions had no answer for how long, and why."""
    return (
        "cannot be judged: "
        + "{{ range query (printf \"capstan_windows_unjudged{system='%s',version='%s'HERE} > 0\" "
        "$labels.system $labels.version) }}{{ .Labels.question }} for "
        '{{ printf "%.0f" .Value }} window{{ if ne .Value 1.0 }}s{{ end }} ({{ .Labels.reason }}), {{ end }}'.replace(
            "HERE", text.here
        )
        + "so that no alert does not mean that all is well"
    )
