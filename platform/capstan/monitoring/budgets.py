"""Recording rules and alerts of service level objectives: how fast the share that may fail is spent.

The windows and speeds are those of Google's SRE workbook, chapter "Alerting on SLOs" (multiwindow, multi-burn-rate): a
long window shows that it matters, and a short one that it goes on. Failures and requests are each added up once, and
every window is made of these sums, so that an hour of many requests weighs more than a quiet night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from capstan.ports.latency import LATENCY_BUCKETS
from capstan.spec import MLSystem
from capstan.spec.providers import PROVIDERS
from capstan.spec.slo import Slo
from capstan.spec.units import format_duration, format_share

Selector = Callable[[str, str], str]
"""Makes a selector of the system's series of a metric, with further matchers that begin with a comma."""
GATEWAY = "envoy_vhost_vcluster_upstream_rq_{}"
"""What Envoy counts of predictions that clients asked for, whichever version answers, after all tries."""
PREDICTIONS = "predictions"
"""Envoy's virtual cluster of predictions; where one gateway serves several systems, that of each has its name."""
INTERVAL = "30s"
"""Of the group's evaluation: a month of it is 86,400 samples of a series, which one query can add up."""
BAD, TOTAL = "capstan:slo_bad:rate5m", "capstan:slo_total:rate5m"
BURN_RATE = "capstan:slo_burn_rate:ratio"
BUDGET_LEFT = "capstan:slo_budget_left:ratio"


@dataclass(frozen=True)
class Speed:
    """How fast the budget is spent, seen in two windows."""

    factor: float
    """1: the budget lasts just as long as the window of the promise."""
    long: str
    short: str


FAST = (Speed(14.4, "1h", "5m"), Speed(6, "6h", "30m"))
"""Somebody must act now."""
SLOW = (Speed(3, "1d", "2h"), Speed(1, "3d", "6h"))
"""Somebody must look in the next days."""
_WINDOWS = tuple(dict.fromkeys(window for speed in (*FAST, *SLOW) for window in (speed.short, speed.long)))
ENVOY_BOUNDS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)
"""Upper bounds of Envoy's buckets of latency, in milliseconds."""


@dataclass(frozen=True)
class Indicator:
    """PromQL for what is promised, each per second."""

    bad: str
    total: str


@dataclass(frozen=True)
class AlertRule:
    """One alert of an objective."""

    name: str
    expression: str
    severity: str
    summary: str
    slo: str


