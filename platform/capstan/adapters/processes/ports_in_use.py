"""Free ports for child processes, and who holds one that is taken."""

from __future__ import annotations

import contextlib
import random
import socket
import threading

import psutil

from capstan.errors import PortInUseError

# These are below Linux's ephemeral range, so no outgoing connection takes a port before its server binds it.
FIRST_PORT, LAST_PORT = 20_000, 31_999
_handed_out: set[int] = set()
_lock = threading.Lock()


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on now; this process never hands the same one out twice."""
    with _lock:
        for port in random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT + 1), 400):
            if port not in _handed_out and is_free(port, host):
                _handed_out.add(port)
                return port
    raise PortInUseError(f"no free port on {host} between {FIRST_PORT} and {LAST_PORT}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on it now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def require_free(port: int, setting: str, host: str = "127.0.0.1") -> None:
    """Raises PortInUseError that names the holder and `setting`, which moves the port, if it is taken."""
    if not is_free(port, host):
        raise PortInUseError(
            f"{host}:{port} is in use{holder(port)}; stop that, or choose another port by {setting}"
        )


def holder(port: int) -> str:
    """` by 'envoy' (process 123)`, or nothing where the system does not tell."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="inet"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()!r} (process {connection.pid})"
    return ""
