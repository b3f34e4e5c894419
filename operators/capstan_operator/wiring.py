"""All adapters of one operator process; the only module here that constructs them."""

from __future__ import annotations

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.tokens import read_token
from capstan.cluster.wiring.systems import ClusterWiring
from capstan_operator.app import App, Options


def wire_operator(
    settings: ClusterSettings, options: Options, *, context: str | None = None, kubeconfig: str | None = None
) -> App:
    """The operator in its pod, or outside the cluster by a context of a kubeconfig file; nothing is started yet.

    Raises InvalidSpecError for settings whose files cannot be read, NotFoundError for a context that is not there.
    """
    outside = context is not None or kubeconfig is not None
    client = KubeClient.from_kubeconfig(context, kubeconfig) if outside else KubeClient.in_cluster()
    # Without a token every notification is refused: polling still finds the alerts.
    webhook = WebhookReceiver(read_token(settings.webhook_token, "webhook_token"))
    return App(client, settings, ClusterWiring, options, webhook)
