"""What a run leaves for those who did not watch it: its version, its gates and its candidates, kept beside its Bento.

It is written once before the version is registered, still without a name, and once after: so whoever finds a
registered version also finds the gates that it passed or failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from capstan.domain.training import GateOutcome, RunnerUp, RunPhase, RunStatus
from capstan.domain.versions import ModelVersion, RunName
from capstan.ports.codec import from_json, to_json


def result_path(run: RunName) -> str:
    """Where it is kept in the system's artifact store."""
    return f"runs/{run}/result.json"


def result_document(
    version: ModelVersion,
    gates: Sequence[GateOutcome],
    candidates: Mapping[str, Mapping[str, float]],
    message: str,
    *,
    chosen: Sequence[str],
    failed: Mapping[str, str],
    warnings: Sequence[str],
    details: Mapping[str, Any],
    runners_up: Sequence[RunnerUp] = (),
    left_out: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """As JSON; `version` has no name before it is registered."""
    return {
        "version": to_json(version),
        "gates": [to_json(gate) for gate in gates],
        "candidates": {name: dict(metrics) for name, metrics in candidates.items()},
        "message": message,
        "chosen": list(chosen),
        "failed": dict(failed),
        "warnings": list(warnings),
        "details": dict(details),
        "runners_up": [to_json(one) for one in runners_up],
        "left_out": dict(left_out or {}),
    }


def read_result(content: bytes | str) -> RunStatus:
    """The status of the run that wrote it; its version may have no name yet."""
    result = json.loads(content)
    return RunStatus(
        RunPhase.SUCCEEDED,
        result["message"],
        version=from_json(ModelVersion, result["version"]),
        gates=tuple(from_json(GateOutcome, gate) for gate in result["gates"]),
        candidates=result["candidates"],
        chosen=tuple(result["chosen"]),
        failed=result["failed"],
        warnings=tuple(result["warnings"]),
        details=result["details"],
        # Runs of earlier releases have none.
        runners_up=tuple(from_json(RunnerUp, one) for one in result.get("runners_up", ())),
        left_out=result.get("left_out", {}),
    )
