"""Batches of predictions in a cluster: what a try looks like as objects, and what its Job is taken to say."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import yaml
from unit.cluster.test_training import BUSY, DATABASE, GOLDEN, NAMES, OWNER, STORAGE, VOLUME, system

from capstan.adapters.kubernetes.batches import JobBatches
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.objects.batch import batch_objects, batches
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.batches import batches_of
from capstan.domain.batch_calendar import BatchOrder, BatchStatus, Stretch
from capstan.domain.training import RunPhase
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.embedded.batch.pod import MOST_BYTES, last_words
from capstan.errors import InvalidSpecError
from capstan.ports.codec import to_json
from capstan.spec import MLSystem

AT = datetime(2026, 3, 1, 3, tzinfo=UTC)
V1 = ModelVersion(VersionName("v1"), Digest("sha256:" + "1" * 64), RunName("run"), "toy:abc", AT)
ORDER = BatchOrder(Stretch(AT, AT.replace(day=2)), V1)


def batched(volume: Any = None, **more: Any) -> MLSystem:
    found = system(**more)
    written = {"schedule": "0 3 * * *", "output": "nightly"} | ({"volume": volume} if volume else {})
    document = found.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["batch"] = written
    return MLSystem.model_validate(document)


FILES = {"order.json": "{}"}
RENDERS: dict[str, Any] = {
    "batches": lambda: batches(batched(), NAMES, STORAGE, OWNER),
    "batches-claim": lambda: batches(batched({"claim": "mine"}), NAMES, STORAGE, OWNER),
    "batch-volume": lambda: list(batch_objects(batched(), NAMES, VOLUME, OWNER, ORDER, FILES)),
    "batch-storage": lambda: list(
        batch_objects(
            batched({"claim": "mine"}, sources=[DATABASE], **BUSY), NAMES, STORAGE, OWNER, ORDER, FILES
        )
    ),
}


@pytest.mark.parametrize("name", RENDERS)
def test_objects_are_as_reviewed(name: str) -> None:
    """After a wanted change: REWRITE_OBJECTS=1, then read the diff."""
    text = yaml.safe_dump_all(RENDERS[name](), sort_keys=False, width=110)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("REWRITE_OBJECTS"):
        file.write_text(text)
    assert file.read_text() == text


def test_a_system_without_batches_has_nothing_of_them() -> None:
    assert batches(system(), NAMES, STORAGE, OWNER) == []


def test_a_pod_of_a_batch_meets_pod_security_restricted_and_reads_only_what_it_must() -> None:
    pod = RENDERS["batch-volume"]()[1]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
    writable = {mount["name"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"tmp", "work", "predictions"}


def test_spark_is_refused_where_a_batch_is_one_pod() -> None:
    document = batched().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["batch"]["engine"] = "Spark"
    found = MLSystem.model_validate(document)
    with pytest.raises(
        InvalidSpecError, match=r"spec\.batch\.engine: 'Spark' is for `capstan up` without --context"
    ):
        batches_of(found, NAMES, VOLUME, OWNER, MemoryKube())


class Tries:
    """The Job of one try, as an operator sees it."""

    def __init__(self, settings: ClusterSettings = VOLUME) -> None:
        self.kube = MemoryKube()
        self.made: JobBatches = batches_of(batched(), NAMES, settings, OWNER, self.kube)

    def ends(self, condition: str, *words: BatchStatus, **pod: Any) -> None:
        job = self.kube.get("Job", NAMES.batch(ORDER), "team")
        assert job is not None
        status = {"conditions": [{"type": condition, "status": "True", **pod}]}
        self.kube.replace({**job, "status": status}, sub="status")
        for number, said in enumerate(words):
            ended = {"terminated": {"exitCode": 0, "message": orjson.dumps(to_json(said)).decode()}}
            self.kube.create(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"pod-{number}",
                        "namespace": "team",
                        "labels": {"job-name": NAMES.batch(ORDER)},
                    },
                    "status": {"containerStatuses": [{"state": ended}]},
                }
            )

    def status(self) -> BatchStatus:
        return self.made.status(ORDER)


def test_a_try_is_one_job_with_its_files_whoever_asks_how_often() -> None:
    tries = Tries()
    assert tries.status().phase is RunPhase.ABSENT
    tries.made.start(ORDER)
    tries.made.start(ORDER)
    (job,) = tries.kube.list("Job", "team")
    config = tries.kube.get("ConfigMap", job["metadata"]["name"], "team")
    assert config is not None
    assert config["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert json.loads(config["data"]["order.json"])["version"]["name"] == "v1"
    assert json.loads(config["data"]["spec.json"])["spec"]["batch"]["output"] == "nightly"
    assert tries.status().phase is RunPhase.RUNNING
    other = BatchOrder(ORDER.stretch, V1, attempt=2)
    assert tries.made.status(other).phase is RunPhase.ABSENT, "the next try is another Job"


def test_the_last_words_of_its_pod_are_what_became_of_the_rows() -> None:
    tries = Tries()
    tries.made.start(ORDER)
    said = BatchStatus(RunPhase.SUCCEEDED, read=3, written=2, refused=1, reasons=("why",), output="there")
    # A pod that was lost says nothing of it.
    tries.ends("Complete", BatchStatus(RunPhase.RUNNING), said)
    assert tries.status() == said


def test_a_job_whose_pod_is_gone_is_counted_by_the_next_try() -> None:
    tries = Tries()
    tries.made.start(ORDER)
    tries.ends("Complete")
    assert tries.status().phase is RunPhase.FAILED
    assert "its pod, which knows the numbers of rows, is gone" in tries.status().message


def test_a_failure_says_why_and_a_lost_pod_what_it_was_lost_to() -> None:
    tries = Tries()
    tries.made.start(ORDER)
    tries.ends("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")
    assert tries.status().message == "BackoffLimitExceeded: Job has reached the specified backoff limit"
    words = Tries()
    words.made.start(ORDER)
    words.ends("Failed", BatchStatus(RunPhase.FAILED, "flights.csv: there is no such file"))
    assert words.status().message == "flights.csv: there is no such file"


def test_a_try_that_nobody_wants_is_suspended() -> None:
    tries = Tries()
    tries.made.stop(ORDER)
    tries.made.start(ORDER)
    tries.made.stop(ORDER)
    job = tries.kube.get("Job", NAMES.batch(ORDER), "team")
    assert job is not None
    assert job["spec"]["suspend"] is True
    assert tries.status().phase is RunPhase.CANCELLED


def test_last_words_fit_and_keep_the_numbers() -> None:
    long = BatchStatus(
        RunPhase.SUCCEEDED, read=10**9, written=1, refused=2, reasons=("ä" * 5000,) * 10, output="there"
    )
    told = orjson.loads(last_words(long))
    assert (told["read"], told["written"], told["refused"], told["output"]) == (10**9, 1, 2, "there")
    for status in (long, BatchStatus(RunPhase.FAILED, "why " * 9000)):
        assert len(last_words(status)) <= MOST_BYTES


@pytest.mark.parametrize("output", ["/tmp/predictions", "../tmp/predictions", "a/../../tmp"])
def test_a_folder_outside_of_the_volume_is_refused_for_it_would_be_gone_with_the_pod(output: str) -> None:
    document = batched().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["batch"]["output"] = output
    with pytest.raises(InvalidSpecError, match=r"spec\.batch\.output: .* leaves the volume of batches"):
        batches_of(MLSystem.model_validate(document), NAMES, STORAGE, OWNER, MemoryKube())
