"""Runs a command in a pod and streams bytes into it, as `kubectl exec -i` does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from capstan.adapters.kubernetes.client import PART, KubeClient
from capstan.errors import CapstanError, NotAllowedError, NotFoundError, UnavailableError
from capstan.outages import in_words

_PATIENCE_SECONDS = 600.0
"""Seconds for which the command may go on after its last byte of input."""
_PIECE = 256 * 1024


def run_with_input(
    kube: KubeClient, namespace: str, pod: str, container: str, command: list[str], content: Iterable[bytes]
) -> str:
    """What the command wrote to its standard output.

    Its input is not closed at the end, which this protocol cannot do: the command must know where it ends. Raises
    CapstanError with what it wrote to its standard error if it fails, UnavailableError if the connection breaks,
    NotFoundError if the pod is gone, NotAllowedError if the user may run nothing in pods.
    """
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import stream
    from kubernetes.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL
    from websocket import WebSocketException

    # Streaming changes how a client talks as long as it lasts, so this one is used for nothing else.
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
        raise _broken(namespace, pod, error) from error
    _require_success(pod, wrote.get(ERROR_CHANNEL, ""), wrote.get(STDERR_CHANNEL, ""), broken)
    return wrote.get(STDOUT_CHANNEL, "")


def _send(session: Any, content: Iterable[bytes]) -> str:
    """Why not all input was taken; empty: all was. A failing command stops listening and says why on another
    channel.
    """
    from websocket import WebSocketException

    for piece in content:
        for start in range(0, len(piece), _PIECE):
            try:
                session.write_stdin(piece[start : start + _PIECE])
            except (WebSocketException, OSError) as error:
                return in_words(error, PART)
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


def _broken(namespace: str, pod: str, error: BaseException) -> CapstanError:
    """What came in place of a connection, or ended it, in words."""
    where, refused = f"pod {pod} in namespace {namespace}", _status_of(error)
    if refused in (401, 403):
        right = "the kubeconfig user lacks the right `create` on `pods/exec` in that namespace"
        return NotAllowedError(f"no command may be run in {where} (HTTP status {refused}): {right}")
    if refused == 404:
        return NotFoundError(f"{where} is gone; run the command again")
    words = in_words(error, where)
    if refused is not None:
        words = f"the API server opened no connection (HTTP status {refused})"
    return UnavailableError(PART, f"{where}: {words}; run the command again")


def _status_of(error: BaseException | None) -> int | None:
    """The HTTP status of a refused connection, which the library keeps in what its own error came from."""
    while error is not None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None


def _require_success(pod: str, ended: str, complained: str, broken: str) -> None:
    """Raise what the command said of its failure; `broken`: why it could not be sent all its input."""
    try:
        status: dict[str, Any] = json.loads(ended)
    except ValueError:
        status = {}
    complained = complained.strip()
    if not status:
        why = complained or broken or "it ended without a word"
        raise UnavailableError(PART, f"{pod}: the command was cut off: {why}"[:500])
    if status.get("status") == "Success":
        return
    raise CapstanError(f"{pod}: {complained or _failure(status, broken)}"[:2000])


def _failure(status: dict[str, Any], broken: str) -> str:
    """Failure of a command that wrote no complaint."""
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((cause.get("message") for cause in causes if cause.get("reason") == "ExitCode"), None)
    if code is not None:
        # 137 and 143: the kernel, for memory, or the kubelet has ended it.
        killed = "; it was killed, for its memory or with its pod" if code in ("137", "143") else ""
        return f"the command ended with code {code} and without a word{killed}"
    return f"the command could not be run{f': {broken}' if broken else ''}; see `kubectl describe pod`"
