"""The client of the API server over real HTTP: what passes is tried again, the rest is told in our own errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes import client

from capstan.adapters.kubernetes.client import KubeClient, Resource, without_own_retries
from capstan.errors import (
    CapstanError,
    ConflictError,
    ExistsError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)


@dataclass
class Asked:
    method: str
    path: str
    query: str
    content: str
    body: Any


@dataclass
class Answers:
    """What the server answers, in order; the last is repeated."""

    planned: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def then(self, status: int, body: Any = None, **headers: str) -> Answers:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.planned.append((status, {} if body is None else body, named))
        return self

    def refuse(self, status: int, message: str, **headers: str) -> Answers:
        return self.then(
            status, {"kind": "Status", "message": message, "reason": "X", "code": status}, **headers
        )

    def next(self) -> tuple[int, Any, dict[str, str]]:
        return self.planned.pop(0) if len(self.planned) > 1 else self.planned[0]


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def address(answers: Answers) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            path, _, query = self.path.partition("?")
            answers.asked.append(
                Asked(
                    self.command,
                    path,
                    query,
                    self.headers.get("Content-Type", ""),
                    json.loads(body) if body else None,
                )
            )
            status, content, headers = answers.next()
            if status == 0:
                self.connection.close()
                return
            text = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@dataclass
class Waits:
    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def kube(address: str, waits: Waits) -> KubeClient:
    settings = without_own_retries()
    settings.host = address
    return KubeClient(client.ApiClient(settings), sleep=waits)


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again_with_growing_waits(
    kube: KubeClient, answers: Answers, waits: Waits, status: int
) -> None:
    """FAULTS 6."""
    answers.refuse(status, "later").refuse(status, "later").then(200, POD)
    assert kube.get("Pod", "p", "n") == POD
    assert waits.seconds == [0.25, 0.5]
    assert kube.calls["GET", "pods"] == 3


def test_a_server_that_says_when_is_heard_but_not_for_ever(
    kube: KubeClient, answers: Answers, waits: Waits
) -> None:
    answers.refuse(429, "slow down", Retry_After="2").refuse(429, "slow down", Retry_After="600").then(
        200, POD
    )
    kube.get("Pod", "p", "n")
    assert waits.seconds == [2.0, 5.0]


def test_what_does_not_pass_after_four_tries_is_unavailable(
    kube: KubeClient, answers: Answers, waits: Waits
) -> None:
    answers.refuse(503, "the server is starting")
    with pytest.raises(UnavailableError, match=r"Kubernetes is unavailable.*the server is starting"):
        kube.get("Pod", "p", "n")
    assert len(answers.asked) == 4
    assert waits.seconds == [0.25, 0.5, 1.0]


def test_a_connection_that_breaks_is_tried_again(kube: KubeClient, answers: Answers) -> None:
    answers.then(0).then(200, POD)
    assert kube.get("Pod", "p", "n") == POD


def test_an_answer_that_ends_too_soon_is_tried_again(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, POD, Content_Length="5000").then(200, POD)
    assert kube.get("Pod", "p", "n") == POD


def test_a_log_is_followed_part_by_part(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, "one\ntwo\n")
    assert "".join(kube.follow_log("p", "n", container="c", tail=7)) == "one\ntwo\n"
    assert set(answers.asked[0].query.split("&")) == {"follow=true", "tailLines=7", "container=c"}


def test_a_server_that_is_not_there_is_unavailable(waits: Waits) -> None:
    settings = without_own_retries()
    settings.host = "http://127.0.0.1:1"
    with pytest.raises(UnavailableError, match="Kubernetes is unavailable"):
        KubeClient(client.ApiClient(settings), sleep=waits).get("Pod", "p", "n")
    assert len(waits.seconds) == 3


REFUSALS = {
    "missing right": (
        403,
        'pods "p" is forbidden: User "u" cannot get',
        NotAllowedError,
        "cannot get.*right",
    ),
    "no login": (401, "Unauthorized", NotAllowedError, "Unauthorized"),
    "conflict": (409, "the object has been modified", ConflictError, "read it again"),
    "invalid": (422, 'MLSystem "x" is invalid: spec.rollout', CapstanError, r"refuses .*spec\.rollout"),
    "no such path": (404, "not found", NotFoundError, "not found"),
}


@pytest.mark.parametrize(("status", "message", "error", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_told_in_our_own_words_and_not_tried_again(
    kube: KubeClient, answers: Answers, status: int, message: str, error: type[Exception], words: str
) -> None:
    answers.refuse(status, message)
    with pytest.raises(error, match=words):
        kube.create(dict(POD))
    assert len(answers.asked) == 1


TAKEN = {
    "taken": ("AlreadyExists", True),
    "a quota that others wrote meanwhile": ("Conflict", False),
}


@pytest.mark.parametrize(("reason", "exists"), TAKEN.values(), ids=TAKEN.keys())
def test_a_name_that_is_taken_is_told_apart_from_a_race(
    kube: KubeClient, answers: Answers, reason: str, exists: bool
) -> None:
    answers.then(409, {"kind": "Status", "reason": reason, "message": "the words of the API server"})
    with pytest.raises(ConflictError, match="the words of the API server") as raised:
        kube.create(dict(POD))
    assert isinstance(raised.value, ExistsError) is exists


def test_an_answer_that_is_no_json_is_still_an_error_of_ours(kube: KubeClient, answers: Answers) -> None:
    answers.then(403, "<html>proxy</html>")
    with pytest.raises(NotAllowedError, match="Forbidden"):
        kube.list("Pod", "n")


def test_what_is_not_there_is_none_and_needs_no_deletion(kube: KubeClient, answers: Answers) -> None:
    answers.refuse(404, 'pods "p" not found')
    assert kube.get("Pod", "p", "n") is None
    kube.delete("Pod", "p", "n")
    assert answers.asked[-1].body == {"propagationPolicy": "Background"}


def test_long_lists_are_read_page_by_page(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}})
    answers.then(200, {"items": [{"metadata": {"name": "b"}}], "metadata": {}})
    found = kube.list("MLSystem", "n", labels={"b": "2", "a": "1"})
    assert [(o["kind"], o["metadata"]["name"]) for o in found] == [("MLSystem", "a"), ("MLSystem", "b")]
    assert answers.asked[0].path == "/apis/capstan.dev/v1alpha1/namespaces/n/mlsystems"
    assert "labelSelector=a%3D1%2Cb%3D2" in answers.asked[0].query
    assert "continue=more" in answers.asked[1].query


def test_apply_owns_its_fields_and_takes_them(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, POD)
    kube.apply(dict(POD))
    (asked,) = answers.asked
    assert (asked.method, asked.path, asked.content) == (
        "PATCH",
        "/api/v1/namespaces/n/pods/p",
        "application/apply-patch+yaml",
    )
    assert {"fieldManager=capstan", "force=true"} <= set(asked.query.split("&"))
    assert asked.body == POD


def test_a_patch_is_a_merge_patch(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, POD)
    kube.patch("Pod", "p", "n", {"metadata": {"labels": {"a": None}}}, sub="status")
    (asked,) = answers.asked
    assert (asked.path, asked.content) == (
        "/api/v1/namespaces/n/pods/p/status",
        "application/merge-patch+json",
    )
    assert asked.body == {"metadata": {"labels": {"a": None}}}


def test_kinds_of_a_missing_definition_are_not_served(kube: KubeClient, answers: Answers) -> None:
    answers.then(200, {"resources": [{"name": "mlsystems"}]}).refuse(404, "not found")
    assert kube.serves("MLSystem")
    assert not kube.serves("SeldonDeployment")


def test_a_kind_that_is_not_known_here_is_told(kube: KubeClient, answers: Answers) -> None:
    with pytest.raises(NotFoundError, match="no kind that Capstan handles"):
        kube.create({"apiVersion": "v2", "kind": "Pod", "metadata": {"name": "p"}})


def test_paths_are_those_of_the_api() -> None:
    node = Resource("v1", "Node", "nodes", namespaced=False)
    assert node.path("n", "a") == "/api/v1/nodes/a"
    assert Resource("apps/v1", "Deployment", "deployments").crd_name == "deployments.apps"
