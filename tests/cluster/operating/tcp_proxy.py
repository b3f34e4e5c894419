"""A connection to the API server that can be cut or go silent."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_CHUNK = 65_536


class TcpProxy:
    """Forwards 127.0.0.1:`port` to an address, until told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._refuses = False
        threading.Thread(target=self._accept, name="tcp-proxy", daemon=True).start()

    def cut(self) -> None:
        """End all connections and take no new ones."""
        with self._lock:
            self._refuses = True
            for pair in self._pairs:
                pair.close()
            self._pairs.clear()

    def mend(self) -> None:
        """Take connections again."""
        with self._lock:
            self._refuses = False

    def silence(self) -> int:
        """Nothing comes through the present connections any more, though they stay open; returns how many there were.

        New ones work: as behind a router that forgot a connection.
        """
        with self._lock:
            for pair in self._pairs:
                pair.is_silent = True
            return len(self._pairs)

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._refuses:
                    client.close()
                    continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server)
            with self._lock:
                self._pairs = [known for known in self._pairs if not known.is_closed]
                self._pairs.append(pair)
            threading.Thread(target=pair.forward, daemon=True).start()


class _Pair:
    """One connection and its other half."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = (client, server)
        self.is_silent = False
        self.is_closed = False

    def forward(self) -> None:
        client, server = self._ends
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            with contextlib.suppress(OSError, ValueError):
                while True:
                    for key, _ in ready.select(timeout=1.0):
                        content = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]
                        if not content:
                            return self.close()
                        if not self.is_silent:
                            key.data.sendall(content)
                    if self.is_closed:
                        return None
        return self.close()

    def close(self) -> None:
        self.is_closed = True
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
