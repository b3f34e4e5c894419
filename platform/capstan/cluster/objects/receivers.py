"""The people of a file as the Prometheus operator's AlertmanagerConfig names them; secrets by their Secrets."""

from __future__ import annotations

from typing import Any

from capstan.adapters.alertmanager.receivers import GROUPS, SLACK, severities
from capstan.spec.receivers import Receiver
from capstan.spec.secrets import ValueFrom

Json = dict[str, Any]


def route(receiver: Receiver) -> Json:
    """Below the system's own route."""
    return {
        "receiver": receiver.name,
        "matchers": [{"name": "severity", "value": severities(receiver), "matchType": "=~"}],
        "continue": True,
        "groupBy": GROUPS["group_by"],
        "groupWait": GROUPS["group_wait"],
        "groupInterval": GROUPS["group_interval"],
        "repeatInterval": GROUPS["repeat_interval"],
    }


def receiver_of(receiver: Receiver) -> Json:
    """An element of `receivers`."""
    if receiver.webhook is not None:
        webhook: Json = {"url": receiver.webhook.url, "sendResolved": True}
        if receiver.webhook.token_from is not None:
            token = {"type": "Bearer", "credentials": _key(receiver.webhook.token_from)}
            webhook["httpConfig"] = {"authorization": token}
        return {"name": receiver.name, "webhookConfigs": [webhook]}
    if receiver.slack is not None:
        slack: Json = {"apiURL": _key(receiver.slack.url_from), "sendResolved": True, **SLACK}
        if receiver.slack.channel is not None:
            slack["channel"] = receiver.slack.channel
        return {"name": receiver.name, "slackConfigs": [slack]}
    email = receiver.email
    assert email is not None
    mail: Json = {
        "to": email.to,
        "from": email.sender,
        "smarthost": email.server,
        "requireTLS": email.require_tls,
        "sendResolved": True,
    }
    if email.username is not None:
        mail["authUsername"] = email.username
    if email.password_from is not None:
        mail["authPassword"] = _key(email.password_from)
    return {"name": receiver.name, "emailConfigs": [mail]}


def _key(value: ValueFrom) -> Json:
    return {"name": value.secret_key_ref.name, "key": value.secret_key_ref.key}
