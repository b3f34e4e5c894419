"""Dashboards are what Grafana's own models know, of metrics that Capstan has, and those of the chart."""

from __future__ import annotations

import enum
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.monitoring import budgets
from capstan.monitoring.dashboards.grafana import dashboards
from capstan.monitoring.dashboards.panels import DASHBOARDS

ROOT = Path(__file__).parents[3]
OF_OTHERS = {"ALERTS", "up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Series of Prometheus itself and of its client library."""


def fits(value: Any, hint: Any, place: str) -> None:
    """Each value is of the type that Grafana's model states for it, all the way down."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        errors = []
        for one in inner:
            try:
                fits(value, one, place)
                break
            except AssertionError as error:
                errors.append(str(error))
        else:
            raise AssertionError("; ".join(errors))
    elif origin is typing.Literal:
        assert value in inner, f"{place}: {value!r} is none of {inner}"
    elif origin is list:
        assert isinstance(value, list), f"{place}: {value!r}"
        for at, one in enumerate(value):
            fits(one, inner[0], f"{place}[{at}]")
    elif origin is dict:
        assert isinstance(value, dict), f"{place}: {value!r}"
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        assert value in [one.value for one in hint], f"{place}: {value!r} is no {hint.__name__}"
    elif isinstance(hint, type) and hint.__module__.startswith("grafana_foundation_sdk"):
        assert isinstance(value, hint), f"{place}: {value!r} is no {hint.__name__}"
        for name, stated in typing.get_type_hints(type(value)).items():
            fits(getattr(value, name), stated, f"{place}.{name}")
    elif isinstance(hint, type) and hint is not object:
        allowed = (int, float) if hint is float else hint
        assert isinstance(value, allowed), f"{place}: {value!r} is no {hint.__name__}"


def unknown(mine: Any, told: Any, place: str = "") -> list[str]:
    """What Grafana's models have dropped or changed."""
    if isinstance(mine, dict) and isinstance(told, dict):
        return [
            found
            for name, value in mine.items()
            for found in (
                unknown(value, told[name], f"{place}.{name}") if name in told else [f"{place}.{name}"]
            )
        ]
    if isinstance(mine, list) and isinstance(told, list) and len(mine) == len(told):
        return [
            found
            for at, (one, other) in enumerate(zip(mine, told, strict=True))
            for found in unknown(one, other, f"{place}[{at}]")
        ]
    return [] if mine == told else [f"{place}: {mine!r} became {told!r}"]


@pytest.mark.parametrize(("name", "document"), dashboards().items(), ids=dashboards().keys())
def test_grafanas_models_know_every_key_and_the_type_of_every_value(
    name: str, document: dict[str, Any]
) -> None:
    register_default_plugins()
    read = Dashboard.from_json(json.loads(json.dumps(document)))
    fits(read, Dashboard, name)
    told = json.loads(JSONEncoder().encode(read))
    assert unknown(document, told) == []


def test_a_key_that_grafana_does_not_know_would_be_found() -> None:
    register_default_plugins()
    document = json.loads(json.dumps(dashboards()["capstan-system.json"]))
    document["panels"][1]["fieldConfig"]["defaults"]["colour"] = "red"
    document["graphTooltip"] = "many"
    read = Dashboard.from_json(document)
    assert unknown(document, json.loads(JSONEncoder().encode(read))) == [
        ".panels[1].fieldConfig.defaults.colour"
    ]
    with pytest.raises(AssertionError, match="graph_tooltip"):
        fits(read, Dashboard, "")


def test_panels_have_places_and_numbers_of_their_own() -> None:
    for document in dashboards().values():
        taken = [
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for panel in document["panels"]
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        ]
        assert len(taken) == len(set(taken))
        assert all(x < 24 for x, _ in taken)
        numbers = [panel["id"] for panel in document["panels"]]
        assert len(numbers) == len(set(numbers))


def test_panels_draw_metrics_that_are_told_and_all_of_the_monitor() -> None:
    page = (ROOT / "platform/docs/metrics.md").read_text()
    told = set(re.findall(r"`(capstan[_:][a-z0-9_:]+)`", page))
    drawn = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for dashboard in DASHBOARDS
        for row in dashboard.rows
        for panel in row.panels
        for query in panel.queries
        for name in re.findall(r"\b([a-zA-Z_:][\w:]*)(?=\{)|\b(capstan[_:][\w:]+)", query.expression)
        for name in name
        if name
    }
    envoys = {name for name in drawn if name.startswith("envoy_")}
    assert drawn - envoys - OF_OTHERS <= told
    monitors = page.partition("## The monitor")[2].partition("## The loop")[0]
    of_the_monitor = {
        name
        for row in monitors.splitlines()
        for name in re.findall(r"`(capstan_\w+)`", row.split("|")[1] if "|" in row else "")
    }
    # What they are made of or what a question of one's own measures is drawn elsewhere.
    left_out = {
        "capstan_data_alert", "capstan_monitor_generation", "capstan_window_number", "capstan_missing_rate",
        "capstan_online_units", "capstan_online_coverage", "capstan_online_delay_seconds",
    }  # fmt: skip
    assert of_the_monitor - drawn == left_out
    assert {budgets.BUDGET_LEFT, budgets.BURN_RATE} <= drawn


def test_the_chart_has_the_dashboards() -> None:
    folder = ROOT / "charts/capstan-stack/files/dashboards"
    found = {file.name: json.loads(file.read_text()) for file in folder.iterdir()}
    assert found == dashboards(), "run: make charts"


def test_the_command_writes_them_for_an_import(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["dashboards", "--to", str(tmp_path / "new" / "grafana"), "--json"])
    assert done.exit_code == 0, done.output
    files = [Path(name) for name in json.loads(done.output)["files"]]
    assert {file.name: json.loads(file.read_text()) for file in files} == dashboards()
