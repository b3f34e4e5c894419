"""Serves the page of a system that runs in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import uvicorn
from starlette.applications import Starlette

from capstan.adapters.processes.children import ProcessStatus
from capstan.adapters.processes.ports_in_use import require_free
from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app, loop_doors
from capstan.dashboard.budgets import prometheus_budgets
from capstan.dashboard.health import parts_of
from capstan.dashboard.links import prometheus_requests
from capstan.dashboard.notifications import LoopDoors
from capstan.dashboard.numbers import PrometheusNumbers
from capstan.dashboard.page import Progress, Totals
from capstan.dashboard.systems import OneSystem
from capstan.dashboard.view import Sources, StoreView
from capstan.domain.comparison import PredictionComparison
from capstan.domain.rollout import RolloutRequest, RolloutState
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.versions import RunName
from capstan.embedded.clocks import ReplayClock
from capstan.embedded.wiring import HOST, Addresses, LocalSystem
from capstan.engine.observe import ask_users
from capstan.errors import NotFoundError, UnavailableError

STARTS_SECONDS = 15.0
LOG_LINES = 300
LOG_BYTES = 65_536


def serve_page(
    local: LocalSystem,
    *,
    on_alert: Callable[[], None],
    progress: Callable[[], Progress | None] | None = None,
) -> Callable[[], None]:
    """Serve the page in a thread of its own; returns what stops it. Raises PortInUseError, UnavailableError."""
    view, system = shown_system(local, progress)
    app = create_app(
        system,
        TokenAccess(local.state.token("page")),
        doors=loop_doors(LoopDoors(view, local.webhook, on_alert)),
    )
    return serve(app, local.addresses)


def shown_system(
    local: LocalSystem, progress: Callable[[], Progress | None] | None = None
) -> tuple[StoreView, OneSystem]:
    """What a page shows of the system, and the same as one of the page's systems."""
    view = StoreView(
        local.store,
        local.name,
        local.clock,
        is_replay=isinstance(local.clock, ReplayClock),
        sources=_sources(local, progress),
        policy=local.policy,
    )
    return view, OneSystem(view, local.store, local.name, log=lambda run: _log(local, run))


def serve(app: Starlette, addresses: Addresses) -> Callable[[], None]:
    """Serve it in a thread of its own; returns what stops it. Raises PortInUseError, UnavailableError."""
    require_free(addresses.page_port, "--page-port", HOST)
    config = uvicorn.Config(
        app,
        host=HOST,
        port=addresses.page_port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="page", daemon=True)
    thread.start()
    deadline = time.monotonic() + STARTS_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise UnavailableError("the page", f"it did not start at {addresses.page_root}")
        time.sleep(0.02)

    def stop() -> None:
        server.should_exit = True
        thread.join(timeout=5)

    return stop


def _shared_processes(local: LocalSystem) -> Mapping[str, ProcessStatus]:
    return local.shared.processes.status() if local.shared is not None else {}


def _log(local: LocalSystem, run: RunName) -> str:
    """The end of what the run wrote; raises NotFoundError."""
    file = local.state.runs(local.name) / run / "run.log"
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - LOG_BYTES))
            text = opened.read().decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise NotFoundError(f"nothing of what {run} wrote is kept") from error
    return "\n".join(text.splitlines()[-LOG_LINES:])


def _sources(local: LocalSystem, progress: Callable[[], Progress | None] | None) -> Sources:
    def evidence(request: RolloutRequest, state: RolloutState, metric: str) -> PairedEvidence | None:
        if request.champion is None or state.step_since is None:
            return None
        return local.evidence.paired(
            request.champion.name,
            request.challenger.name,
            metric=metric,
            since=state.step_since,
            as_of=local.clock.now(),
        )

    def comparison(request: RolloutRequest, state: RolloutState) -> PredictionComparison | None:
        if request.champion is None or state.step_since is None:
            return None
        return local.evidence.compared(
            request.champion.name, request.challenger.name, since=state.step_since, as_of=local.clock.now()
        )

    def totals() -> Totals:
        counted, stats = local.gateway.predictions(), local.collector.stats()
        return Totals(
            answered=counted.answered,
            refused=counted.refused,
            failed=counted.failed,
            stored=stats.stored,
            lost=stats.lost,
            labels=stats.labels,
        )

    return Sources(
        versions=local.registry.versions,
        readiness=local.serving.readiness,
        split=local.gateway.read_back,
        run=local.pipelines.status,
        alerts=local.alerts.active,
        operation_alerts=local.alerts.operation,
        evidence=evidence,
        users=lambda step, need: ask_users(
            local.evidence, need, step.champion, step.challenger, since=step.since, now=step.until
        ),
        comparison=comparison,
        windows=local.monitor.windows,
        numbers=PrometheusNumbers(local.prometheus.query, local.name),
        budgets=prometheus_budgets(local.prometheus.query, local.name),
        totals=totals,
        parts=lambda: parts_of({**_shared_processes(local), **local.processes.status()}),
        progress=progress,
        card=local.registry.artifact,
        links=lambda: [prometheus_requests(local.prometheus.address, f'system="{local.name}"')],
    )
