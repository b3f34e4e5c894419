"""`capstan dashboards`: Grafana dashboards of Capstan's metrics, as files that Grafana imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, out, print_json

app = App()


@app.command(epilog="Example: capstan dashboards --to grafana")
def dashboards(
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FOLDER", help="Folder that they are written to; made if it is not there."
        ),
    ],
    json: Json = False,
) -> None:
    """Write Grafana dashboards of the metrics: promises, requests, latency, saturation, drift, quality.

    They ask a Prometheus that has Capstan's metrics, which a person chooses above the panels together with the system.
    They know every system; a changed file needs no new ones. charts/capstan-stack brings them into a cluster.
    """
    with honest_errors(json):
        from capstan.monitoring.dashboards.grafana import write

        files = write(to)
        if json:
            print_json({"files": [str(file) for file in files]})
        else:
            for file in files:
                out.print(str(file), soft_wrap=True)
