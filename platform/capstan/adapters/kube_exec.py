"""Runs a command in a pod and streams bytes into it, as `kubectl exec -i` does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from capstan.adapters.kube_client import PART, KubeClient
from capstan.errors import CapstanError, UnavailableError

_PATIENCE_SECONDS = 600.0
"""So long the command may go on after its last byte of input."""
_PIECE = 256 * 1024


def run_with_input(
    kube: KubeClient, namespace: str, pod: str, container: str, command: list[str], content: Iterable[bytes]
) -> str:
    """What the command wrote to its standard output.

    Its input is not closed at the end, which this protocol cannot do: the command must know where it ends. Raises
    CapstanError with what it wrote to its standard error if it fails, UnavailableError if the connection breaks.
    """
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import stream
    from kubernetes.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL
    from websocket import WebSocketException

    # A client of its own: streaming changes how a client talks while it lasts.
    core = client.CoreV1Api(client.ApiClient(kube.configuration))
    try:
        session = stream(
            core.connect_get_namespaced_pod_exec,
            pod,
            namespace,
            container=container,
            command=command,
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        try:
            for piece in content:
                for start in range(0, len(piece), _PIECE):
                    session.write_stdin(piece[start : start + _PIECE])
                session.update(timeout=0)
                if not session.is_open():
                    break
            session.run_forever(timeout=_PATIENCE_SECONDS)
            wrote = session.read_channel(STDOUT_CHANNEL, timeout=0)
            complained = session.read_channel(STDERR_CHANNEL, timeout=0)
            ended = session.read_channel(ERROR_CHANNEL, timeout=0)
        finally:
            session.close()
    except (ApiException, WebSocketException, OSError) as error:
        raise UnavailableError(PART, f"{pod}: the connection broke: {error}"[:500]) from error
    _require_success(pod, ended, complained)
    return str(wrote)


def _require_success(pod: str, ended: str, complained: str) -> None:
    status: dict[str, Any] = json.loads(ended) if ended.startswith("{") else {}
    if not status:
        raise UnavailableError(PART, f"{pod}: the command was cut off {complained}".strip()[:500])
    if status.get("status") != "Success":
        raise CapstanError(f"{pod}: {complained.strip() or status.get('message')}"[:2000])
