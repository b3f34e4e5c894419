"""All rules of a system, checked and tried by Prometheus' own promtool: when each alert fires, and when it does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from capstan.adapters.processes import programs as tools
from capstan.monitoring.questions import alerts as data_alerts
from capstan.monitoring.rules import render
from capstan.ports.codec import to_yaml
from capstan.spec import MLSystem, parse

pytestmark = pytest.mark.real
SLOS = [
    {"name": "answered", "availability": {"objective": "99.9%"}},
    {"name": "soon", "latency": {"below": "100ms", "objective": "99%", "window": "28d"}},
    {"name": "judged", "freshness": {"of": "Requests", "within": "10d", "objective": "95%"}},
]
HOUR, DAY = 60, 1440
OWN = 'system="flight-delays",version="v3"'
ARM = 'system="flight-delays",version="v4",role="challenger"'
GATEWAY = 'job="envoy",envoy_virtual_host="all",envoy_virtual_cluster="flight-delays",system="flight-delays"'
LABELS = 'job="envoy",envoy_virtual_host="capstan",envoy_virtual_cluster="other"'
"""What Envoy counts besides predictions, where a system is alone on its machine."""
COUNTED = "envoy_vhost_vcluster_upstream_rq"


def system(**changes: Any) -> MLSystem:
    file = Path(__file__).parents[1] / "unit" / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    document["spec"].pop("replay", None)
    document["spec"]["monitoring"] |= {"slos": SLOS, "estimate": {"alert": True}}
    document["spec"]["serving"] |= changes
    if changes:
        # Istio draws every request anew.
        del document["spec"]["data"]["keys"]["stickyBy"]
    return parse(document, base_dir=Path())


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [tools.find("promtool"), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_of_each_place_and_provider_are_what_promtool_accepts(tmp_path: Path) -> None:
    routed = system(runtime="Seldon", traffic={"provider": "Istio"})
    files = []
    for name, rules in {
        "here": render(system()),
        "there": render(system(), "team"),
        "istio": render(routed, "team"),
    }.items():
        files.append(tmp_path / f"{name}.yml")
        files[-1].write_bytes(to_yaml(rules))
    promtool("check", "rules", "--lint-fatal", *files)


def series(*stretches: tuple[int, float]) -> str:
    """A counter: for so many minutes, so much more in each."""
    value, parts = 0.0, []
    for minutes, each in stretches:
        parts.append(f"{value:g}+{each:g}x{minutes - 1}")
        value += each * minutes
    return " ".join(parts)


def answered(*stretches: tuple[int, float, float]) -> dict[str, str]:
    """What the gateway counts: for so many minutes, so many predictions in each, and so many of these fail."""

    def each(count: Callable[[float, float], float]) -> str:
        return series(*((minutes, count(every, bad)) for minutes, every, bad in stretches))

    code = f"{COUNTED}_xx{{{GATEWAY},envoy_response_code_class="
    return {
        f"{COUNTED}_completed{{{GATEWAY}}}": each(lambda every, _: every + 50),
        f'{code}"2"}}': each(lambda every, bad: every - bad),
        f'{code}"4"}}': each(lambda *_: 50),
        f'{code}"5"}}': each(lambda _, bad: bad),
    }


def timed(*stretches: tuple[int, float, float]) -> dict[str, str]:
    """The same of predictions that take 150 ms instead of 50; the bounds as Prometheus 2 or 3 writes them."""
    everything = series(*((minutes, every) for minutes, every, _ in stretches))
    fast = series(*((minutes, every - slow) for minutes, every, slow in stretches))
    return {
        f"{COUNTED}_time_count{{{GATEWAY}}}": everything,
        f'{COUNTED}_time_bucket{{{GATEWAY},le="100.0"}}': fast,
        f'{COUNTED}_time_bucket{{{GATEWAY},le="250"}}': everything,
    }


def held(alert: str) -> dict[str, str]:
    return {f'capstan_data_alert{{{OWN},alert="{alert}"}}': "1x5"}


@dataclass(frozen=True)
class Case:
    """What the series are each minute, and what fires after some of them."""

    minutes: int
    series: Mapping[str, str]
    fires: frozenset[str]

    @property
    def evaluated(self) -> str:
        """How often; hours of budgets cost too much each minute."""
        return "1m" if self.minutes < HOUR else "10m"


def case(minutes: int, series: Mapping[str, str], *fires: str) -> Case:
    return Case(minutes, series, frozenset(fires))


FAST, SLOW = "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"
REQUESTS = f"capstan_requests_total{{{ARM},code="
GPU = f'capstan_gpu_utilization_ratio{{{OWN},gpu="0"}}'
CASES = {
    "all is well": case(
        10,
        {
            f'capstan_data_alert{{{OWN},alert="{name}"}}': "0x10"
            for name in ("DriftDetected", "QualityDropped", "MonitorBlind")
        }
        | {
            f'up{{{OWN},job="capstan"}}': "1x10",
            f"capstan_retraining_circuit_open{{{OWN}}}": "0x10",
            f"capstan_traffic_split_not_obeyed{{{OWN}}}": "0x10",
            f'capstan_payloads_lost_total{{{OWN},reason="overflow"}}': "7x10",
            f'{REQUESTS}"200"}}': "0+100x10",
            f'{REQUESTS}"500"}}': "0+1x10",
        },
    ),
    **{f"the monitor decided {alert.name}": case(2, held(alert.name), alert.name) for alert in data_alerts()},
    "payloads are lost": case(
        6, {f'capstan_payloads_lost_total{{{OWN},reason="overflow"}}': "0x3 5x9"}, "PayloadsLost"
    ),
    "a dead pod left payloads": case(
        6, {f"capstan_collector_version_payloads_missing{{{OWN}}}": "0x3 5x9"}, "PayloadsLost"
    ),
    "a version is away for a minute": case(5, {f'up{{{OWN},job="capstan"}}': "1x2 0x9"}, "VersionDown"),
    "one of two pods is away": case(5, {f'up{{{OWN},pod="a"}}': "1x2 0x9", f'up{{{OWN},pod="b"}}': "1x9"}),
    "a challenger fails 2 % of its requests": case(
        5, {f'{REQUESTS}"200"}}': "0+98x9", f'{REQUESTS}"500"}}': "0+2x9"}, "ChallengerErrors"
    ),
    "a GPU is busy all the time": case(12, {GPU: "0.99x15"}, "GpuSaturated"),
    "a GPU is busy for some minutes": case(12, {GPU: "0.2x4 1x4 0.2x9"}),
    "the circuit opens": case(
        2, {f"capstan_retraining_circuit_open{{{OWN}}}": "1x3"}, "RetrainingCircuitOpen"
    ),
    "the split is not obeyed": case(
        2, {f"capstan_traffic_split_not_obeyed{{{OWN}}}": "1x3"}, "TrafficSplitNotObeyed"
    ),
    "what clients got wrong spends no budget": case(3 * HOUR, answered((3 * HOUR, 1000, 0))),
    "the collector refuses all labels": case(
        HOUR,
        answered((HOUR, 1000, 0))
        | {
            f"{COUNTED}_completed{{{LABELS}}}": series((HOUR, 1000)),
            f'{COUNTED}_xx{{{LABELS},envoy_response_code_class="5"}}': series((HOUR, 1000)),
        },
    ),
    "a quiet gateway sees the first wrong request of a client": case(
        DAY + 3,
        {
            f"{COUNTED}_completed{{{GATEWAY}}}": series((DAY, 1), (5, 2)),
            f'{COUNTED}_xx{{{GATEWAY},envoy_response_code_class="2"}}': series((DAY + 5, 1)),
            f'{COUNTED}_xx{{{GATEWAY},envoy_response_code_class="4"}}': f"_x{DAY + 1} 1+1x5",
        },
    ),
    "a gateway answers for the first time after requests that were wrong": case(
        15,
        {
            f"{COUNTED}_completed{{{GATEWAY}}}": f"{series((10, 1))} {6000 + 10}+6000x9",
            f'{COUNTED}_xx{{{GATEWAY},envoy_response_code_class="4"}}': f"{series((10, 1))} 9x9",
            f'{COUNTED}_xx{{{GATEWAY},envoy_response_code_class="2"}}': "_x10 6001+6000x9",
        },
    ),
    "failures within the promise": case(3 * HOUR, answered((3 * HOUR, 1000, 0.5))),
    "2 % fail for an hour": case(3 * HOUR, answered((2 * HOUR, 1000, 0), (HOUR, 1000, 20)), FAST, SLOW),
    "half an hour after its end": case(
        3 * HOUR + 30, answered((2 * HOUR, 1000, 0), (HOUR, 1000, 20), (30, 1000, 0)), SLOW
    ),
    "10 minutes of failures after a quiet day": case(DAY + 10, answered((DAY, 1000, 0), (10, 1000, 20))),
    "failures twice as often as promised for a day": case(DAY, answered((DAY, 1000, 2)), SLOW),
    "every fifth prediction is slow": case(3 * HOUR, timed((3 * HOUR, 1000, 200)), FAST, SLOW),
    "the last window ended long ago": case(
        2 * HOUR,
        {f'capstan_window_end_timestamp_seconds{{{OWN},window="drift"}}': f"-900000x{2 * HOUR}"},
        FAST,
        SLOW,
    ),
    "the last window is young": case(
        2 * HOUR, {f'capstan_window_end_timestamp_seconds{{{OWN},window="drift"}}': f"-800000x{2 * HOUR}"}
    ),
}


@pytest.mark.parametrize("evaluated", ["1m", "10m"])
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path, evaluated: str) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_bytes(to_yaml(render(system())))
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in case.series.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{case.minutes}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.fires)
                    ],
                }
            ],
        }
        for name, case in CASES.items()
        if case.evaluated == evaluated
    ]
    file = tmp_path / "tests.yml"
    file.write_bytes(to_yaml({"rule_files": [str(rules)], "evaluation_interval": evaluated, "tests": tests}))
    promtool("test", "rules", file)


def test_no_alert_is_left_out() -> None:
    named = {
        rule["alert"] for group in render(system())["groups"] for rule in group["rules"] if "alert" in rule
    }
    assert named == {alert for case in CASES.values() for alert in case.fires}
