"""Claims about alerts, notifications, rules and restarts that need no process."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from capstan.adapters.alertmanager import server as alertmanager
from capstan.adapters.alertmanager.server import AlertmanagerSettings, alert_of, moment, parse_webhook
from capstan.adapters.processes.spec import ProcessSpec, RestartPolicy
from capstan.adapters.prometheus import server as prometheus
from capstan.errors import InvalidRequestError, NotAllowedError

MOMENT = datetime(2013, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2013-03-04T05:00:00Z", "2013-03-04T00:00:00-05:00", "1362373200", "1.3623732e+09"],
    ids=["utc", "offset", "seconds", "exponent"],
)
def test_as_of_is_read_in_every_form_that_rules_can_print(text: str) -> None:
    assert moment(text) == MOMENT


@pytest.mark.parametrize("text", ["", "soon", "NaN", "2013-03-04T05:00:00", "1e99"])
def test_a_moment_that_is_none_is_not_guessed(text: str) -> None:
    assert moment(text) is None


def test_an_alert_without_version_or_moment_is_ignored() -> None:
    labels = {"alertname": "DriftDetected", "version": "v1", "system": "flights", "trigger": "drift"}
    annotations = {"as_of": "1362373200", "summary": "why"}
    alert = alert_of({"labels": labels, "annotations": annotations, "fingerprint": "f"})
    assert alert is not None
    assert (alert.name, alert.version, alert.as_of, alert.summary) == ("DriftDetected", "v1", MOMENT, "why")
    assert alert.trigger == "drift"
    assert alert_of({"labels": labels, "annotations": {}, "fingerprint": "f"}) is None
    assert alert_of({"labels": {"alertname": "Foreign"}, "annotations": annotations}) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"alerts": [{}]}', b'{"alerts": [1]}', b"[" * 5000, b"\xff"])
def test_a_malformed_notification_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not a notification of Alertmanager"):
        parse_webhook({"Authorization": "Bearer t"}, body, "t")


def test_an_empty_token_opens_nothing() -> None:
    with pytest.raises(NotAllowedError):
        parse_webhook({"Authorization": "Bearer "}, b'{"alerts": []}', "")


def test_a_duplicate_notification_gives_the_same_hint() -> None:
    body = (
        b'{"alerts": [{"status": "resolved", "labels": {"alertname": "DriftDetected", "system": "flights"}}]}'
    )
    first = parse_webhook({"authorization": "Bearer t"}, body, "t")
    assert first == parse_webhook({"authorization": "Bearer t"}, body, "t")
    assert (first.firing, first.resolved) == (0, 1)


def test_alerts_of_a_version_are_told_at_once_and_apart() -> None:
    settings = AlertmanagerSettings(
        webhook_url="http://127.0.0.1:1/alerts", webhook_token_file=Path("/state/webhook")
    )
    route = alertmanager.config(settings)["route"]
    assert (route["group_wait"], route["group_by"]) == ("0s", ["alertname", "system", "version", "slo"])
    webhook = alertmanager.config(settings)["receivers"][0]["webhook_configs"][0]
    assert webhook["http_config"]["authorization"]["credentials_file"] == "/state/webhook"


def test_every_rule_group_ends_with_what_it_has_seen() -> None:
    rules = {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "x"}]}, {"name": "b", "rules": []}]}
    groups = prometheus.with_generation(rules)["groups"]
    assert [group["rules"][-1]["labels"]["rule_group"] for group in groups] == ["a", "b"]
    assert groups[0]["rules"][0] == {"alert": "A", "expr": "x"}
    assert rules["groups"][1]["rules"] == []


def test_nobody_waits_for_a_group_that_is_evaluated_seldom() -> None:
    """Budgets are looked at each half minute; a replay would stop so long at each window."""
    seldom = {"name": "budgets", "interval": "30s", "rules": [{"record": "b", "expr": "x"}]}
    assert prometheus.with_generation({"groups": [seldom]})["groups"] == [seldom]


def test_the_configuration_is_yaml_with_the_wanted_intervals() -> None:
    text = prometheus.to_yaml(prometheus.config(prometheus.REPLAY, Path("/p")))
    read = YAML(typ="safe").load(text)
    assert read["global"] == {
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "evaluation_interval": "500ms",
    }
    assert "alerting" not in read


def test_restarts_wait_longer_each_time_up_to_a_bound() -> None:
    backoff = RestartPolicy(initial_seconds=0.5, maximum_seconds=5.0)
    assert [backoff.delay_seconds(deaths) for deaths in (1, 2, 3, 4, 5, 500)] == [
        0.5,
        1.0,
        2.0,
        4.0,
        5.0,
        5.0,
    ]


def test_a_process_is_the_same_by_what_it_runs_not_by_how_it_is_watched() -> None:
    spec = ProcessSpec("a", ("run", "1"), env={"A": "1", "B": "2"})
    assert (
        spec.digest == ProcessSpec("b", ("run", "1"), env={"B": "2", "A": "1"}, health_url="http://x").digest
    )
    others = [
        ProcessSpec("a", ("run", "2")),
        ProcessSpec("a", ("run", "1")),
        ProcessSpec("a", ("run 1",), env=spec.env),
    ]
    assert spec.digest not in {other.digest for other in others}
