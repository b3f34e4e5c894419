"""What promises to users may say, by what is counted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from capstan.adapters.envoy.config import GatewaySettings
from capstan.errors import InvalidSpecError
from capstan.monitoring.budgets import ENVOY_BOUNDS
from capstan.monitoring.rules import render
from capstan.ports.latency import LATENCY_BUCKETS
from capstan.spec import MLSystem, parse
from capstan.spec.slo_rules import GATEWAY_GIVES_UP, LONGEST_COUNTED


def behind_istio(below: str) -> MLSystem:
    file = Path(__file__).parents[1] / "spec" / "flight_delays.yaml"
    document = YAML(typ="safe").load(file.read_text())
    spec = document["spec"]
    spec.pop("replay", None)
    # Istio draws every request anew.
    del spec["data"]["keys"]["stickyBy"]
    spec["serving"] |= {"runtime": "Seldon", "traffic": {"provider": "Istio"}}
    spec["monitoring"]["slos"] = [{"name": "soon", "latency": {"below": below, "objective": "99%"}}]
    return parse(document, base_dir=Path())


def test_each_latency_that_may_be_promised_lies_among_the_buckets() -> None:
    assert timedelta(seconds=GatewaySettings().timeout_seconds) == GATEWAY_GIVES_UP
    assert timedelta(milliseconds=1) * ENVOY_BOUNDS[-1] >= GATEWAY_GIVES_UP
    assert timedelta(seconds=LATENCY_BUCKETS[-1]) >= LONGEST_COUNTED
    with pytest.raises(InvalidSpecError, match="beyond which versions do not tell seconds apart"):
        behind_istio("19s")


def test_versions_count_where_there_is_no_gateway() -> None:
    groups = {group["name"]: group["rules"] for group in render(behind_istio("18s"))["groups"]}
    expressions = " ".join(rule["expr"] for rule in groups["flight-delays-budgets"])
    assert "envoy" not in expressions
    assert 'capstan_request_seconds_count{system="flight-delays",role!="shadow"}' in expressions
