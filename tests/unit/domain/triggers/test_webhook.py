"""When a call of another system is due, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from capstan.domain.retraining import RetrainingState
from capstan.domain.triggers import AllTrigger, DriftTrigger, HeardCall, TriggerSight, WebhookTrigger
from capstan.domain.versions import VersionName

NOW = datetime(2013, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULE = WebhookTrigger("airflow")
SEEN = TriggerSight(VersionName("v1"), calls={"airflow": HeardCall("msg_1", "August is complete", NOW)})


def test_a_call_is_due_until_a_training_has_begun_since() -> None:
    due = RULE.due(SEEN, RetrainingState(begun=NOW - HOUR), NOW + HOUR)
    assert due is not None
    assert due == RULE.due(SEEN, RetrainingState(), NOW + 9 * HOUR)
    assert (due.as_of, due.webhooks) == (NOW, ("msg_1",))
    assert due.reason == "airflow asked for it by webhook msg_1: August is complete"
    assert RULE.due(SEEN, RetrainingState(begun=NOW), NOW + HOUR) is None
    assert WebhookTrigger("etl").due(SEEN, RetrainingState(), NOW) is None


def test_together_with_others_its_id_is_kept() -> None:
    rule = AllTrigger((RULE, WebhookTrigger("etl")))
    assert rule.senders == {"airflow", "etl"}
    assert AllTrigger((DriftTrigger(), DriftTrigger())).senders == frozenset()
    assert rule.due(SEEN, RetrainingState(), NOW) is None
    both = TriggerSight(SEEN.champion, calls={**SEEN.calls, "etl": HeardCall("msg_0", "", NOW + HOUR)})
    due = rule.due(both, RetrainingState(), NOW + HOUR)
    assert due is not None
    assert due.webhooks == ("msg_0", "msg_1")
    assert rule.title == "webhook of airflow and webhook of etl together"
