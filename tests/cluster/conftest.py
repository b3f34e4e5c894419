"""A real API server for every test of this folder, and namespaces that are gone afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.crds import definitions
from capstan.errors import NotFoundError

HERE = Path(__file__).parent
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
OURS = ("ModelRollout", "TrainingRun", "MLSystem")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("cluster")
    # The longest first: the other worker goes through the rest meanwhile.
    items.sort(key=lambda item: item.path.name != "test_closed_loop.py")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Workers share the cluster, but for tests that are `alone`."""
    with _the_cluster(exclusively=item.get_closest_marker("alone") is not None):
        return (yield)


@contextlib.contextmanager
def _the_cluster(*, exclusively: bool) -> Iterator[None]:
    folder = Path(tempfile.gettempdir())
    with (
        (folder / "capstan-cluster.lock").open("w") as cluster,
        (folder / "capstan-door.lock").open("w") as door,
    ):
        # Who waits for all others to leave stands in the door, or somebody would always be inside.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(cluster, fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Stories that tests have recorded, whether they passed or not."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "story" and report.when == "call":
                terminalreporter.section("the story that the cluster tells")
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session")
def kube() -> KubeClient:
    """The cluster that KUBECONFIG names, with Capstan's kinds; without one the tier fails instead of passing idly."""
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("KUBECONFIG names no cluster: set it to a kubeconfig file, such as that of `make kind`")
    client = KubeClient.from_kubeconfig()
    for document in definitions().values():
        client.apply(document)
    # A definition is served a moment after it is accepted.
    deadline = time.monotonic() + 30
    while not all(client.serves(kind) for kind in OURS):
        assert time.monotonic() < deadline, "the API server does not serve Capstan's kinds"
        time.sleep(0.2)
    return client


@pytest.fixture(scope="module")
def new_namespace(kube: KubeClient) -> Iterator[Callable[[], str]]:
    """Makes namespaces under Pod Security `restricted` that last until the end of the file's tests.

    What stands in them holds CPU that pods of the next file wait for.
    """
    made: list[str] = []

    def make() -> str:
        made.append(_made(kube))
        return made[-1]

    yield make
    for name in made:
        _remove(kube, name)


@pytest.fixture
def namespace(kube: KubeClient) -> Iterator[str]:
    """A namespace of this test alone, under Pod Security `restricted`."""
    name = _made(kube)
    yield name
    _remove(kube, name)


def _made(kube: KubeClient) -> str:
    name = f"capstan-test-{secrets.token_hex(4)}"
    kube.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(RESTRICTED)}}
    )
    return name


def _remove(kube: KubeClient, name: str) -> None:
    """Delete the namespace; finalizers of objects that no operator follows any more would keep it for ever.

    Objects are deleted before their finalizers go: an operator that is there would put them back.
    """
    for found in kube.list("MLSystem", name):
        kube.delete("MLSystem", found["metadata"]["name"], name)
        with contextlib.suppress(NotFoundError):
            kube.patch("MLSystem", found["metadata"]["name"], name, {"metadata": {"finalizers": None}})
    kube.delete("Namespace", name)
