"""Requests become specs of custom resources and come back as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capstan.adapters.kubernetes.codec import from_spec, to_spec
from capstan.domain.rollout import RolloutCause, RolloutName, RolloutRequest
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.engine.records import rollout_record, run_record
from capstan.ports.store import Kind, Record

AT = datetime(2013, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)
TRIGGER = Trigger(TriggerKind.ALERT, AT, "drift", ("a1", "b2"))
VERSION = ModelVersion(
    VersionName("v2"), Digest("sha256:00"), RunName("run-1"), "flights:ab", AT, {"roc_auc_of_x": 0.7}
)
RUN = TrainingRequest(RunName("run-1"), SystemName("flights"), TRIGGER, VersionName("v1"), seed=7)
ROLLOUT = RolloutRequest(
    RolloutName("r"), SystemName("flights"), RolloutCause.CHALLENGER, VERSION, VERSION, TRIGGER
)

RECORDS = {
    "run": run_record(RUN),
    "first run": run_record(replace(RUN, champion=None, trigger=replace(TRIGGER, alerts=()))),
    "rollout": rollout_record(ROLLOUT),
    "first rollout": rollout_record(replace(ROLLOUT, champion=None, trigger=None)),
    "system": Record(Kind.SYSTEM, "flights", SystemName("flights"), spec={"some_words": {"asOf": None}}),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())
def test_a_spec_comes_back_as_it_was(record: Record) -> None:
    assert from_spec(record.kind, to_spec(record.kind, record.spec)) == record.spec


def test_fields_are_camel_case_and_words_of_the_user_stay() -> None:
    spec = to_spec(Kind.ROLLOUT, RECORDS["rollout"].spec)
    assert spec["challenger"]["bentoTag"] == "flights:ab"
    assert spec["challenger"]["metrics"] == {"roc_auc_of_x": 0.7}
    assert spec["trigger"]["asOf"] == "2013-03-01T12:30:00.250000Z"


def test_nothing_is_written_for_none() -> None:
    def nones(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(nones, value.values()))
        return value is None

    assert not nones(to_spec(Kind.ROLLOUT, RECORDS["first rollout"].spec))
    assert "champion" not in to_spec(Kind.RUN, RECORDS["first run"].spec)


def test_a_whole_file_is_stored_by_its_spec() -> None:
    assert to_spec(Kind.SYSTEM, {"apiVersion": "capstan.dev/v1alpha1", "spec": {"suspend": True}}) == {
        "suspend": True
    }


def test_fields_of_a_newer_release_are_passed_over() -> None:
    spec = {**to_spec(Kind.RUN, RECORDS["run"].spec), "laterField": 1}
    assert from_spec(Kind.RUN, spec) == RECORDS["run"].spec
