"""The words of alerts: templates that Prometheus fills in from the system's own series."""

from __future__ import annotations

from dataclasses import dataclass

from capstan.spec import MLSystem
from capstan.spec.tasks import TASK_FACTS


@dataclass(frozen=True)
class AlertText:
    """Makes the parts of a summary for one system."""

    system: MLSystem
    namespace: str | None
    """None: on one machine, where series have no such label."""

    @property
    def here(self) -> str:
        """What a query inside an annotation adds to system and version; those come from the alert's labels."""
        return "" if self.namespace is None else f",namespace='{self.namespace}'"

    @property
    def earlier(self) -> str:
        """`in the window before` or `364 days before`; empty: windows are compared with the training data."""
        drift = self.system.spec.monitoring.drift
        if drift.reference == "PreviousWindow":
            return "in the window before"
        season = drift.season_length
        return "" if season is None else f"{_days(season.total_seconds())} before"

    @property
    def from_reference(self) -> str:
        """` from requests 364 days before`; empty: windows are compared with the training data."""
        return f" from requests {self.earlier}" if self.earlier else ""

    @property
    def in_windows(self) -> str:
        """` in 2 windows of 7 days`."""
        watched = self.system.spec.monitoring
        count, rows = watched.drift.consecutive, watched.window.rows
        length = _days(watched.window.duration.total_seconds()) if rows is None else f"{rows:,} rows"
        if count == 1:
            return f" in 1 window of {length}"
        apart = (
            "" if watched.window.every is None else f", {_days(watched.window.every.total_seconds())} apart"
        )
        return f" in {count} windows of {length}{apart}"

    @property
    def in_a_row(self) -> str:
        """` in 2 windows of 7 days in a row`."""
        return self.in_windows + (" in a row" if self.system.spec.monitoring.drift.consecutive > 1 else "")

    def value_of(self, metric: str, *, extra: str = "", form: str = "%.3f") -> str:
        """The value of a series of the alert's version."""
        query = f"{metric}{{system='%s',version='%s'{self.here}{extra}}}"
        return (
            f'{{{{ with query (printf "{query}" $labels.system $labels.version) }}}}'
            f'{{{{ . | first | value | printf "{form}" }}}}{{{{ end }}}}'
        )

    def label_of(self, metric: str, label: str) -> str:
        """A label of the series that `value_of` tells."""
        query = f"{metric}{{system='%s',version='%s'{self.here}}}"
        return (
            f'{{{{ with query (printf "{query}" $labels.system $labels.version) }}}}'
            f'{{{{ . | first | label "{label}" }}}}{{{{ end }}}}'
        )

    @property
    def unjudged(self) -> str:
        """The questions without an answer, each with its windows and its reason, and a comma and a space."""
        return (
            "{{ range query (printf \"capstan_windows_unjudged{system='%s',version='%s'HERE} > 0\" "
            "$labels.system $labels.version) }}{{ .Labels.question }} for "
            '{{ printf "%.0f" .Value }} window{{ if ne .Value 1.0 }}s{{ end }} ({{ .Labels.reason }}), {{ end }}'
        ).replace("HERE", self.here)

    @property
    def has_several_outputs(self) -> bool:
        """Whether an answer has more than one part that is watched; that of several models has those of each."""
        if self.system.spec.combination is not None:
            return True
        outputs = TASK_FACTS[self.system.spec.objective.task].outputs
        return len(outputs) > 1 or any(output.per_class for output in outputs)

    def features_above(self, value: str, bound: str) -> str:
        """The three features whose value is farthest above the bound, each with its value and a space."""
        return (
            (
                "{{{{ range query (printf \"topk(3, %s{{system='%s',version='%s'HERE}} > on (system, version, feature) "
                '%s{{system=\'%s\'HERE}})" "{value}" $labels.system $labels.version "{bound}" $labels.system) }}}}'
                '{{{{ .Labels.feature }}}} {{{{ printf "%.3f" .Value }}}} {{{{ end }}}}'
            )
            .replace("HERE", self.here)
            .format(value=value, bound=bound)
        )

    def largest(self, metric: str, before: str) -> str:
        """The three features with the largest shares, each with its share, after some words; empty: there is none."""
        return (
            (
                "{{ range $number, $one := query (printf "
                "\"sort_desc(topk(3, METRIC{system='%s',version='%s'HERE} > 0))\" "
                "$labels.system $labels.version) }}{{ if $number }} {{ else }}BEFORE{{ end }}"
                '{{ .Labels.feature }} {{ printf "%.2f" .Value }}{{ end }}'
            )
            .replace("METRIC", metric)
            .replace("HERE", self.here)
            .replace("BEFORE", before)
        )

    def slices_above(self, metric: str, before: str) -> str:
        """The three slices that moved farthest, each with its feature and distance, after some words; empty: none."""
        return (
            (
                "{{ range $number, $one := query (printf "
                "\"sort_desc(topk(3, METRIC{system='%s',version='%s'HERE}))\" "
                "$labels.system $labels.version) }}{{ if $number }}, {{ else }}BEFORE{{ end }}"
                '{{ .Labels.slice }}: {{ .Labels.feature }} {{ printf "%.2f" .Value }}{{ end }}'
            )
            .replace("METRIC", metric)
            .replace("HERE", self.here)
            .replace("BEFORE", before)
        )


def _days(seconds: float) -> str:
    for length, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{seconds / length:g} {unit}{'' if seconds == length else 's'}"
    return f"{seconds:g} seconds"
