"""The Kubernetes API as plain objects: read, create, apply server-side, delete; its errors become ours.

Objects are JSON as `kubectl get -o json` shows it. The generated classes of the `kubernetes` package are not used: they
drop what they do not know, and custom resources are all we have.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capstan.errors import (
    CapstanError,
    ConflictError,
    ExistsError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from capstan.outages import in_words
from capstan.ports.kube import EXISTS, FIELD_MANAGER, Object

PART = "Kubernetes"
_TIMEOUT_SECONDS = (5.0, 12.0)
"""Seconds to connect, and between two pieces of an answer. A kept connection may have gone silent; a new one then
works.
"""
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 5.0
_PASSING = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Resource:
    """One kind of object and where the API server keeps it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *(part for part in (name, sub) if part)])

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition that brings it."""
        return f"{self.plural}.{self.api_version.partition('/')[0]}"


_KNOWN = (
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "Pod", "pods"),
    ("v1", "Event", "events"),
    ("v1", "Namespace", "namespaces", False),
    ("v1", "Node", "nodes", False),
    ("apps/v1", "Deployment", "deployments"),
    ("batch/v1", "Job", "jobs"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("coordination.k8s.io/v1", "Lease", "leases"),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", False),
    ("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", False),
    ("authentication.k8s.io/v1", "TokenReview", "tokenreviews", False),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
    ("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", False),
    ("kubeflow.org/v1beta1", "ScheduledWorkflow", "scheduledworkflows"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    ("capstan.dev/v1alpha1", "MLSystem", "mlsystems"),
    ("capstan.dev/v1alpha1", "TrainingRun", "trainingruns"),
    ("capstan.dev/v1alpha1", "ModelRollout", "modelrollouts"),
    ("machinelearning.seldon.io/v1", "SeldonDeployment", "seldondeployments"),
    ("networking.istio.io/v1beta1", "VirtualService", "virtualservices"),
    ("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    ("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig", "alertmanagerconfigs"),
)
RESOURCES: Mapping[str, Resource] = {row[1]: Resource(*row) for row in _KNOWN}
"""By kind."""


def resource_of(document: Mapping[str, Any]) -> Resource:
    """Where an object of this apiVersion and kind is kept; raises NotFoundError for a kind that is not listed here."""
    found = RESOURCES.get(str(document.get("kind")))
    if found is None or found.api_version != document.get("apiVersion"):
        raise NotFoundError(
            f"{document.get('apiVersion')} {document.get('kind')} is no kind that Capstan handles"
        )
    return found


class KubeClient:
    """The Kube of a real API server. Threads may share it.

    What passes (429, 5xx, a broken connection) is tried again with backoff, then raised as UnavailableError; 403 is
    NotAllowedError and names the right that is missing; 409 is ConflictError, and ExistsError for a name that is taken.
    """

    def __init__(
        self,
        api: Any,
        *,
        sleep: Callable[[float], None] = time.sleep,
        tries: int = _TRIES,
        timeout_seconds: tuple[float, float] = _TIMEOUT_SECONDS,
    ) -> None:
        """`api` is a kubernetes.client.ApiClient; the timeouts are those to connect and to answer."""
        self._api = api
        self._sleep = sleep
        self._tries = tries
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self.calls: Counter[tuple[str, str]] = Counter()
        """Number of calls by method and plural name of the resource, retries included."""

    @classmethod
    def in_cluster(cls) -> KubeClient:
        """Client with the pod's own ServiceAccount; raises UnavailableError outside a cluster."""
        from kubernetes import client, config

        settings = without_own_retries()
        try:
            config.load_incluster_config(settings)
        except config.ConfigException as error:
            raise UnavailableError(PART, f"not inside a cluster: {error}") from error
        return cls(client.ApiClient(settings))

    @classmethod
    def from_kubeconfig(cls, context: str | None = None, file: str | None = None) -> KubeClient:
        """Client by the kubeconfig file (None: as kubectl finds it); raises NotFoundError if it or the context is
        missing.
        """
        from kubernetes import client, config

        settings = without_own_retries()
        try:
            config.load_kube_config(file, context=context, client_configuration=settings)
        except config.ConfigException as error:
            raise NotFoundError(
                f"kubeconfig: {error}; `kubectl config get-contexts` lists the contexts there are"
            ) from error
        return cls(client.ApiClient(settings))

    def impatient(self) -> KubeClient:
        """A client of the same server, with a connection of its own, that gives up soon and tries nothing twice."""
        from kubernetes import client

        return KubeClient(client.ApiClient(self._api.configuration), tries=1, timeout_seconds=(2.0, 2.5))

    def with_token(self, token: str) -> KubeClient:
        """A client of the same server by somebody's own bearer token, with none of this one's credentials."""
        from kubernetes import client

        settings, own = without_own_retries(), self._api.configuration
        settings.host, settings.ssl_ca_cert, settings.verify_ssl = own.host, own.ssl_ca_cert, own.verify_ssl
        settings.tls_server_name = own.tls_server_name
        settings.api_key = {"authorization": f"Bearer {token}"}
        return KubeClient(client.ApiClient(settings), sleep=self._sleep, tries=2)

    def request_token(self, account: str, namespace: str, *, seconds: int) -> str:
        """A token of a ServiceAccount that ends by itself; raises NotAllowedError, NotFoundError."""
        accounts = RESOURCES["ServiceAccount"]
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        made = self._call("POST", accounts, accounts.path(namespace, account, "token"), body=body)
        return str(made["status"]["token"])

    @property
    def configuration(self) -> Any:
        """Address and credentials, for a part that talks to the API server in its own way."""
        return self._api.configuration

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self._call("GET", RESOURCES[kind], RESOURCES[kind].path(namespace, name))
        except NotFoundError:
            return None

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return [document for page in self.pages(kind, namespace, labels=labels) for document in page]

    def pages(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        size: int = 500,
    ) -> Iterator[Sequence[Object]]:
        """Pages of `list`, so many objects at a time: thousands at once take much memory."""
        resource, query = RESOURCES[kind], {"limit": str(size)}
        if labels:
            query["labelSelector"] = ",".join(
                key if value == EXISTS else f"{key}={value}" for key, value in sorted(labels.items())
            )
        while True:
            page = self._call("GET", resource, resource.path(namespace), query=query)
            yield [
                {"apiVersion": resource.api_version, "kind": kind, **item} for item in page.get("items") or ()
            ]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def create(self, document: Object) -> Object:
        resource = resource_of(document)
        path = resource.path(document["metadata"].get("namespace"))
        return self._call("POST", resource, path, body=document, query={"fieldManager": FIELD_MANAGER})

    def replace(self, document: Object, *, sub: str | None = None) -> Object:
        resource, meta = resource_of(document), document["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], sub)
        return self._call("PUT", resource, path, body=document, query={"fieldManager": FIELD_MANAGER})

    def apply(self, document: Object, *, manager: str = FIELD_MANAGER) -> Object:
        resource, meta = resource_of(document), document["metadata"]
        return self._call(
            "PATCH",
            resource,
            resource.path(meta.get("namespace"), meta["name"]),
            body=document,
            query={"fieldManager": manager, "force": "true"},
            content="application/apply-patch+yaml",
        )

    def patch(
        self, kind: str, name: str, namespace: str | None, change: Object, *, sub: str | None = None
    ) -> Object:
        resource = RESOURCES[kind]
        return self._call(
            "PATCH",
            resource,
            resource.path(namespace, name, sub),
            body=change,
            query={"fieldManager": FIELD_MANAGER},
            content="application/merge-patch+json",
        )

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        resource = RESOURCES[kind]
        try:
            self._call(
                "DELETE", resource, resource.path(namespace, name), body={"propagationPolicy": "Background"}
            )
        except NotFoundError:
            return

    def pod_log(self, name: str, namespace: str, *, container: str | None = None, tail: int = 100) -> str:
        query = {"tailLines": str(tail), **({"container": container} if container else {})}
        pods = RESOURCES["Pod"]
        return self._text("GET", pods, pods.path(namespace, name, "log"), query=query)

    def follow_log(
        self, name: str, namespace: str, *, container: str | None = None, tail: int = 100
    ) -> Iterator[str]:
        """The log as it grows, until the container ends."""
        query = {
            "follow": "true",
            "tailLines": str(tail),
            **({"container": container} if container else {}),
        }
        pods = RESOURCES["Pod"]
        path = pods.path(namespace, name, "log")
        answer = self._asked("GET", pods, path, None, query, "application/json", (_TIMEOUT_SECONDS[0], None))
        for part in answer.stream():
            yield part.decode("utf-8", "replace")

    def serves(self, kind: str) -> bool:
        resource = RESOURCES[kind]
        try:
            path = resource.path().rpartition("/")[0]
            found = self._call("GET", resource, path)
        except NotFoundError:
            return False
        return any(entry.get("name") == resource.plural for entry in found.get("resources", ()))

    # -- one call

    def _call(self, method: str, resource: Resource, path: str, **options: Any) -> Object:
        answer: Object = json.loads(self._text(method, resource, path, **options) or "{}")
        return answer

    def _text(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> str:
        wait = _FIRST_WAIT_SECONDS
        for tried in range(1, self._tries + 1):
            try:
                return self._once(method, resource, path, body, query or {}, content)
            except UnavailableError as error:
                if tried == self._tries:
                    raise
                after = getattr(error, "retry_after", None)
                self._sleep(min(after or wait, _LONGEST_WAIT_SECONDS))
                wait *= 2
        raise AssertionError("unreachable")

    def _once(
        self,
        method: str,
        resource: Resource,
        path: str,
        body: Object | None,
        query: Mapping[str, str],
        content: str,
    ) -> str:
        from urllib3.exceptions import HTTPError

        answer = self._asked(method, resource, path, body, query, content, self._timeout_seconds)
        try:
            text: str = answer.data.decode("utf-8", "replace")
        except (HTTPError, OSError) as error:
            raise _broken(error) from error
        return text

    def _asked(
        self,
        method: str,
        resource: Resource,
        path: str,
        body: Object | None,
        query: Mapping[str, str],
        content: str,
        timeout_seconds: tuple[float, float | None],
    ) -> Any:
        """The answer, whose body is not read yet."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        with self._lock:
            self.calls[method, resource.plural] += 1
        try:
            return self._api.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=timeout_seconds,
            )
        except ApiException as error:
            raise _translated(error, method, path) from error
        except (HTTPError, OSError) as error:
            raise _broken(error) from error


def without_own_retries() -> Any:
    """A fresh configuration whose HTTP library tries nothing again by itself.

    It would sleep for as long as a server's Retry-After says, unseen, before this client hears of it.
    """
    from kubernetes import client

    settings = client.Configuration()
    settings.retries = False
    return settings


def _broken(error: Exception) -> UnavailableError:
    return UnavailableError(PART, in_words(error, PART))


def _translated(error: Any, method: str, path: str) -> CapstanError:
    try:
        answer = json.loads(error.body)
        said, reason = str(answer.get("message") or error.reason), answer.get("reason")
    except (TypeError, ValueError, AttributeError):
        said, reason = str(error.reason), None
    where = f"{method} {path}: {said}"[:1000]
    if error.status == 404:
        return NotFoundError(where)
    if error.status == 409 and reason == "AlreadyExists":
        return ExistsError(where)
    if error.status == 409:
        return ConflictError(f"{where}; read it again")
    if error.status in (401, 403):
        return NotAllowedError(f"{where}; the ServiceAccount or kubeconfig user lacks this right")
    if error.status in _PASSING or not error.status:
        unavailable = UnavailableError(PART, where)
        after = (error.headers or {}).get("Retry-After", "")
        unavailable.retry_after = float(after) if str(after).isdigit() else None  # type: ignore[attr-defined]
        return unavailable
    return CapstanError(f"the API server refuses {where}")
