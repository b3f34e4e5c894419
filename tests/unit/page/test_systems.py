"""Claims about what a page reads of a cluster: all of it from memory, whatever is away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from browser import flights
from browser.copied import documents

from capstan.adapters.kubernetes.run_report import last_words
from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.watching.cache import WatchedKube
from capstan.cluster.wiring import viewing
from capstan.cluster.wiring.links import PublicAddresses
from capstan.cluster.wiring.viewing import ViewingWiring
from capstan.dashboard.systems import SystemAddress
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.versions import RunName, SystemName
from capstan.engine.commands import issue
from capstan.engine.records import training_state
from capstan.errors import NotFoundError, UnavailableError
from capstan.ports.codec import to_json
from capstan.ports.store import Kind
from capstan_page.app import WATCHED
from capstan_page.systems import ClusterSystems

AWAY = "http://127.0.0.1:9"
LINKS = PublicAddresses(
    mlflow="https://mlflow.example.com/",
    prometheus="https://prom.example.com",
    kfp="https://kfp.example.com/pipeline",
)
HOME = SystemAddress("shop", "flights1")
NAMES = SystemNames(HOME.namespace, SystemName(HOME.name))


class RegistryAway:
    """An MLflow that does not answer."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """As the real one is made."""

    def versions(self) -> None:
        raise UnavailableError("MLflow", "does not answer")

    def run_pages(self) -> None:
        raise UnavailableError("MLflow", "does not answer")

    def artifact(self, *_: str) -> None:
        raise UnavailableError("MLflow", "does not answer")


@pytest.fixture(scope="module")
def scene() -> flights.Scene:
    return flights.canary()


@pytest.fixture
def kube(scene: flights.Scene) -> MemoryKube:
    kube = MemoryKube(without=("SeldonDeployment",))
    for document in documents(scene, HOME.name, HOME.namespace):
        status = document.pop("status", None)
        made = kube.create(document)
        if status is not None:
            kube.replace({**made, "status": status}, sub="status")
    return kube


@pytest.fixture
def cache(kube: MemoryKube) -> WatchedKube:
    watched = {kind: watch for kind, watch in WATCHED.items() if not watch.optional}
    cache = WatchedKube(kube, may_write=lambda: False, watched=watched)
    for kind in watched:
        cache.resync(kind)
    return cache


@pytest.fixture
def systems(cache: WatchedKube, monkeypatch: pytest.MonkeyPatch) -> ClusterSystems:
    monkeypatch.setattr(viewing, "MlflowRegistry", RegistryAway)
    settings = ClusterSettings(tracking_uri=AWAY, prometheus_url=AWAY, alertmanager_url=AWAY)
    return ClusterSystems(cache, ViewingWiring(cache, settings, LINKS))


def changed(kube: MemoryKube, cache: WatchedKube, kind: str, name: str, change: dict[str, Any]) -> None:
    """The watch tells that somebody has changed the object."""
    cache.observe(kind, "MODIFIED", kube.patch(kind, name, HOME.namespace, change))


def test_parts_that_are_away_are_named_and_take_nothing_else_along(
    systems: ClusterSystems, scene: flights.Scene
) -> None:
    page = systems.view(HOME).snapshot()
    assert {"registry", "Prometheus", "Alertmanager", "monitor"} <= set(page.away)
    assert page.head.phase == "Rolling out v4"
    assert page.runs[0].name.startswith("flights1-")
    assert len(page.rollouts) == 4
    assert page.alerts
    events = systems.view(HOME).events(0)
    assert len(events) == len(scene.view().events(0))
    actions = {action.verb: action.is_possible for action in page.actions}
    assert actions["abort"]
    assert not actions["approve"]


def test_looks_cost_the_api_server_nothing(systems: ClusterSystems, kube: MemoryKube) -> None:
    systems.view(HOME).snapshot()
    systems.shown(HOME)
    before = dict(kube.calls)
    for _ in range(5):
        systems.view(HOME).snapshot()
        systems.view(HOME).events(0)
        systems.shown(HOME)
    assert dict(kube.calls) == before


def test_a_line_is_made_anew_only_when_its_system_or_rollout_changes(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    first, mark = systems.shown(HOME), systems.mark(HOME)
    assert systems.shown(HOME) is first
    assert systems.mark(HOME) == mark
    assert (first.namespace, first.champion, first.challenger) == ("shop", "v2", "v4")
    document = kube.get("MLSystem", HOME.name, HOME.namespace)
    assert document is not None
    document["status"]["phase"] = "Paused"
    cache.observe("MLSystem", "MODIFIED", kube.replace(document, sub="status"))
    assert systems.shown(HOME).phase == "Paused"
    assert systems.mark(HOME) != mark


def test_a_gateway_that_obeys_another_split_is_told_with_what_was_seen(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    assert systems.view(HOME).snapshot().traffic.trouble == ""
    document = kube.get("MLSystem", HOME.name, HOME.namespace)
    assert document is not None
    status = document["status"]
    status["conditions"] = [
        *(one for one in status["conditions"] if one["type"] != "TrafficSynced"),
        {
            "type": "TrafficSynced",
            "status": "False",
            "reason": "NotObeyed",
            "message": "the gateway obeys another split than is wanted",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        },
    ]
    status["champion"]["weight"], status["challenger"]["weight"] = 100, 0
    cache.observe("MLSystem", "MODIFIED", kube.replace(document, sub="status"))
    trouble = systems.view(HOME).snapshot().traffic.trouble
    assert trouble == "the gateway obeys another split than is wanted; seen: v2 100 %, v4 0 %"


def test_a_chapter_of_the_story_changes_the_mark_and_not_the_line(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    first, mark = systems.shown(HOME), systems.mark(HOME)
    changed(kube, cache, "ConfigMap", f"{HOME.name}-story-1", {"metadata": {"labels": {"more": "x"}}})
    assert systems.mark(HOME) != mark
    assert systems.shown(HOME) is first


def test_a_system_made_anew_under_its_name_is_another_one(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    before = systems.view(HOME)
    assert systems.view(HOME) is before
    document = kube.get("MLSystem", HOME.name, HOME.namespace)
    assert document is not None
    cache.observe("MLSystem", "DELETED", document)
    with pytest.raises(NotFoundError, match="no system 'flights1' in namespace 'shop'"):
        systems.view(HOME)
    assert systems.addresses() == []
    again = {**document, "metadata": {**document["metadata"], "uid": "another", "resourceVersion": "99999"}}
    cache.observe("MLSystem", "ADDED", again)
    assert systems.view(HOME) is not before


def test_a_run_without_a_pod_has_no_log_any_more_and_says_so(systems: ClusterSystems) -> None:
    run = RunName(systems.view(HOME).snapshot().runs[0].name)
    with pytest.raises(NotFoundError, match="its log went with it"):
        systems.log(HOME, run)


def test_the_last_words_of_a_pod_tell_more_than_the_record(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    shown = systems.view(HOME).snapshot().runs[0]
    status = RunStatus(RunPhase.SUCCEEDED, candidates={"trees": {"rocAuc": 0.7}}, chosen=("trees",))
    words = last_words(status).decode()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{shown.name}-abc",
            "namespace": HOME.namespace,
            "labels": {**NAMES.run_labels(RunName(shown.name)), "job-name": shown.name},
        },
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "train", "state": {"terminated": {"message": words}}}],
        },
    }
    cache.observe("Pod", "ADDED", kube.create(pod))
    fresh = ViewingWiring(
        cache, ClusterSettings(tracking_uri=AWAY, prometheus_url=AWAY, alertmanager_url=AWAY)
    )
    found = fresh.view(HOME.namespace, HOME.name, "uid").snapshot().runs[0]
    assert [candidate.name for candidate in found.candidates] == ["trees"]


def test_links_lead_where_addresses_are_set(systems: ClusterSystems) -> None:
    links = {link.name: link.address for link in systems.view(HOME).snapshot().links}
    assert links["MLflow"] == "https://mlflow.example.com/#/models/shop.flights1"
    assert links["Prometheus"].startswith("https://prom.example.com/graph?g0.expr=sum")
    assert links["Kubeflow Pipelines"] == "https://kfp.example.com/pipeline/#/runs"


def kept_by_kfp(kube: MemoryKube, cache: WatchedKube, run: RunName, run_id: str) -> None:
    """The loop has stored that the runner keeps the run under this id."""
    store = KubeStore(kube, HOME.namespace)
    record = store.get(Kind.RUN, run)
    assert record is not None
    state = training_state(record)
    assert state.result is not None
    state = replace(state, result=replace(state.result, runner_id=run_id))
    store.put(replace(record, status={**record.status, "state": to_json(state)}))
    document = kube.get("TrainingRun", run, HOME.namespace)
    assert document is not None
    cache.observe("TrainingRun", "MODIFIED", document)


def test_a_run_links_to_its_own_pages_of_those_programs_that_keep_it(
    kube: MemoryKube, cache: WatchedKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Registry(RegistryAway):
        def run_pages(self) -> dict[RunName, str]:  # type: ignore[override]
            return {runs[0]: "#/experiments/7/runs/ab12", runs[1]: "#/experiments/7/runs/cd34"}

    monkeypatch.setattr(viewing, "MlflowRegistry", Registry)
    settings = ClusterSettings(tracking_uri=AWAY, prometheus_url=AWAY, alertmanager_url=AWAY)
    runs = [record.name for record in KubeStore(kube, HOME.namespace).list(Kind.RUN, SystemName(HOME.name))]
    kept_by_kfp(kube, cache, RunName(runs[0]), "0b5c-77")

    def links(addresses: PublicAddresses) -> dict[str, dict[str, str]]:
        page = ViewingWiring(cache, settings, addresses).view(HOME.namespace, HOME.name, "uid").snapshot()
        return {run.name: {link.name: link.address for link in run.links} for run in page.runs}

    found = links(LINKS)
    assert found[runs[0]] == {
        "Kubeflow Pipelines": "https://kfp.example.com/pipeline/#/runs/details/0b5c-77",
        "MLflow": "https://mlflow.example.com/#/experiments/7/runs/ab12",
    }
    assert set(found[runs[1]]) == {"MLflow"}, "Kubeflow Pipelines does not keep it"
    assert found[runs[2]] == {}, "nobody keeps it"
    assert not any(links(PublicAddresses()).values())


def test_a_registry_that_is_away_takes_no_other_link_along(
    systems: ClusterSystems, kube: MemoryKube, cache: WatchedKube
) -> None:
    run = RunName(systems.view(HOME).snapshot().runs[0].name)
    kept_by_kfp(kube, cache, run, "0b5c-77")
    page = systems.view(HOME).snapshot()
    assert [link.name for link in page.runs[0].links] == ["Kubeflow Pipelines"]
    assert "links" not in page.away


def test_the_page_writes_nothing_by_its_own_account(systems: ClusterSystems, cache: WatchedKube) -> None:
    with pytest.raises(UnavailableError):
        cache.patch("MLSystem", HOME.name, HOME.namespace, {"metadata": {"labels": {"a": "b"}}})
    store = systems.store(HOME)
    with pytest.raises(UnavailableError):
        issue(store, HOME.name, "pause")
