"""Claims about the watched objects in memory."""

from __future__ import annotations

import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import SYSTEM_LABEL
from capstan.cluster.watching.cache import WatchedKube
from capstan.errors import ConflictError, UnavailableError
from capstan.ports.kube import Object


def deployment(name: str, system: str = "flights", **spec: object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "n", "labels": {SYSTEM_LABEL: system, "tier": name}},
        "spec": {"replicas": 1, **spec},
    }


@pytest.fixture
def server() -> MemoryKube:
    return MemoryKube()


@pytest.fixture
def cache(server: MemoryKube) -> WatchedKube:
    cache = WatchedKube(server)
    for kind in cache.unlisted:
        cache.resync(kind)
    server.calls.clear()
    return cache


def follow(server: MemoryKube, cache: WatchedKube) -> list[bool]:
    """The watch works; returns what was news."""
    news: list[bool] = []
    server.watchers.append(
        lambda kind, event, document: (
            news.append(cache.observe(kind, event, document)) if cache.is_watched(kind) else None
        )
    )
    return news


def test_reading_a_watched_object_costs_no_call(server: MemoryKube, cache: WatchedKube):
    follow(server, cache)
    server.create(deployment("a"))
    server.calls.clear()
    found = cache.get("Deployment", "a", "n")
    assert found is not None
    assert found["spec"] == {"replicas": 1}
    assert [
        one["metadata"]["name"] for one in cache.list("Deployment", "n", labels={SYSTEM_LABEL: "flights"})
    ] == ["a"]
    assert not server.calls


def test_what_is_not_watched_is_read_from_the_server(server: MemoryKube, cache: WatchedKube):
    cache.get("Secret", "a", "n")
    cache.list("Deployment", "n")
    assert dict(server.calls) == {("get", "Secret"): 1, ("list", "Deployment"): 1}


def test_what_is_not_labelled_is_read_from_the_server(server: MemoryKube, cache: WatchedKube):
    document = deployment("a")
    del document["metadata"]["labels"]
    server.create(document)
    assert cache.get("Deployment", "a", "n") is not None
    assert cache.get("MLSystem", "none", "n") is None
    assert server.calls["get", "Deployment"] == 1
    assert server.calls["get", "MLSystem"] == 0


def test_labels_choose_within_a_system(server: MemoryKube, cache: WatchedKube):
    follow(server, cache)
    for name, system in (("a", "flights"), ("b", "flights"), ("c", "trains")):
        server.create(deployment(name, system))
    found = cache.list("Deployment", "n", labels={SYSTEM_LABEL: "flights", "tier": "b"})
    assert [one["metadata"]["name"] for one in found] == ["b"]


def test_an_own_write_is_read_at_once_and_its_echo_is_no_news(server: MemoryKube, cache: WatchedKube):
    cache.apply(deployment("a"))
    assert cache.get("Deployment", "a", "n") is not None
    echo = server.get("Deployment", "a", "n")
    assert echo is not None
    assert not cache.observe("Deployment", "ADDED", echo)


def test_stale_news_does_not_undo_a_newer_write(server: MemoryKube, cache: WatchedKube):
    old = server.create(deployment("a"))
    cache.apply(deployment("a", replicas=3))
    assert not cache.observe("Deployment", "ADDED", old)
    found = cache.get("Deployment", "a", "n")
    assert found is not None
    assert found["spec"]["replicas"] == 3


def test_what_was_deleted_does_not_come_back_by_stale_news(server: MemoryKube, cache: WatchedKube):
    old = cache.apply(deployment("a"))
    cache.delete("Deployment", "a", "n")
    assert cache.get("Deployment", "a", "n") is None
    assert not cache.observe("Deployment", "ADDED", old)
    assert cache.get("Deployment", "a", "n") is None


def test_what_was_made_anew_after_a_deletion_is_there(server: MemoryKube, cache: WatchedKube):
    old = cache.apply(deployment("a"))
    cache.delete("Deployment", "a", "n")
    cache.apply(deployment("a"))
    assert not cache.observe("Deployment", "DELETED", old)
    assert cache.get("Deployment", "a", "n") is not None


def test_a_deletion_that_a_finalizer_holds_up_leaves_the_object(server: MemoryKube, cache: WatchedKube):
    document = deployment("a")
    document["metadata"]["finalizers"] = ["somebody/else"]
    cache.create(document)
    cache.delete("Deployment", "a", "n")
    found = cache.get("Deployment", "a", "n")
    assert found is not None
    assert "deletionTimestamp" in found["metadata"]


def test_a_list_in_place_of_a_watch_shows_what_was_deleted_meanwhile(server: MemoryKube, cache: WatchedKube):
    cache.apply(deployment("a"))
    cache.apply(deployment("b"))
    server.delete("Deployment", "a", "n")
    assert cache.resync("Deployment") == [("n", "flights")]
    assert [place[1] for place in cache.places("Deployment")] == ["b"]


def test_readers_cannot_change_what_others_read(cache: WatchedKube):
    cache.apply(deployment("a"))
    found = cache.get("Deployment", "a", "n")
    assert found is not None
    found["spec"]["replicas"] = 99
    again = cache.get("Deployment", "a", "n")
    assert again is not None
    assert again["spec"]["replicas"] == 1


def test_after_a_conflict_the_next_read_is_fresh(server: MemoryKube, cache: WatchedKube):
    mine = cache.create(deployment("a"))
    server.edit("Deployment", "a", "n", {"spec": {"replicas": 2}})
    with pytest.raises(ConflictError):
        cache.replace(mine)
    fresh = cache.get("Deployment", "a", "n")
    assert fresh is not None
    assert cache.replace(fresh)["spec"]["replicas"] == 2


def test_nothing_is_written_once_the_lease_is_lost(server: MemoryKube):
    cache = WatchedKube(server, may_write=lambda: False)
    for write in (
        lambda: cache.create(deployment("a")),
        lambda: cache.apply(deployment("a")),
        lambda: cache.replace(deployment("a")),
        lambda: cache.patch("Deployment", "a", "n", {}),
        lambda: cache.delete("Deployment", "a", "n"),
    ):
        with pytest.raises(UnavailableError, match="Lease"):
            write()
    assert not server.calls


def test_somebody_elses_edit_shows_in_what_is_owned_and_a_status_does_not(
    server: MemoryKube, cache: WatchedKube
):
    follow(server, cache)
    cache.apply(deployment("a"))
    before = cache.facts("Deployment", "n", "a")
    server.edit("Deployment", "a", "n", {"status": {"availableReplicas": 1}})
    between = cache.facts("Deployment", "n", "a")
    server.edit("Deployment", "a", "n", {"spec": {"replicas": 0}})
    after = cache.facts("Deployment", "n", "a")
    assert before is not None
    assert between is not None
    assert after is not None
    assert before.owned == between.owned != after.owned


def test_only_objects_of_the_watched_namespaces_are_answered_from_memory(server: MemoryKube):
    cache = WatchedKube(server, namespaces=["n"])
    for kind in cache.unlisted:
        cache.resync(kind)
    server.calls.clear()
    cache.get("MLSystem", "a", "n")
    assert not server.calls
    cache.get("MLSystem", "a", "other")
    assert server.calls["get", "MLSystem"] == 1
