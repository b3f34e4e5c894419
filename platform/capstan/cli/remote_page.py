"""What the page of a cluster tells of a system, for a command: it alone reads the registry there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import quote

import httpx
import typer

from capstan.cli.place import IN_A_CLUSTER
from capstan.cluster.places import Cluster
from capstan.cluster.tunnel import end_as_by_ctrl_c, tunnel
from capstan.errors import NotAllowedError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient

SERVICE = "capstan-page"
PORT = 80
TIMEOUT_SECONDS = 30.0
TOKEN_SECONDS = 600
Account = Annotated[
    str | None,
    typer.Option(
        "--account",
        help="ServiceAccount of the namespace to ask the page as; default: the token of the kubeconfig's own user.",
        show_default=False,
        rich_help_panel=IN_A_CLUSTER,
    ),
]
PageNamespace = Annotated[
    str, typer.Option("--page-namespace", help="Namespace of the page.", rich_help_panel=IN_A_CLUSTER)
]


def page_token(client: KubeClient, account: str | None, namespace: str, *, seconds: int) -> str:
    """Of a ServiceAccount a short-lived one, by TokenRequest; else that of the kubeconfig's user.

    Raises NotAllowedError, NotFoundError.
    """
    if account is not None:
        return client.request_token(account, namespace, seconds=seconds)
    header: str = client.configuration.get_api_key_with_prefix("authorization") or ""
    scheme, _, token = header.rpartition(" ")
    if scheme.lower() == "bearer" and token:
        return token
    raise NotAllowedError(
        "your kubeconfig's user has no token (it shows a certificate), and a page can't take certificates. Name a "
        "ServiceAccount that may see the systems: --namespace N --account NAME; `kubectl create serviceaccount NAME "
        "-n N` and `kubectl create rolebinding NAME -n N --clusterrole=edit --serviceaccount=N:NAME` make one"
    )


def metrics_of_versions(
    place: Cluster, system: str, *, account: str | None, page_namespace: str
) -> dict[str, dict[str, float]]:
    """The registered versions' metrics of their test windows, by version.

    Raises NotAllowedError, NotFoundError, MissingToolError, UnavailableError.
    """
    document: dict[str, Any] = _asked(place, system, "api/state", account, page_namespace).json()
    away = (document.get("away") or {}).get("registry")
    if away:
        raise UnavailableError("the registry", str(away))
    return {str(one["name"]): dict(one["metrics"]) for one in document["versions"]}


def card_in(place: Cluster, system: str, version: str, *, account: str | None, page_namespace: str) -> str:
    """The card of a version; raises as `metrics_of_versions` does."""
    return _asked(place, system, f"card/{quote(version, safe='')}", account, page_namespace).text


def data_report_in(
    place: Cluster, system: str, version: str, *, account: str | None, page_namespace: str
) -> str:
    """The report of the data of a version's run; raises as `metrics_of_versions` does."""
    return _asked(place, system, f"data/{quote(version, safe='')}", account, page_namespace).text


def _asked(
    place: Cluster, system: str, path: str, account: str | None, page_namespace: str
) -> httpx.Response:
    """What the page answers below the system's address."""
    token = page_token(cast("KubeClient", place.kube), account, place.namespace, seconds=TOKEN_SECONDS)
    end_as_by_ctrl_c()
    with tunnel(place.context, page_namespace, SERVICE, PORT) as way:
        return _answered(f"{way.address}/systems/{place.namespace}/{system}/{path}", token)


def _answered(address: str, token: str) -> httpx.Response:
    part = "the page"
    try:
        answer = httpx.get(
            address,
            headers={"authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        if answer.status_code == 200:
            return answer
        document: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UnavailableError(part, f"does not answer: {error}") from error
    reason = str(document.get("reason") or answer.status_code)
    if answer.status_code in (401, 403):
        raise NotAllowedError(f"the page does not let you in: {reason}")
    if answer.status_code == 404:
        raise NotFoundError(f"the page: {reason}")
    raise UnavailableError(part, reason)
