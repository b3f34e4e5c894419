"""Dashboards as Grafana's JSON, which needs no library: tests hold it to Grafana's own models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capstan.files import write_whole
from capstan.monitoring.dashboards.panels import DASHBOARDS, Dashboard, Panel, Query

Json = dict[str, Any]
SCHEMA_VERSION = 38
"""Of Grafana 10.1; later ones lift it to their own."""
_WIDTH, _HEIGHT, _WHOLE = 8, 8, 24
"""Of a panel, in units of Grafana's grid; a whole row has 24."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboards() -> dict[str, Json]:
    """All dashboards by the name of their file."""
    return {f"{one.uid}.json": document(one) for one in DASHBOARDS}


def write(folder: Path) -> list[Path]:
    """Write all dashboards into the folder; returns their files. Raises CapstanError where it cannot be written."""
    files = []
    for name, found in dashboards().items():
        files.append(folder / name)
        write_whole(files[-1], (json.dumps(found, indent=1) + "\n").encode(), mode=0o644)
    return files


def document(dashboard: Dashboard) -> Json:
    """One dashboard as Grafana imports it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["capstan"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables(dashboard)},
        "panels": _panels(dashboard),
    }


def _variables(dashboard: Dashboard) -> list[Json]:
    source: Json = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}
    if not dashboard.is_of_a_system:
        return [source]
    known = "capstan_requests_total"
    return [
        source,
        _variable("namespace", f"label_values({known}, namespace)", several=True),
        _variable("system", f'label_values({known}{{namespace=~"$namespace"}}, system)'),
        _variable("version", f'label_values({known}{{system="$system"}}, version)', several=True),
    ]


def _variable(name: str, query: str, *, several: bool = False) -> Json:
    found: Json = {
        "type": "query",
        "name": name,
        "label": name,
        "datasource": _SOURCE,
        "query": query,
        # When the time range changes: new versions come and go.
        "refresh": 2,
        "sort": 1,
    }
    if several:
        found |= {"multi": True, "includeAll": True, "allValue": ".*"}
        found["current"] = {"selected": True, "text": "All", "value": "$__all"}
    return found


def _panels(dashboard: Dashboard) -> list[Json]:
    found: list[Json] = []
    top, number = 0, 0
    for row in dashboard.rows:
        number += 1
        place = {"x": 0, "y": top, "w": _WHOLE, "h": 1}
        found.append(
            {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top += 1
        for index, panel in enumerate(row.panels):
            number += 1
            left = index * _WIDTH % _WHOLE
            found.append({"id": number, **_panel(panel), "gridPos": _place(left, top)})
            if left + _WIDTH == _WHOLE or panel is row.panels[-1]:
                top += _HEIGHT
    return found


def _place(left: int, top: int) -> Json:
    return {"x": left, "y": top, "w": _WIDTH, "h": _HEIGHT}


def _panel(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    colors = ("red",) if len(panel.bounds) == 1 else ("orange", "red")
    steps += [{"color": color, "value": bound} for bound, color in zip(panel.bounds, colors, strict=False)]
    drawn: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never"}
    if panel.bounds:
        drawn["thresholdsStyle"] = {"mode": "dashed"}
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    found: Json = {
        "type": "timeseries" if panel.shows == "lines" else "stat",
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "targets": [_target(query, chr(ord("A") + at)) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
    if panel.shows == "lines":
        defaults["custom"] = drawn
        found["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        found["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "values": False},
            "textMode": "auto",
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
        }
    return found


def _target(query: Query, name: str) -> Json:
    return {
        "refId": name,
        "datasource": _SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend,
        "range": True,
    }
