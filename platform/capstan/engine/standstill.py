"""What keeps a loop from going on until a person acts, as numbers for Prometheus: the alerts about it rest on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from capstan.domain.reasons import Reason
from capstan.domain.rollout import RolloutPhase, RolloutState
from capstan.domain.steps.questions import SPLIT
from capstan.domain.system import SystemState
from capstan.domain.verdicts.analysis import Verdict


@dataclass(frozen=True)
class Standstill:
    """What keeps one system from going on, as of the last look."""

    circuit_open: bool = False
    """Training failed so often that no alert starts one any more."""
    champion: str = ""
    """Empty: none yet."""
    split_not_obeyed: bool = False
    """The requests were not divided as the rollout's step wants."""
    challenger: str = ""
    """Empty: there is no rollout, and nothing to obey."""
    trained_to: datetime | None = None
    """Event time up to which the champion's training data was read; None: there is no champion."""


def standstill_of(system: SystemState, rollout: RolloutState | None) -> Standstill:
    """`rollout`: the one that is in progress."""
    split = rollout.latest.get(SPLIT) if rollout is not None else None
    not_obeyed = (
        rollout is not None
        and rollout.phase is RolloutPhase.PROGRESSING
        and rollout.held == Reason.TRAFFIC_SPLIT_NOT_OBEYED
        # What held the step once may be over.
        and split is not None
        and split.outcome == Verdict.INCONCLUSIVE
    )
    challenger = system.rollout.challenger.name if system.rollout is not None else ""
    return Standstill(
        system.retraining.circuit_open,
        system.champion.name if system.champion is not None else "",
        not_obeyed,
        challenger,
        system.champion.as_of if system.champion is not None else None,
    )


def standstill_metrics(seen: Iterable[tuple[str | None, str, Standstill]]) -> Iterator[Metric]:
    """Gauges of (namespace, system, standstill); the namespace is None on one machine."""
    found = list(seen)
    names = ["system", "version"] if all(space is None for space, _, _ in found) else None
    labels = names or ["namespace", "system", "version"]
    circuit = GaugeMetricFamily(
        "capstan_retraining_circuit_open",
        "1 while trainings have failed so often that a person must reset the circuit.",
        labels=labels,
    )
    split = GaugeMetricFamily(
        "capstan_traffic_split_not_obeyed",
        "1 while requests are not divided as the rollout's step wants, which holds it.",
        labels=labels,
    )
    trained = GaugeMetricFamily(
        "capstan_training_data_end_timestamp_seconds",
        "Event time up to which the champion's training data was read.",
        labels=labels,
    )
    for space, system, standstill in found:
        own = [system] if space is None else [space, system]
        circuit.add_metric([*own, standstill.champion], int(standstill.circuit_open))
        if standstill.challenger:
            split.add_metric([*own, standstill.challenger], int(standstill.split_not_obeyed))
        if standstill.trained_to is not None:
            trained.add_metric([*own, standstill.champion], standstill.trained_to.timestamp())
    yield circuit
    yield split
    yield trained
