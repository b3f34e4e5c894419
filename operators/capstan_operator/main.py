"""The command `capstan-operator`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from capstan.cluster.settings import read_settings
from capstan.errors import CapstanError
from capstan_operator.app import Options, new_identity
from capstan_operator.web import PORT
from capstan_operator.wiring import wire_operator


def main() -> int:
    """Run the operator; 0 after it was told to stop, 1 if it can't run or has lost its Lease."""
    parser = argparse.ArgumentParser(prog="capstan-operator", description=__doc__)
    parser.add_argument(
        "--settings",
        type=Path,
        default=os.environ.get("CAPSTAN_SETTINGS"),
        help="JSON file from the chart (default: CAPSTAN_SETTINGS)",
    )
    parser.add_argument("--context", help="run outside the cluster, by this context of the kubeconfig file")
    parser.add_argument("--kubeconfig", help="run outside the cluster, by this file")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--threads", type=int, default=8, help="how many systems are looked at at a time")
    parser.add_argument("--log-level", default="INFO")
    options = parser.parse_args()
    if options.settings is None:
        parser.error("--settings FILE, or CAPSTAN_SETTINGS, is needed")
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # Metrics and Events say what a line per request would say.
    for library in ("kopf", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        settings = read_settings(options.settings)
        app = wire_operator(
            settings,
            Options(new_identity(_name()), port=options.port, threads=options.threads),
            context=options.context,
            kubeconfig=options.kubeconfig,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: app.stop())
        return app.run()
    except CapstanError as error:
        print(f"capstan-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _name() -> str:
    return os.environ.get("POD_NAME") or socket.gethostname()
