"""The combiner as a process of its own: `python -m capstan.serving.combiner.process --config FILE`.

In a pod it gets the same settings by `--json TEXT`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from capstan.ports.combining import COMBINER
from capstan.serving.combiner.app import CombinerApp
from capstan.serving.payload_log import PayloadLog


@dataclass(frozen=True)
class CombinerConfig:
    """Where the combiner listens, and where its payloads go."""

    port: int
    system: str
    collector_url: str
    token: str
    """File of the internal token."""
    event_time_header: bool = False
    """Only in a replay: a header of each request says its event time."""
    host: str = "127.0.0.1"


def serve(config: CombinerConfig) -> None:
    """Listen until told to stop; what was answered is logged before the end."""
    log = PayloadLog(
        collector_url=config.collector_url,
        source=f"/capstan/{config.system}/{COMBINER}",
        version=COMBINER,
        token_file=Path(config.token),
    )
    uvicorn.run(
        CombinerApp(config.system, log, event_time_header=config.event_time_header),
        host=config.host,
        port=config.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        # The gateway ends an idle connection, so that no request meets the end of one.
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    place = arguments.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", type=Path)
    place.add_argument("--json")
    given = arguments.parse_args()
    serve(CombinerConfig(**json.loads(given.json or given.config.read_bytes())))


if __name__ == "__main__":
    main()
