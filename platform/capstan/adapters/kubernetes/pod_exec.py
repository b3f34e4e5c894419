"""Runs a command in a pod and streams bytes into it, as `kubectl exec -i` does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from capstan.adapters.kubernetes.client import PART, KubeClient
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
            broken = _send(session, content)
            wrote = _read(session.sock)
        finally:
            session.close()
    except (ApiException, WebSocketException, OSError) as error:
        raise UnavailableError(PART, f"{pod}: the connection broke: {error}"[:500]) from error
    _require_success(pod, wrote.get(ERROR_CHANNEL, ""), wrote.get(STDERR_CHANNEL, "") or broken)
    return wrote.get(STDOUT_CHANNEL, "")


def _send(session: Any, content: Iterable[bytes]) -> str:
    """Why not all was taken; empty: all was. A command that fails stops listening, and says why on another channel."""
    from websocket import WebSocketException

    for piece in content:
        for start in range(0, len(piece), _PIECE):
            try:
                session.write_stdin(piece[start : start + _PIECE])
            except (WebSocketException, OSError) as error:
                return str(error)
    return ""


def _read(socket: Any) -> dict[int, str]:
    """All that comes until the other side closes, by channel.

    Not by the session's own `run_forever`: it waits for the socket while the last frames lie in the TLS layer already.
    """
    from websocket import ABNF

    socket.settimeout(_PATIENCE_SECONDS)
    heard: dict[int, bytes] = {}
    while True:
        code, frame = socket.recv_data_frame(True)
        if code == ABNF.OPCODE_CLOSE:
            return {channel: text.decode("utf-8", "replace") for channel, text in heard.items()}
        if code in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
            channel = frame.data[0]
            heard[channel] = heard.get(channel, b"") + frame.data[1:]


def _require_success(pod: str, ended: str, complained: str) -> None:
    status: dict[str, Any] = json.loads(ended) if ended.startswith("{") else {}
    if not status:
        raise UnavailableError(PART, f"{pod}: the command was cut off {complained}".strip()[:500])
    if status.get("status") != "Success":
        raise CapstanError(f"{pod}: {complained.strip() or status.get('message')}"[:2000])
