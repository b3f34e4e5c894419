"""A system of a context: asked, told and looked at as the commands do, and refused where they cannot."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pandas as pd
import pytest
from unit.cli.served_place import Place
from unit.cli.test_feedback import FILE
from unit.cli.test_on_a_cluster import SYSTEM, InCluster, cluster, serving  # noqa: F401 — fixtures
from unit.cli.test_remote_gateway import (  # noqa: F401 — fixtures
    NAMES,
    NAMESPACE,
    address,
    forwards,
    kube,
    served,
)

import capstan
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.errors import InvalidDataError, NotAllowedError

ROWS = pd.DataFrame({"flight_id": ["007"], "distance": [500], "carrier": ["UA"]})


def test_rows_are_asked_through_the_clusters_gateway(
    served: Place,  # noqa: F811
    kube: MemoryKube,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = capstan.System.from_file(served.folder / "system.yaml", context="prod")
    with served.serving():
        called = forwards(tmp_path, monkeypatch, address(served).rpartition(":")[2])
        answers = system.predict(ROWS)
    assert list(answers["version"]) == ["v1"]
    assert (
        called.read_text().strip()
        == f"--context prod -n {NAMESPACE} port-forward service/{NAMES.gateway} :80"
    )
    with pytest.raises(InvalidDataError, match="context names a cluster; leave them out"):
        system.predict(ROWS, offline=True)
    assert "context prod" in repr(system)


def test_labels_go_there_by_the_token_of_its_secret(
    served: Place,  # noqa: F811
    kube: MemoryKube,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    volumes = [{"name": "tokens", "secret": {"secretName": NAMES.tokens}}]
    kube.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAMES.collector, "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"volumes": volumes}}},
        }
    )
    kube.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAMES.tokens, "namespace": NAMESPACE},
            "data": {"feedback": base64.b64encode(b"let-me").decode()},
        }
    )
    handed: list[object] = []

    def match_labels(client: object, labels: list[dict[str, object]], *, system: str) -> dict[str, object]:
        handed.extend((client._feedback["authorization"], one["label"]) for one in labels)  # type: ignore[attr-defined]
        none = {"count": 0, "ids": []}
        kinds = ("matched", "waiting", "neverAsked", "unknown")
        return {"accepted": len(labels), "duplicates": 0, **dict.fromkeys(kinds, none)}

    monkeypatch.setattr("capstan.adapters.own.collector.CollectorClient.match_labels", match_labels)
    forwards(tmp_path, monkeypatch, "9")
    system = capstan.System.from_file(served.folder / "system.yaml", context="prod")
    assert system.feedback(ROWS.assign(late=[1])).accepted == 1
    assert handed == [("Bearer let-me", 1.0)]


def test_runs_versions_and_story_are_those_of_the_cluster(
    serving: InCluster,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "system.yaml"
    text = FILE.replace("TASK", "BinaryClassification").replace("{name: toy}", f"{{name: {SYSTEM}}}")
    file.write_text(text)
    system = capstan.System.from_file(file, context="test")
    assert list(system.versions["role"]) == ["champion"]
    assert system.runs()["version"].iloc[-1] == system.versions.index[0] == "v1"
    assert len(system.story()) > 3
    assert (
        orjson.loads(serving.run("runs", "--json").stdout)["trainings"][-1]["run"] == system.runs().index[-1]
    )


@pytest.mark.parametrize(
    ("verb", "way_out"),
    [
        ("plan", "`capstan plan FILE --context prod` does it"),
        ("train", "`capstan retrain --context prod` does it"),
        ("up", "`capstan up FILE --context prod` does it"),
        ("down", "`capstan down FILE --context prod` does it"),
        ("deploy", "write it as a `custom` candidate"),
    ],
)
def test_what_only_this_machine_can_do_is_refused_with_the_way_out(
    verb: str,
    way_out: str,
    served: Place,  # noqa: F811
) -> None:
    system = capstan.System.from_file(served.folder / "system.yaml", context="prod")
    with pytest.raises(NotAllowedError, match=way_out):
        getattr(system, verb)(*([object()] if verb == "deploy" else []))
