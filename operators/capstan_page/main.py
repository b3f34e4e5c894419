"""The command `python -m capstan_page`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from capstan.cluster.settings import read_settings
from capstan.errors import CapstanError
from capstan_page.app import METRICS_PORT, PORT, Options
from capstan_page.settings import PageSettings, read_page_settings
from capstan_page.wiring import wire_page


def main() -> int:
    """Run the page; 0 after it was told to stop, 1 if it can't run or its watches have ended."""
    parser = argparse.ArgumentParser(prog="python -m capstan_page", description=__doc__)
    parser.add_argument(
        "--settings",
        type=Path,
        default=os.environ.get("CAPSTAN_SETTINGS"),
        help="the operator's JSON file from the chart (default: CAPSTAN_SETTINGS)",
    )
    parser.add_argument(
        "--page",
        type=Path,
        default=os.environ.get("CAPSTAN_PAGE_SETTINGS"),
        help="the page's own JSON file (default: CAPSTAN_PAGE_SETTINGS; none: all defaults)",
    )
    parser.add_argument("--context", help="run outside the cluster, by this context of the kubeconfig file")
    parser.add_argument("--kubeconfig", help="run outside the cluster, by this file")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT)
    parser.add_argument("--log-level", default="INFO")
    given = parser.parse_args()
    if given.settings is None:
        parser.error("--settings FILE, or CAPSTAN_SETTINGS, is needed")
    logging.basicConfig(
        level=given.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for library in ("kopf", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        app = wire_page(
            read_settings(given.settings),
            read_page_settings(given.page) if given.page is not None else PageSettings(),
            Options(given.host, given.port, given.metrics_port),
            context=given.context,
            kubeconfig=given.kubeconfig,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: app.stop())
        return app.run()
    except CapstanError as error:
        print(f"capstan_page: {error}", file=sys.stderr)  # noqa: T201
        return 1
