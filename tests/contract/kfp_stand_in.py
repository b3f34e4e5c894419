"""A stand-in for the KFP API server, version v2beta1, that holds callers to KFP's published API and really runs steps.

Requests and answers are checked against the models that KFP generates from its API definition (`kfp-server-api`): an
unknown field or a wrong type is refused, as the server does, and besides an unknown parameter, which the server passes
over. The uploaded YAML's steps run as processes of this machine. It was compared by hand with a real server 2.17.0 in
single-user and multi-user mode, and does no more than training needs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api as published
import yaml
from contract.kfp_published import RefusedError, check, parameters_of

ROOT = "/apis/v2beta1"
RUNNER = Path(__file__).with_name("kfp_run_yaml.py")
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
Json = dict[str, Any]


class KfpStandIn:
    """One server on a free port; `with KfpStandIn(folder) as kfp: kfp.url`."""

    def __init__(self, folder: Path, *, token: str = "", may: bool = True) -> None:
        """`token` is the one that is taken; empty: single-user mode, no authentication. `may`: it has rights."""
        self.folder = folder
        self.token = token
        self.may = may
        self.away = False
        self.forget_next_answer = False
        self.uploads = 0
        self.calls: list[str] = []
        self.pipelines: dict[str, Json] = {}
        self.versions: dict[str, Json] = {}
        self.experiments: dict[str, Json] = {}
        self.runs: dict[str, Json] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.answer(self)

            do_POST = do_GET

            def log_message(self, format: str, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> KfpStandIn:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for process in self._processes.values():
            _end(process)

    # -- HTTP

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        parts = urlsplit(request.path)
        self.calls.append(f"{request.command} {parts.path.removeprefix(ROOT)}")
        try:
            if self.away:
                raise RefusedError(503, "no healthy upstream")
            with self._lock:
                self._authorise(request)
                status, said = 200, self._handle(request, parts.path, dict(parse_qsl(parts.query)), body)
        except RefusedError as error:
            status = error.status
            said = {"error": str(error), "code": _CODES[status], "message": str(error), "details": []}
            if "/upload" in parts.path:
                said = {"error_message": str(error), "error_details": str(error)}
        if self.forget_next_answer and request.command == "POST" and parts.path.endswith("/runs"):
            self.forget_next_answer = False
            request.connection.close()
            return
        content = json.dumps(said).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _authorise(self, request: BaseHTTPRequestHandler) -> None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise RefusedError(401, "Request header error: there is no user identity header")
        if not self.may:
            raise RefusedError(403, "User 'system:serviceaccount:capstan-system:capstan' is not authorized")

    def _handle(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> Json:
        key = f"{request.command} {path.removeprefix(ROOT)}"
        for pattern, operation, handle in self._routes():
            if found := re.fullmatch(pattern, key):
                unknown = set(query) - parameters_of(operation)
                if unknown:
                    raise RefusedError(400, f"unknown parameters {sorted(unknown)}")
                content = body if "/upload" in path else json.loads(body) if body else {}
                answer: Json = handle(
                    *found.groups(),
                    query=query,
                    content=content,
                    kind=request.headers.get("Content-Type", ""),
                )
                return answer
        raise RefusedError(404, f"{key}: Not Found")

    def _routes(self) -> list[tuple[str, Callable[..., Any], Callable[..., Json]]]:
        pipelines, runs = published.PipelineServiceApi, published.RunServiceApi
        experiments, uploads = published.ExperimentServiceApi, published.PipelineUploadServiceApi
        name = "([^/:]+)"
        return [
            ("POST /pipelines/upload", uploads.upload_pipeline, self._upload),
            ("POST /pipelines/upload_version", uploads.upload_pipeline_version, self._upload_version),
            (
                f"GET /pipelines/names/{name}",
                pipelines.pipeline_service_get_pipeline_by_name,
                self._pipeline_named,
            ),
            (
                f"GET /pipelines/{name}/versions",
                pipelines.pipeline_service_list_pipeline_versions,
                self._list_versions,
            ),
            ("GET /experiments", experiments.experiment_service_list_experiments, self._list_experiments),
            ("POST /experiments", experiments.experiment_service_create_experiment, self._create_experiment),
            ("GET /runs", runs.run_service_list_runs, self._list_runs),
            ("POST /runs", runs.run_service_create_run, self._create_run),
            (f"GET /runs/{name}", runs.run_service_get_run, self._get_run),
            (f"POST /runs/{name}:terminate", runs.run_service_terminate_run, self._terminate),
        ]

    # -- pipelines

    def _upload(self, *, query: dict[str, str], content: bytes, kind: str) -> Json:
        namespace = query.get("namespace", "") if self.token else ""
        if any(
            (one["name"], one["namespace"]) == (query["name"], namespace) for one in self.pipelines.values()
        ):
            raise RefusedError(409, "Failed to create a pipeline and a pipeline version")
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "name": query["name"],
            "display_name": query["name"],
            "namespace": namespace,
            "created_at": _now(),
        }
        self.pipelines[made["pipeline_id"]] = made
        self._keep_version(made["pipeline_id"], query["name"], content, kind)
        return check("V2beta1Pipeline", made)

    def _upload_version(self, *, query: dict[str, str], content: bytes, kind: str) -> Json:
        self._known(self.pipelines, query.get("pipelineid", ""), 400)
        return self._keep_version(query["pipelineid"], query["name"], content, kind)

    def _keep_version(self, pipeline: str, name: str, content: bytes, kind: str) -> Json:
        if any((one["pipeline_id"], one["name"]) == (pipeline, name) for one in self.versions.values()):
            raise RefusedError(
                409, "Failed to create a pipeline version. The pipeline version already exists"
            )
        self.uploads += 1
        definition = _form_file(content, kind)
        documents = list(yaml.safe_load_all(definition))
        if not {"pipelineInfo", "root", "deploymentSpec"} <= set(documents[0]):
            raise RefusedError(400, "Failed to create a pipeline version: unknown template format")
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "name": name,
            "display_name": name,
            "created_at": _now(),
        }
        self.versions[made["pipeline_version_id"]] = made
        (self.folder / f"{made['pipeline_version_id']}.yaml").write_bytes(definition)
        return check("V2beta1PipelineVersion", made)

    def _pipeline_named(self, name: str, *, query: dict[str, str], **_: Any) -> Json:
        namespace = query.get("namespace", "") if self.token else ""
        for one in self.pipelines.values():
            if (one["name"], one["namespace"]) == (name, namespace):
                return one
        raise RefusedError(404, f"Pipeline {name} not found")

    def _list_versions(self, pipeline: str, *, query: dict[str, str], **_: Any) -> Json:
        ours = [one for one in self.versions.values() if one["pipeline_id"] == pipeline]
        return check(
            "V2beta1ListPipelineVersionsResponse", {"pipeline_versions": _filtered(ours, query, ("name",))}
        )

    # -- experiments

    def _list_experiments(self, *, query: dict[str, str], **_: Any) -> Json:
        if self.token and not query.get("namespace"):
            raise RefusedError(400, "Resource cannot have an empty namespace in multi-user mode")
        found = _filtered(list(self.experiments.values()), query, ("display_name",))
        return check("V2beta1ListExperimentsResponse", {"experiments": found})

    def _create_experiment(self, *, content: Json, **_: Any) -> Json:
        check("V2beta1Experiment", content, "experiment")
        if any(one["display_name"] == content["display_name"] for one in self.experiments.values()):
            raise RefusedError(409, "Already exist error: the name is already used")
        made = {**content, "experiment_id": str(uuid.uuid4()), "created_at": _now()}
        self.experiments[made["experiment_id"]] = made
        return check("V2beta1Experiment", made)

    # -- runs

    def _list_runs(self, *, query: dict[str, str], **_: Any) -> Json:
        ours = [one for one in self.runs.values() if one["experiment_id"] == query.get("experiment_id")]
        listed = [
            {name: value for name, value in self._look(one).items() if name != "run_details"} for one in ours
        ]
        return check("V2beta1ListRunsResponse", {"runs": _filtered(listed, query, ("display_name",))})

    def _create_run(self, *, content: Json, **_: Any) -> Json:
        check("V2beta1Run", content, "run")
        if not content.get("display_name"):
            raise RefusedError(400, "The run name is empty. Please specify a valid name")
        self._known(self.experiments, content["experiment_id"], 404)
        version = content["pipeline_version_reference"]["pipeline_version_id"]
        definition = self.folder / f"{self._known(self.versions, version, 404)['pipeline_version_id']}.yaml"
        wanted = next(yaml.safe_load_all(definition.read_text()))["root"]["inputDefinitions"]["parameters"]
        given = content["runtime_config"]["parameters"]
        if set(wanted) != set(given):
            raise RefusedError(400, f"parameters {sorted(given)} do not match {sorted(wanted)}")
        made = {
            **content,
            "run_id": str(uuid.uuid4()),
            "state": "PENDING",
            "storage_state": "AVAILABLE",
            "created_at": _now(),
            "finished_at": "1970-01-01T00:00:00Z",
            "state_history": [{"update_time": _now(), "state": "PENDING"}],
        }
        self.runs[made["run_id"]] = made
        self._start(made, definition, given)
        return check("V2beta1Run", made)

    def _get_run(self, run_id: str, **_: Any) -> Json:
        run = self._look(self._known(self.runs, run_id, 404))
        run["run_details"] = {"task_details": self._tasks(run)}
        return check("V2beta1Run", run)

    def _terminate(self, run_id: str, **_: Any) -> Json:
        run = self._look(self._known(self.runs, run_id, 404))
        if run["state"] in _ENDED:
            raise RefusedError(400, f"Failed to terminate run {run_id}: its state is {run['state']}")
        self._move(run, "CANCELING")
        threading.Thread(target=_end, args=(self._processes[run_id],), daemon=True).start()
        return {}

    def _start(self, run: Json, definition: Path, arguments: Json) -> None:
        folder = self.folder / run["run_id"]
        folder.mkdir()
        (folder / "arguments.json").write_text(json.dumps(arguments))
        with (folder / "log").open("wb") as log:
            self._processes[run["run_id"]] = subprocess.Popen(
                [sys.executable, str(RUNNER), str(definition), str(folder / "arguments.json"), str(folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )

    def _look(self, run: Json) -> Json:
        code = self._processes[run["run_id"]].poll()
        if run["state"] == "PENDING" and self._tasks(run):
            self._move(run, "RUNNING")
        if code is not None and run["state"] not in _ENDED:
            cancelled = run["state"] == "CANCELING"
            self._move(run, "CANCELED" if cancelled else "SUCCEEDED" if code == 0 else "FAILED")
            run["finished_at"] = _now()
        return run

    def _move(self, run: Json, state: str) -> None:
        run["state"] = state
        run["state_history"].append({"update_time": _now(), "state": state})

    def _tasks(self, run: Json) -> list[Json]:
        """As the server tells them: a driver before each step, and steps by the names of their tasks."""
        log = re.sub(r"\x1b\[[0-9;]*m", "", (self.folder / run["run_id"] / "log").read_text())
        tasks: list[Json] = []
        for name, status in re.findall(
            r"Executing task '([\w-]+)'|Task '(?:[\w-]+)' finished with status (\w+)", log
        ):
            if name:
                # As the templates that the server makes are called.
                made = (name,) if name == "importer" else (f"{name}-driver", name)
                tasks += [
                    {
                        "run_id": run["run_id"],
                        "task_id": str(uuid.uuid4()),
                        "display_name": task,
                        "create_time": _now(),
                        "start_time": run["created_at"],
                        "end_time": "1970-01-01T00:00:00Z",
                        "state": "SUCCEEDED" if task != name else "RUNNING",
                    }
                    for task in made
                ]
            else:
                running = next((one for one in tasks if one["state"] == "RUNNING"), None)
                if running is not None:
                    running["state"] = "SUCCEEDED" if status == "SUCCESS" else "FAILED"
                    running["end_time"] = _now()
        return tasks

    @staticmethod
    def _known(entries: dict[str, Json], key: str, status: int) -> Json:
        if key not in entries:
            raise RefusedError(status, f"ResourceNotFoundError: {key} not found")
        return entries[key]


def _filtered(entries: list[Json], query: dict[str, str], fields: tuple[str, ...]) -> list[Json]:
    wanted = json.loads(query.get("filter", "{}"))
    check("V2beta1Filter", wanted, "filter")
    for predicate in wanted.get("predicates", ()):
        if predicate["key"] not in fields:
            raise RefusedError(400, f"no support for filtering on unrecognized field {predicate['key']!r}")
        assert predicate["operation"] == "EQUALS"
        entries = [one for one in entries if one.get(predicate["key"]) == predicate["string_value"]]
    return entries[: int(query.get("page_size") or 20)]


def _form_file(body: bytes, kind: str) -> bytes:
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    for part in message.walk():
        if part.get_param("name", header="content-disposition") == "uploadfile":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise RefusedError(400, "Failed to read pipeline from file")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
