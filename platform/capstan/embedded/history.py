"""What stored payloads say about the noise of a verdict, so that its time is told before a rollout."""

from __future__ import annotations

from datetime import UTC, datetime

from capstan.adapters.parquet_evidence import ParquetEvidence
from capstan.domain.evidence import LossBlock
from capstan.domain.feasibility import LossHistory, read_history
from capstan.domain.rollout import RolloutCause
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.engine.records import rollout_request, rollout_state
from capstan.ports.store import Kind, Store
from capstan.spec import MLSystem


def stored_history(system: MLSystem, state: StateDir, store: Store) -> LossHistory | None:
    """The noise of the past rollout with the most closed blocks; None where fewer than two blocks were ever paired."""
    name = SystemName(system.metadata.name)
    if not state.payloads(name).exists():
        return None
    best: tuple[LossBlock, ...] = ()
    evidence = ParquetEvidence(state.system(name), system)
    try:
        for record in store.list(Kind.ROLLOUT, name):
            request, rollout = rollout_request(record), rollout_state(record)
            if request.cause is not RolloutCause.CHALLENGER or not request.champion or not rollout.started_at:
                continue
            paired = evidence.paired(
                request.champion.name,
                request.challenger.name,
                since=rollout.started_at,
                as_of=rollout.finished_at or datetime.now(UTC),
            )
            best = max(best, tuple(paired.blocks), key=len)
    finally:
        evidence.close()
    return read_history(best) if sum(block.count > 0 for block in best) >= 2 else None
