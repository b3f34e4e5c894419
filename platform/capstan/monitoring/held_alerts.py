"""The alerts that the windows of a watched version hold, as Prometheus and Alertmanager would tell them.

For who has neither of them: the same names, moments, words and fingerprints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from capstan.domain.triggers import Alert
from capstan.domain.versions import VersionName
from capstan.monitoring.questions import QUESTIONS, AlertFacts, Kind, blind
from capstan.monitoring.questions.blind import BLIND
from capstan.monitoring.questions.question import Reading
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.watched_version import WatchedVersion
from capstan.spec import MLSystem

_FNV_OFFSET, _FNV_PRIME, _FNV_MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
_SHOWN = 3
"""Features that an alert names, as its template does."""


def held_alerts(system: MLSystem, watch: WatchedVersion) -> list[Alert]:
    """Sorted as Alertmanager's are read: by the moment, then by name."""
    held = watch.alerts(consecutive=system.spec.monitoring.drift.consecutive)
    text = WindowText(system, None, watch, tuple(_readings(watch)))
    told: list[tuple[AlertFacts, Kind, str]] = [
        (question.alert, question.kind, question.summary(text))
        for question in QUESTIONS.values()
        if question.alert.name in held
    ]
    if BLIND.name in held:
        told.append((BLIND, "Drift", blind.summary(text)))
    found = []
    for facts, kind, summary in told:
        last = watch.last(kind)
        if last is None:
            continue
        found.append(
            Alert(
                name=facts.name,
                version=VersionName(watch.version),
                fingerprint=fingerprint(_labels(system.metadata.name, watch.version, facts)),
                as_of=last.end,
                summary=summary,
                trigger=facts.trigger,
            )
        )
    return sorted(found, key=lambda alert: (alert.as_of, alert.name))


@dataclass(frozen=True)
class WindowText(AlertText):
    """The words of alerts with the values of the last windows, where `AlertText` leaves templates."""

    watch: WatchedVersion
    readings: tuple[Reading, ...]

    @property
    def unjudged(self) -> str:
        """The questions without an answer, each with its windows and its reason, and a comma and a space."""
        return "".join(
            f"{one.name} for {one.unjudged} window{'' if one.unjudged == 1 else 's'} ({one.reason}), "
            for one in self.watch.questions()
            if one.end is not None and one.unjudged
        )

    def value_of(self, metric: str, *, extra: str = "", form: str = "%.3f") -> str:
        """The value of the first reading of the metric; empty where there is none, as in a template."""
        del extra
        found = next((reading for reading in self.readings if reading.metric == metric), None)
        return "" if found is None else form % found.value

    def label_of(self, metric: str, label: str) -> str:
        """A label of the reading that `value_of` tells."""
        found = next((reading for reading in self.readings if reading.metric == metric), None)
        return "" if found is None else found.labels.get(label, "")

    def features_above(self, value: str, bound: str) -> str:
        """The three features whose value is largest among those above their bound, each with its value and a space."""
        bounds = {one.labels["feature"]: one.value for one in self.readings if one.metric == bound}
        above = [
            (one.value, one.labels["feature"])
            for one in self.readings
            if one.metric == value and one.value > bounds.get(one.labels["feature"], float("inf"))
        ]
        above.sort(key=lambda one: (-one[0], one[1]))
        return "".join(f"{feature} {number:.3f} " for number, feature in above[:_SHOWN])

    def largest(self, metric: str, before: str) -> str:
        """The three features with the largest shares, each with its share, after some words; empty: there is none."""
        found = [
            (one.value, one.labels["feature"])
            for one in self.readings
            if one.metric == metric and one.value > 0
        ]
        found.sort(key=lambda one: (-one[0], one[1]))
        told = " ".join(f"{feature} {share:.2f}" for share, feature in found[:_SHOWN])
        return f"{before}{told}" if told else ""

    def slices_above(self, metric: str, before: str) -> str:
        """The three slices that moved farthest, each with its feature and distance, after some words; empty: none."""
        found = [
            (one.value, one.labels["slice"], one.labels["feature"])
            for one in self.readings
            if one.metric == metric
        ]
        found.sort(key=lambda one: (-one[0], one[1], one[2]))
        told = ", ".join(f"{part}: {feature} {number:.2f}" for number, part, feature in found[:_SHOWN])
        return f"{before}{told}" if told else ""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's name of an alert: FNV-1a of 64 bits over its sorted labels."""
    found = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            found = ((found ^ byte) * _FNV_PRIME) & _FNV_MASK
    return f"{found:016x}"


def _labels(system: str, version: str, facts: AlertFacts) -> dict[str, str]:
    labels = {
        "alertname": facts.name,
        "kind": "data",
        "severity": facts.severity,
        "system": system,
        "version": version,
    }
    return {**labels, "trigger": facts.trigger} if facts.trigger else labels


def _readings(watch: WatchedVersion) -> Iterable[Reading]:
    for asked in QUESTIONS.values():
        window = watch.last(asked.kind)
        if window is not None:
            yield from asked.readings(window)
