"""What stored payloads say about the noise of a verdict, so that its time is told before a rollout."""

from __future__ import annotations

from datetime import UTC, datetime

from capstan.domain.rollout import RolloutCause
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.feasibility import LossHistory, read_history
from capstan.domain.verdicts.unit_history import HISTORY, UnitHistory, read_units
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import recorded_evidence, spec_document
from capstan.engine.deadlines import infeasible_deadlines
from capstan.engine.policies import rollout_policy
from capstan.engine.records import rollout_request, rollout_state, system_state
from capstan.errors import InvalidSpecError
from capstan.ports.store import Kind, Store
from capstan.spec import MLSystem


def require_deadlines(system: MLSystem, state: StateDir, store: Store) -> None:
    """Raises InvalidSpecError for a changed rollout with a deadline that stored pairs say cannot be met.

    A rollout that the system follows already is left alone: what serves must come back after a reboot, and another part
    of the file may have to change at once.
    """
    record = store.get(Kind.SYSTEM, system.metadata.name)
    if record is None or record.spec["spec"].get("rollout") == spec_document(system)["spec"].get("rollout"):
        return
    mistakes = infeasible_deadlines(
        system, stored_histories(system, state, store), stored_units(system, state, store)
    )
    if mistakes:
        raise InvalidSpecError(mistakes)


def stored_histories(system: MLSystem, state: StateDir, store: Store) -> dict[str, LossHistory]:
    """By the metric of each analysis, the noise of the past rollout with the most closed blocks.

    A metric for which fewer than two blocks were ever paired is left out.
    """
    name = SystemName(system.metadata.name)
    if not state.payloads(name).exists():
        return {}
    best: dict[str, tuple[LossBlock, ...]] = {
        analysis.metric: () for analysis in system.spec.rollout.analyses
    }
    with recorded_evidence(system, state) as evidence:
        for record in store.list(Kind.ROLLOUT, name):
            request, rollout = rollout_request(record), rollout_state(record)
            if request.cause is not RolloutCause.CHALLENGER or not request.champion or not rollout.started_at:
                continue
            for metric, longest in best.items():
                paired = evidence.paired(
                    request.champion.name,
                    request.challenger.name,
                    metric=metric,
                    since=rollout.started_at,
                    as_of=rollout.finished_at or datetime.now(UTC),
                )
                best[metric] = max(longest, tuple(paired.blocks), key=len)
    return {
        metric: read_history(blocks)
        for metric, blocks in best.items()
        if sum(block.count > 0 for block in blocks) >= 2
    }


def stored_units(system: MLSystem, state: StateDir, store: Store) -> dict[int, UnitHistory]:
    """By the index of each experiment: the champion's units of the last weeks.

    Experiments are left out while too few units have an outcome, or where there is no champion yet.
    """
    name = SystemName(system.metadata.name)
    record = store.get(Kind.SYSTEM, name)
    champion = system_state(record).champion if record is not None else None
    steps = rollout_policy(system).steps
    if champion is None or not state.payloads(name).exists():
        return {}
    found, now = {}, datetime.now(UTC)
    with recorded_evidence(system, state) as evidence:
        for index, step in enumerate(steps):
            if isinstance(step, ExperimentStep):
                need = step.history_need(champion.name)
                units = read_units(evidence.arms(need, since=now - HISTORY, as_of=now), champion.name)
                if units is not None:
                    found[index] = units
    return found
