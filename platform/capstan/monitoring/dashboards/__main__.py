"""`python -m capstan.monitoring.dashboards FOLDER`: write the dashboards, for the chart."""

from __future__ import annotations

import sys
from pathlib import Path

from capstan.monitoring.dashboards.grafana import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
