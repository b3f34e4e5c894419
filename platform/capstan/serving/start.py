"""Starts one model version: BentoML's own worker without the supervisor that `bentoml serve` puts above it.

`bentoml serve BENTO` serves the same Bento the same way. Its supervisor only restarts the worker, which Capstan's own
supervisor and Kubernetes do as well, and it costs 90 MB and half of the start-up time.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from capstan.artifacts.content import verify_content
from capstan.domain.versions import Digest
from capstan.errors import CapstanError, PortInUseError

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 3600
"""Longer than any gateway keeps an idle connection: the side that sends requests must be the one that closes."""
GRACE_SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify the Bento's digest if one is given, listen, serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m capstan.serving.start", description=__doc__)
    parser.add_argument("bento", type=Path, help="folder of a Bento")
    parser.add_argument("--host", default=os.environ.get("BENTOML_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENTOML_PORT", "3000")))
    options = parser.parse_args(arguments)
    try:
        # Before anything of it is imported: bento.yaml names the module that becomes the service.
        digest = os.environ.pop("CAPSTAN_DIGEST", None)
        if digest:
            verify_content(options.bento, Digest(digest))
        listener = _listen(options.host, options.port)
    except CapstanError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    _serve(options.bento.resolve(), listener)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise PortInUseError(f"{host}:{port}: {error.strerror}; choose another by --port") from error
    return listener


def _serve(bento: Path, listener: socket.socket) -> None:
    from _bentoml_impl.worker.service import main as worker  # type: ignore[import-untyped]

    os.chdir(bento)
    options = {
        "--fd": listener.detach(),
        "--worker-id": 1,
        "--backlog": BACKLOG,
        "--timeout-keep-alive": KEEP_ALIVE_SECONDS,
        "--timeout-graceful-shutdown": GRACE_SECONDS,
    }
    worker.main(
        args=[str(bento), *(text for name, value in options.items() for text in (name, str(value)))],
        prog_name="capstan.serving.start",
        standalone_mode=False,
    )


if __name__ == "__main__":
    main()
