"""All adapters of one page process; the only module here that constructs them."""

from __future__ import annotations

import importlib
from dataclasses import replace

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.store import KubeStore
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.watching.cache import WatchedKube
from capstan.cluster.wiring.viewing import ViewingWiring
from capstan_page.access import ClusterAccess
from capstan_page.app import Options, PageApp
from capstan_page.reviews import Reviews
from capstan_page.sessions import Sessions
from capstan_page.settings import PageSettings
from capstan_page.systems import ClusterSystems


def wire_page(
    settings: ClusterSettings,
    page: PageSettings,
    options: Options,
    *,
    context: str | None = None,
    kubeconfig: str | None = None,
) -> PageApp:
    """The page in its pod, or outside the cluster by a context of a kubeconfig file; nothing is started yet.

    Raises InvalidSpecError for settings whose files cannot be read, NotFoundError for a context that is not there.
    """
    outside = context is not None or kubeconfig is not None
    client = KubeClient.from_kubeconfig(context, kubeconfig) if outside else KubeClient.in_cluster()
    # The page writes nothing by its own account, whatever rights somebody gives it.
    cache = WatchedKube(
        client, may_write=lambda: False, watched=options.watched, namespaces=settings.watch_namespaces
    )
    # Its import takes seconds, which the first person would wait for.
    importlib.import_module("mlflow")
    # A review is answered at once or not at all: a person waits for it.
    reviews = Reviews(client.impatient().create)
    access = ClusterAccess(
        reviews,
        Sessions.read(page.session_key, hours=page.session_hours),
        lambda token, namespace: KubeStore(client.with_token(token), namespace),
        hosts=page.hosts,
        proxy=page.proxy,
    )
    systems = ClusterSystems(cache, ViewingWiring(cache, settings, page.links))
    options = replace(options, prefix=page.prefix, namespaces=settings.watch_namespaces)
    return PageApp(client, cache, systems, access, reviews, options)
