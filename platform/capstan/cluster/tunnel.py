"""A way from this machine to a Service of a cluster, by `kubectl port-forward`; that to the page lasts until Ctrl-C."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx

from capstan.errors import MissingToolError, NotAllowedError, NotFoundError, UnavailableError

AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Destination:
    """What a way leads to, in the words of its errors."""

    name: str
    absent: str
    """What is said where it is not there, and how it comes."""
    otherwise: str
    """How somebody without the rights gets there."""


PAGE = Destination(
    "the page",
    "has no page; `helm upgrade capstan charts/capstan --set page.enabled=true` brings it, --page-namespace names "
    "another namespace",
    "an Ingress to the page takes none of them",
)
_FORWARDS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@dataclass
class Tunnel:
    """An open way; what it leads to may change when a pod goes, its address does not."""

    command: tuple[str, ...]
    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def code(self, token: str) -> str:
        """A code that signs a browser in once; raises NotAllowedError, UnavailableError."""
        headers = {"authorization": f"Bearer {token}"}
        try:
            answer = httpx.post(
                f"{self.address}/api/session/code", headers=headers, timeout=15.0, trust_env=False
            )
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError("the page", f"does not answer: {error}") from error
        if answer.status_code == 401:
            raise NotAllowedError(f"the page does not let you in: {document.get('reason')}")
        if answer.status_code != 200:
            raise UnavailableError("the page", str(document.get("reason") or answer.status_code))
        return str(document["code"])

    def keep(self) -> None:
        """Until Ctrl-C: a way that ends is opened again at the same port."""
        try:
            while True:
                self.process.wait()
                time.sleep(AGAIN_SECONDS)
                self.process = _start(self.command, self.port)
                assert self.process.stdout is not None
                threading.Thread(target=_drain, args=(self.process.stdout,), daemon=True).start()
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def tunnel(
    context: str, namespace: str, service: str, port: int, *, local: int = 0, to: Destination = PAGE
) -> Iterator[Tunnel]:
    """Raises MissingToolError without kubectl, NotFoundError where the Service is not there, NotAllowedError where the
    kubeconfig's user may open no way to it, UnavailableError.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise MissingToolError("kubectl is not on PATH: https://kubernetes.io/docs/tasks/tools")
    command = (program, "--context", context, "-n", namespace, "port-forward", f"service/{service}")
    opened = Tunnel((*command, f":{port}"), _start((*command, f":{port}"), local), local)
    try:
        opened.port = _port_of(opened.process, namespace, to)
        yield opened
    finally:
        opened.close()


def _start(command: tuple[str, ...], local: int) -> subprocess.Popen[str]:
    *words, remote = command
    ports = f"{local or ''}{remote}"
    return subprocess.Popen(
        [*words, ports], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _port_of(process: subprocess.Popen[str], namespace: str, to: Destination) -> int:
    """The port of this machine, as kubectl says it when it listens."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.strip())
        found = _FORWARDS.search(line)
        if found is not None:
            # kubectl writes a line for each connection, and would stand still with a full pipe.
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            return int(found.group(1))
    words = " ".join(said)[-300:]
    # First, for a refusal may go on about a role that is not found.
    if "forbidden" in words.lower():
        raise NotAllowedError(
            f"you may open no way to {to.name}: in namespace {namespace} it takes the rights to get services, to get "
            f"and list pods, and to create pods/portforward; {to.otherwise}. {words}"
        )
    if "not found" in words.lower():
        raise NotFoundError(f"{namespace} {to.absent}: {words}")
    raise UnavailableError(to.name, f"kubectl port-forward: {words}")


def end_as_by_ctrl_c() -> None:
    """`kill` and a closed terminal end the way too: kubectl has a session of its own and would outlive the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # One that is ignored was meant to be, as by nohup.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _drain(said: IO[str]) -> None:
    for _ in said:
        pass
