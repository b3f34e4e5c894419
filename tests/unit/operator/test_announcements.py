"""How the operator tells what no engine writes: the severity of an Event is that of its reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.domain.reasons import Reason
from capstan_operator.announcements import Teller

SYSTEM = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "flights", "namespace": "ml", "uid": "u-1", "generation": 3},
}


@pytest.mark.parametrize(
    "reason", [Reason.INVALID_SPEC, Reason.NOT_ALLOWED, Reason.PROMOTED, Reason.PART_BACK]
)
def test_an_event_is_a_warning_where_its_reason_is_one(
    reason: Reason, caplog: pytest.LogCaptureFixture
) -> None:
    kube = MemoryKube()
    teller = Teller(kube, now=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    caplog.set_level("INFO")
    teller.event(SYSTEM, reason, "a message")
    teller.event(SYSTEM, reason, "a message")
    (event,) = kube.list("Event", "ml")
    is_warning = reason in (Reason.INVALID_SPEC, Reason.NOT_ALLOWED)
    assert (event["type"], event["reason"]) == ("Warning" if is_warning else "Normal", str(reason))
    assert [record.levelname for record in caplog.records] == ["WARNING" if is_warning else "INFO"]
