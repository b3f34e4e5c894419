"""The people of a file as Alertmanager knows them: its own receivers, with secrets in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capstan.spec.receivers import Receiver
from capstan.spec.secrets import ValueFrom

Json = dict[str, Any]
GROUPS: Mapping[str, Any] = {
    "group_by": ["alertname", "system"],
    "group_wait": "10s",
    "group_interval": "5m",
    "repeat_interval": "4h",
}
"""People are told once of an alert of several versions, and again after some hours."""


@dataclass(frozen=True)
class People:
    """Whom one system tells."""

    receivers: Sequence[Receiver] = ()
    secrets: Path = Path()
    """Folder with a file NAME/KEY for each secret."""
    namespace: str | None = None
    """Of the system in a cluster, where others may be called as it is; None: on one machine."""

    def routes(self, system: str) -> list[Json]:
        """Below the root, which the loop's own notifications have."""
        own = [f'system="{system}"', *([] if self.namespace is None else [f'namespace="{self.namespace}"'])]
        return [
            {
                "receiver": f"{system}/{receiver.name}",
                "matchers": [*own, f'severity=~"{severities(receiver)}"'],
                "continue": True,
                **GROUPS,
            }
            for receiver in self.receivers
        ]

    def documents(self, system: str) -> list[Json]:
        """Elements of `receivers` in alertmanager.yml."""
        return [
            {"name": f"{system}/{receiver.name}", **self._document(receiver)} for receiver in self.receivers
        ]

    def _file(self, value: ValueFrom) -> str:
        secret = value.secret_key_ref
        return str(self.secrets.absolute() / secret.name / secret.key)

    def _document(self, receiver: Receiver) -> Json:
        if receiver.webhook is not None:
            webhook: Json = {"url": receiver.webhook.url, "send_resolved": True}
            if receiver.webhook.token_from is not None:
                token = {"type": "Bearer", "credentials_file": self._file(receiver.webhook.token_from)}
                webhook["http_config"] = {"authorization": token}
            return {"webhook_configs": [webhook]}
        if receiver.slack is not None:
            slack: Json = {
                "api_url_file": self._file(receiver.slack.url_from),
                "send_resolved": True,
                **SLACK,
            }
            if receiver.slack.channel is not None:
                slack["channel"] = receiver.slack.channel
            return {"slack_configs": [slack]}
        email = receiver.email
        assert email is not None
        mail: Json = {
            "to": email.to,
            "from": email.sender,
            "smarthost": email.server,
            "require_tls": email.require_tls,
            "send_resolved": True,
        }
        if email.username is not None:
            mail["auth_username"] = email.username
        if email.password_from is not None:
            mail["auth_password_file"] = self._file(email.password_from)
        return {"email_configs": [mail]}


SLACK: Mapping[str, str] = {
    "title": "{{ .Status | toUpper }} {{ .CommonLabels.alertname }} of {{ .CommonLabels.system }}",
    "text": "{{ range .Alerts }}{{ .Annotations.summary }}\n`{{ .Annotations.runbook }}`\n{{ end }}",
}
"""What a channel reads; templates of Alertmanager."""


def severities(receiver: Receiver) -> str:
    """Regex of the severities that it is told of."""
    return "critical" if receiver.severity == "critical" else "warning|critical"