def recording_rules(
    system: MLSystem, select: Selector, gateway: Selector, labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What is recorded of each objective; `gateway` selects of the gateway's series, `labels` are the system's."""
    rules: list[dict[str, Any]] = []
    for slo in system.spec.monitoring.slos:
        found = indicator(system, slo, select, gateway)
        allowed = f"{1 - slo.chosen.objective:.6g}"
        records: list[tuple[str, str, dict[str, str]]] = [(TOTAL, found.total, {}), (BAD, found.bad, {})]
        records += [
            (BURN_RATE, f"{_share(select, slo, window)} / {allowed}", {"window": window})
            for window in _WINDOWS
        ]
        left = f"1 - {_share(select, slo, format_duration(slo.chosen.window))} / {allowed}"
        records.append((BUDGET_LEFT, left, {}))
        rules += [
            {"record": name, "expr": expression, "labels": {**labels, "slo": slo.name, **more}}
            for name, expression, more in records
        ]
    return rules


def alert_rules(system: MLSystem, select: Selector) -> list[AlertRule]:
    """The alerts of each objective."""
    found = []
    for slo in system.spec.monitoring.slos:
        window = format_duration(slo.chosen.window)
        own = f',slo="{slo.name}"'
        query = f"{{{{ with query `{select(BUDGET_LEFT, own)}` }}}}"
        left = f"{query}{{{{ . | first | value | humanizePercentage }}}}{{{{ end }}}}"
        pace = (
            f'{slo.name} ({in_words(slo)}) fails {{{{ printf "%.1f" $value }}}} times as often as it may; '
            f"{left} of the budget of {window} is left"
        )
        found += [
            AlertRule("ErrorBudgetBurnsFast", _either(select, own, FAST), "critical", pace, slo.name),
            AlertRule("ErrorBudgetBurnsSlowly", _either(select, own, SLOW), "warning", pace, slo.name),
        ]
    return found


def in_words(slo: Slo) -> str:
    """The promise: `99% of predictions within 100ms`."""
    share = format_share(slo.chosen.objective)
    if slo.latency is not None:
        return f"{share} of predictions within {format_duration(slo.latency.below)}"
    if slo.freshness is not None:
        what = slo.freshness.of.lower()
        return f"{what} no older than {format_duration(slo.freshness.within)} in {share} of the time"
    return f"{share} of predictions answered"


def indicator(system: MLSystem, slo: Slo, select: Selector, gateway: Selector) -> Indicator:
    """What counts as bad, of what, by the system's provider of traffic."""
    behind_gateway = PROVIDERS[system.spec.serving.traffic.provider].has_gateway
    if slo.freshness is not None:
        kind = {"Labels": "quality", "Requests": "drift"}[slo.freshness.of]
        ended = f"max({select('capstan_window_end_timestamp_seconds', f',window={_quoted(kind)}')})"
        age = f"(time() - {ended})"
        within = slo.freshness.within.total_seconds()
        return Indicator(bad=f"{age} > bool {within:g}", total=f"{age} * 0 + 1")
    if slo.latency is not None:
        seconds = slo.latency.below
        return _gateway_latency(gateway, seconds) if behind_gateway else _own_latency(select, seconds)
    return _gateway_answers(gateway) if behind_gateway else _own_answers(select)


def _gateway_answers(gateway: Selector) -> Indicator:
    # A class of codes has no series before its first answer, whose rise `rate` would not see: it is made to begin at 0,
    # and what is left of all that was completed are failures.
    every = gateway(GATEWAY.format("completed"), "")

    def of_classes(codes: str) -> str:
        classes = gateway(GATEWAY.format("xx"), f',envoy_response_code_class=~"[{codes}]"')
        return _sampled_rate(f"(sum without (envoy_response_code_class) ({classes}) or {every} * 0)")

    completed = _sampled_rate(every)
    return Indicator(
        bad=f"clamp_min({completed} - {of_classes('1-4')}, 0)", total=f"{completed} - {of_classes('4')}"
    )


def _own_answers(select: Selector) -> Indicator:
    name, users = "capstan_requests_total", ',role!="shadow"'
    failed = _rate(select(name, f'{users},code=~"5.."'))
    return Indicator(bad=failed, total=_rate(select(name, f'{users},code!~"4.."')))


def _gateway_latency(gateway: Selector, below: timedelta) -> Indicator:
    bounds = {float(bound): f"{bound:g}" for bound in ENVOY_BOUNDS}
    return _latency(gateway, GATEWAY.format("time"), "", bounds, below / timedelta(milliseconds=1))


def _own_latency(select: Selector, below: timedelta) -> Indicator:
    bounds = {bound: str(bound) for bound in LATENCY_BUCKETS}
    return _latency(
        select, "capstan_request_seconds", ',role!="shadow"', bounds, below / timedelta(seconds=1)
    )


def _latency(
    select: Selector, metric: str, more: str, bounds: Mapping[float, str], below: float
) -> Indicator:
    """Between the bounds of two buckets requests are taken to be spread evenly, as histogram_quantile does."""
    total = _rate(select(f"{metric}_count", more))
    at_most = [bound for bound in bounds if bound <= below]
    above = [bound for bound in bounds if bound > below]

    def until(bound: float) -> str:
        # Prometheus 3 writes whole bounds as 100.0, whatever the target says.
        name = bounds[bound].removesuffix(".0").replace(".", "[.]")
        return _rate(select(f"{metric}_bucket", f'{more},le=~"{name}([.]0)?"'))

    if not above:
        fast = until(max(at_most))
    else:
        high = min(above)
        low = max(at_most, default=0.0)
        part = (below - low) / (high - low)
        terms = [f"{1 - part:.6g} * {until(low)}"] if low else []
        terms += [f"{part:.6g} * {until(high)}"] if part else []
        fast = " + ".join(terms)
    return Indicator(bad=f"clamp_min({total} - ({fast}), 0)", total=total)


def _rate(selector: str) -> str:
    return f"sum(rate({selector}[5m]))"


def _sampled_rate(expression: str) -> str:
    """Of a counter that is made of others; the differences of two are exact, as both are seen at the same moments."""
    return f"sum(rate({expression}[5m:10s]))"


def _share(select: Selector, slo: Slo, window: str) -> str:
    """Share of what failed in a window; nothing where there was nothing to fail."""
    own = f',slo="{slo.name}"'
    if window == "5m":
        return f"{select(BAD, own)} / ({select(TOTAL, own)} > 0)"
    bad, total = (f"sum_over_time({select(name, own)}[{window}])" for name in (BAD, TOTAL))
    return f"{bad} / ({total} > 0)"


def _either(select: Selector, own: str, speeds: tuple[Speed, ...]) -> str:
    pairs = []
    for speed in speeds:
        long, short = (
            f"{select(BURN_RATE, f'{own},window={_quoted(window)}')} > {speed.factor:g}"
            for window in (speed.long, speed.short)
        )
        pairs.append(f"({long} and ignoring (window) {short})")
    return f"max without (window) ({' or '.join(pairs)})"


def _quoted(text: str) -> str:
    return f'"{text}"'
