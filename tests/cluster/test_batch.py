"""Batches of predictions as Jobs in a real cluster: the Bento by digest, rows from a claim, files to another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cluster.training_namespace import SYSTEM, TrainingNamespace, training_namespace

from capstan.adapters.kubernetes.batches import JobBatches
from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.names import PREDICTIONS_MOUNT
from capstan.cluster.objects.batch import batches
from capstan.cluster.objects.recording import TOKEN_NAMES, tokens
from capstan.cluster.wiring.batches import batches_of
from capstan.domain.batch_calendar import BatchOrder, BatchStatus, Stretch
from capstan.domain.training import RunPhase, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName
from capstan.spec import MLSystem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
AS_OF = datetime(2013, 2, 20, tzinfo=UTC)
STRETCH = Stretch(datetime(2013, 2, 1, 5, tzinfo=UTC), datetime(2013, 2, 20, 5, tzinfo=UTC))
READ = f"""
import json, pathlib
import pyarrow.parquet as pq
for folder in sorted(pathlib.Path("{PREDICTIONS_MOUNT}/nightly").iterdir()):
    rows = [row for file in sorted(folder.glob("*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()]
    named = json.loads((folder / "manifest.json").read_text())
    ids = [next(iter(row.values())) for row in rows]
    print(json.dumps({{"folder": folder.name, "rows": len(ids), "ids": len(set(ids)), "manifest": named,
                      "versions": sorted({{row["version"] for row in rows}})}}))
"""


class Room:
    def __init__(self, training: TrainingNamespace) -> None:
        self.training = training
        self.runs: JobBatches = batches_of(
            self.system(), training.names, training.settings, None, training.kube
        )

    def system(self) -> MLSystem:
        document = self.training.system().model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["spec"]["batch"] = {"schedule": "0 3 * * *", "output": "nightly"}
        return MLSystem.model_validate(document)

    def trained(self) -> ModelVersion:
        run = RunName("run-a")
        pipelines = self.training.pipelines()
        pipelines.start(TrainingRequest(run, SYSTEM, Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None))
        status = self.training.ended(pipelines, run)
        assert status.version is not None, status.message
        return status.version

    def ended(self, order: BatchOrder) -> BatchStatus:
        status: BatchStatus = self.training.until(
            lambda: self.runs.status(order), lambda seen: seen.phase is not RunPhase.RUNNING
        )
        return status

    def pods(self, order: BatchOrder) -> list[Any]:
        name = self.training.names.batch(order)
        return list(self.training.kube.list("Pod", self.training.namespace, labels={"job-name": name}))

    def written(self) -> list[dict[str, Any]]:
        said = self.training.run(
            ("python", "-c", READ),
            mounts=[{"name": "predictions", "mountPath": PREDICTIONS_MOUNT}],
            volumes=[
                {
                    "name": "predictions",
                    "persistentVolumeClaim": {"claimName": self.training.names.predictions_claim},
                }
            ],
        )
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def room(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    with training_namespace(kube, new_namespace(), tmp_path_factory.mktemp("data")) as training:
        made = Room(training)
        for document in batches(made.system(), training.names, training.settings, None):
            kube.apply(document)
        values = dict.fromkeys(TOKEN_NAMES, "nobody asks for it here")
        kube.create(tokens(training.names, None, values))
        yield made


@pytest.fixture(scope="module")
def version(room: Room) -> ModelVersion:
    return room.trained()


def test_a_try_that_was_evicted_is_replaced_and_each_row_is_written_once(
    room: Room, version: ModelVersion
) -> None:
    order = BatchOrder(STRETCH, version)
    assert room.runs.status(order).phase is RunPhase.ABSENT
    room.runs.start(order)
    room.runs.start(order)
    # While its Bento is fetched: so few rows are predicted at once.
    first = room.training.until(
        lambda: [pod for pod in room.pods(order) if pod["spec"].get("nodeName")], bool
    )[0]["metadata"]["name"]
    with room.training.evicted(first):
        told = room.training.until(
            lambda: room.runs.status(order),
            lambda seen: "started again after" in seen.message or seen.phase is not RunPhase.RUNNING,
        )
    assert "EvictionByEvictionAPI" in told.message
    status = room.ended(order)
    assert status.phase is RunPhase.SUCCEEDED, status.message
    assert status.read == status.written + status.refused > 0
    # No collector is here, and predictions wait for none.
    assert status.unwatched > 0
    assert {pod["metadata"]["name"] for pod in room.pods(order)} - {first}, "another pod has replaced it"
    (found,) = room.written()
    assert (found["rows"], found["ids"]) == (status.written, status.written)
    assert found["versions"] == [version.name]
    assert found["manifest"]["complete"] is True
    assert {part["version"] for part in found["manifest"]["partitions"]} == {version.name}
    assert found["manifest"]["digest"] == version.digest

    again = BatchOrder(STRETCH, version, attempt=2)
    room.runs.start(again)
    kept = room.ended(again)
    assert (kept.read, kept.written) == (status.read, status.written), "the next try keeps what is there"
    assert len(room.written()) == 1


def test_a_bento_of_another_digest_is_refused_before_anything_of_it_is_loaded(
    room: Room, version: ModelVersion
) -> None:
    wrong = ModelVersion(
        version.name, Digest("sha256:" + "0" * 64), version.run, version.bento_tag, version.as_of
    )
    order = BatchOrder(STRETCH, wrong)
    room.runs.start(order)
    pod = room.training.until(
        lambda: [
            one
            for one in room.pods(order)
            if any(
                (state.get("state") or {}).get("terminated")
                for state in one["status"].get("initContainerStatuses", ())
            )
        ],
        bool,
    )[0]
    assert "content hashes to" in json.dumps(pod["status"])
    room.runs.stop(order)
    assert room.runs.status(order).phase in (RunPhase.CANCELLED, RunPhase.FAILED)


def test_a_source_that_is_missing_fails_the_try_and_says_so(room: Room, version: ModelVersion) -> None:
    document = room.system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    source = document["spec"]["data"]["sources"][0]
    next(iter(value for key, value in source.items() if key != "name"))["path"] = "nowhere.csv"
    broken = MLSystem.model_validate(document)
    training = room.training
    runs = batches_of(broken, training.names, training.settings, None, training.kube)
    order = BatchOrder(Stretch(AS_OF.replace(day=1), AS_OF), version)
    runs.start(order)
    status = training.until(lambda: runs.status(order), lambda seen: seen.phase is not RunPhase.RUNNING)
    assert status.phase is RunPhase.FAILED
    assert "nowhere.csv" in status.message
    assert len(room.pods(order)) == 1, "what fails by itself is not tried again by Kubernetes"
