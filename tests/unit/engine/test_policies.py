"""What the planners go by, as the file says it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from capstan.domain.rollout import outlook
from capstan.domain.versions import SystemName
from capstan.engine.policies import policy_of, replay_policy_of
from capstan.ports.store import Kind, Record

FILE = Path(__file__).parents[1] / "spec" / "flight_delays.yaml"


def record_of(**spec: Any) -> Record:
    document = YAML(typ="safe").load(FILE.read_text())
    document["spec"].update(spec)
    return Record(Kind.SYSTEM, "flight-delays", SystemName("flight-delays"), document)


@pytest.mark.parametrize("replay", [{}, {"replay": {"start": "2013-02-01", "end": "2013-03-01"}}])
def test_the_latency_that_the_file_requires_is_judged_whether_or_not_it_can_be_replayed(
    replay: dict[str, Any],
) -> None:
    policy = policy_of(record_of(**replay))

    assert policy.rollout.operation.max_latency_seconds == 0.05


def test_a_replay_judges_latencies_by_ratio_alone() -> None:
    live, replayed = (read(record_of()).rollout for read in (policy_of, replay_policy_of))

    assert replayed.operation.max_latency_seconds is None
    assert replayed.operation.max_latency_ratio == live.operation.max_latency_ratio == 1.5
    assert replayed.digest != live.digest


def test_a_rollout_whose_errors_count_otherwise_begins_again() -> None:
    def digest(maximum_error: float) -> str:
        losses = {"maximumError": maximum_error}
        objective = {"task": "Regression", "target": "late", "losses": losses}
        analyses = [{"name": "quality", "metric": "squaredError", "margin": 5}]
        record = record_of(
            objective=objective,
            rollout={"analyses": analyses, "steps": [{"shadow": {"analyses": ["quality"]}}]},
            evaluation={},
            training={},
            monitoring={},
        )
        return policy_of(record).rollout.digest

    assert digest(180) == digest(180.0)
    assert digest(180) != digest(200)


def test_a_rollout_without_labels_says_beforehand_by_what_it_is_decided() -> None:
    def told(*, labelled: bool) -> str:
        record = record_of(
            objective={"task": "AnomalyDetection", "target": "late"},
            rollout={},
            evaluation={},
            training={},
            monitoring={},
        )
        data = {
            name: part for name, part in record.spec["spec"]["data"].items() if labelled or name != "label"
        }
        record = replace(record, spec={**record.spec, "spec": {**record.spec["spec"], "data": data}})
        return outlook(policy_of(record).rollout, datetime(2026, 1, 1, tzinfo=UTC))

    without = "no label says which answers are right, so errors and latency decide; its 3 steps take"
    assert told(labelled=False).startswith(without)
    assert "step 1 waits for 500 requests;" in told(labelled=False)
    assert told(labelled=True).startswith("quality is decided by UnlessWorse from 7 closed blocks on")
