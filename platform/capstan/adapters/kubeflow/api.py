"""The REST API of a Kubeflow Pipelines server, version v2beta1: just the calls that training needs, errors as ours.

KFP's own client is not used: it imports half of the SDK, and goes on without a token where it finds none.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx

from capstan.errors import CapstanError, ConflictError, NotFoundError, UnavailableError
from capstan.outages import answer_in_words, in_words

PART = "Kubeflow Pipelines"
AUDIENCE = "pipelines.kubeflow.org"
_ROOT = "/apis/v2beta1"
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
Json = dict[str, Any]


class KfpApi:
    """One server. Threads may share it.

    Raises UnavailableError when it is away or refuses the token, NotFoundError, ConflictError for what exists, and
    CapstanError for what it calls a mistake of ours.
    """

    def __init__(
        self, url: str, *, token: Path | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`token` is read anew for every call, for Kubernetes replaces it every hour; None: no authentication."""
        self._url = url.rstrip("/")
        self._token = token
        self._client = httpx.Client(base_url=self._url + _ROOT, timeout=_TIMEOUT, transport=transport)
        self._lock = threading.Lock()
        self._experiments: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        self._client.close()

    def pipeline(self, name: str, namespace: str, definition: bytes, version: str) -> Json:
        """Reference to this version of the pipeline; uploads what is missing, once."""
        pipeline = self._pipeline_id(name, namespace, definition)
        found = self._list(f"/pipelines/{pipeline}/versions", "pipeline_versions", "name", version)
        if not found:
            query = {"name": version, "pipelineid": pipeline}
            try:
                found = [self._upload("/pipelines/upload_version", query, definition, namespace)]
            except ConflictError:
                found = self._list(f"/pipelines/{pipeline}/versions", "pipeline_versions", "name", version)
        return {"pipeline_id": pipeline, "pipeline_version_id": found[0]["pipeline_version_id"]}

    def experiment(self, name: str, namespace: str) -> str:
        """Id of the experiment, which is made if it is missing."""
        with self._lock:
            known = self._experiments.get((name, namespace))
        if known is None:
            found = self.find_experiment(name, namespace)
            if found is None:
                body = {"display_name": name, "namespace": namespace}
                try:
                    made = self._call("POST", "/experiments", namespace, json=body)
                    found = str(made["experiment_id"])
                except ConflictError:
                    found = self.find_experiment(name, namespace)
            if found is None:
                raise UnavailableError(
                    PART,
                    f"it neither found nor made the experiment {name}; look into the log of its API server",
                )
            with self._lock:
                known = self._experiments.setdefault((name, namespace), found)
        return known

    def find_experiment(self, name: str, namespace: str) -> str | None:
        """Id of the experiment; None: there is none, so nothing ever ran in it."""
        found = self._list("/experiments", "experiments", "display_name", name, namespace=namespace)
        return str(found[0]["experiment_id"]) if found else None

    def create_run(self, body: Json, namespace: str) -> Json:
        return self._call("POST", "/runs", namespace, json=body)

    def find_run(self, name: str, experiment: str) -> Json | None:
        """The run of that display name, the oldest if somebody has doubled it, with its tasks."""
        found = self._list("/runs", "runs", "display_name", name, experiment_id=experiment)
        if not found:
            return None
        # Runs in a list lack their details.
        return self._call("GET", f"/runs/{found[0]['run_id']}", "")

    def terminate(self, run_id: str) -> None:
        self._call("POST", f"/runs/{run_id}:terminate", "")

    # -- one call

    def _pipeline_id(self, name: str, namespace: str, definition: bytes) -> str:
        try:
            found = self._call("GET", f"/pipelines/names/{name}", namespace, params={"namespace": namespace})
        except NotFoundError:
            query = {"name": name, "namespace": namespace}
            try:
                found = self._upload("/pipelines/upload", query, definition, namespace)
            except ConflictError:
                found = self._call(
                    "GET", f"/pipelines/names/{name}", namespace, params={"namespace": namespace}
                )
        return str(found["pipeline_id"])

    def _upload(self, path: str, query: dict[str, str], definition: bytes, namespace: str) -> Json:
        files = {"uploadfile": ("pipeline.yaml", definition, "application/yaml")}
        return self._call("POST", path, namespace, params=query, files=files)

    def _list(self, path: str, field: str, key: str, value: str, **query: str) -> list[Json]:
        """All entries whose `key` is `value`, oldest first."""
        predicate = {"operation": "EQUALS", "key": key, "string_value": value}
        params = {
            "page_size": "100",
            "sort_by": "created_at asc",
            "filter": json.dumps({"predicates": [predicate]}),
            **query,
        }
        answer = self._call("GET", path, query.get("namespace", ""), params=params)
        entries: list[Json] = answer.get(field) or []
        return entries

    def _call(self, method: str, path: str, namespace: str, **options: Any) -> Json:
        try:
            answer = self._client.request(method, path, headers=self._headers(), **options)
        except httpx.HTTPError as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        if answer.is_success:
            try:
                found: Json = answer.json() if answer.content else {}
            except ValueError as error:
                raise UnavailableError(PART, in_words(error, PART)) from error
            return found
        raise self._error(answer, method, path, namespace)

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        except OSError as error:
            raise UnavailableError(
                PART,
                f"its token {self._token} cannot be read ({error.strerror}); mount a projected ServiceAccount token of "
                f"audience {AUDIENCE} there",
            ) from error

    def _error(self, answer: httpx.Response, method: str, path: str, namespace: str) -> CapstanError:
        said = f"{method} {_ROOT}{path}: {answer_in_words(answer.status_code, answer.text, PART)}"
        code = answer.status_code
        if code == 401:
            return UnavailableError(
                PART, f"{said}; it takes ServiceAccount tokens of audience {AUDIENCE} only: set kfp_token"
            )
        if code == 403:
            return UnavailableError(
                PART,
                f"{said}; the operator's ServiceAccount needs get, list, create, terminate on runs, get, list, create "
                f"on pipelines, pipelines/versions and experiments of API group {AUDIENCE} in namespace "
                f"{namespace or 'of the system'}: bind the ClusterRole kubeflow-pipelines-edit to it there",
            )
        if code == 404:
            return NotFoundError(said)
        if code == 409:
            return ConflictError(said)
        if code == 429 or code >= 500:
            return UnavailableError(PART, said)
        if "/upload" in path:
            # KFP answers a forbidden upload as it answers a broken one.
            return CapstanError(
                f"{PART} refuses {said}; it may lack the right to create pipelines in {namespace}"
            )
        return CapstanError(f"{PART} refuses {said}")
