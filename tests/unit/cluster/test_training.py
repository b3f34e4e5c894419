"""Which runner trains a system, and what its trainings look like as objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from capstan.adapters.kubeflow.compile import StepSettings
from capstan.adapters.kubeflow.server import KfpServerPipelines
from capstan.adapters.kubernetes.jobs import JobPipelines
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.adapters.memory.loop import MemoryRegistry
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.training import run_objects, training, training_places
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.training import pipelines_of, runner_of, step_settings
from capstan.domain.versions import RunName, SystemName
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

GOLDEN = Path(__file__).parent / "objects"
NAMES = SystemNames("team", SystemName("toy"))
OWNER = Owner("toy", "uid-1")
RUN = RunName("toy-0123456789")
IMAGES = Images(python="capstan-python:1", pull_secrets=("registry",))
VOLUME = ClusterSettings(images=IMAGES)
STORAGE = ClusterSettings(
    images=IMAGES,
    artifacts="s3://capstan/artifacts?endpoint_override=object-storage.capstan-system.svc:9000&scheme=http",
    artifact_keys=Path("/keys"),
    storage_class="fast",
)
KFP = STORAGE.model_copy(update={"kfp_url": "http://ml-pipeline.kubeflow.svc:8888"})
DATABASE = {
    "name": "planes",
    "database": {"table": "planes", "urlFrom": {"secretKeyRef": {"name": "planes-db", "key": "url"}}},
}
BUSY = {
    "threads": 2,
    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "environment": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "key"}}},
    ],
}


def system(*, sources: Any = (), volume: Any = None, **training: Any) -> MLSystem:
    data: dict[str, Any] = {
        "sources": [{"name": "t", "csv": {"path": "t.csv", "timeColumn": "at"}}, *sources],
        "query": "select * from t",
        "keys": {"id": "id", "time": "at"},
        "label": {"column": "late", "availableAt": "known_at"},
    }
    if volume is not None:
        data["volume"] = volume
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "toy"},
            "spec": {
                "objective": {"business": "Test", "task": "BinaryClassification", "target": "late"},
                "data": data,
                "features": [{"name": "distance", "numeric": {}}],
                "training": training,
            },
        },
        base_dir=Path(),
    )


FILES = {"request.json": "{}"}
RENDERS: dict[str, Any] = {
    "training": lambda: training(system(), NAMES, STORAGE, OWNER),
    "training-claim": lambda: training(system(volume={"claim": "mine"}), NAMES, STORAGE, OWNER),
    "run-volume": lambda: list(run_objects(system(), NAMES, VOLUME, OWNER, RUN, FILES)),
    "run-storage": lambda: list(
        run_objects(system(sources=[DATABASE], **BUSY), NAMES, STORAGE, OWNER, RUN, FILES)
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


@pytest.mark.parametrize(
    ("wanted", "settings", "runner"),
    [
        pytest.param("Automatic", VOLUME, "Job", id="no-kfp"),
        pytest.param("Automatic", KFP, "KubeflowPipelines", id="kfp"),
        pytest.param("Automatic", KFP.model_copy(update={"artifacts": ""}), "Job", id="kfp-without-storage"),
        pytest.param("Job", KFP, "Job", id="a-job-beside-kfp"),
        pytest.param("KubeflowPipelines", KFP, "KubeflowPipelines", id="asked-for"),
    ],
)
def test_automatic_is_kubeflow_pipelines_where_the_operator_is_told_of_one(
    wanted: str, settings: ClusterSettings, runner: str
) -> None:
    found = system(runner=wanted)
    assert runner_of(found, settings) == runner
    made = pipelines_of(found, NAMES, settings, OWNER, MemoryKube(), MemoryRegistry())
    assert isinstance(made, KfpServerPipelines if runner == "KubeflowPipelines" else JobPipelines)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        pytest.param(STORAGE, "needs kfp_url in", id="no-kfp"),
        pytest.param(VOLUME, "needs kfp_url and artifacts in", id="neither"),
    ],
)
def test_a_runner_that_is_not_there_is_refused_with_the_way_out(
    settings: ClusterSettings, missing: str
) -> None:
    with pytest.raises(InvalidSpecError, match=missing) as caught:
        runner_of(system(runner="KubeflowPipelines"), settings)
    assert "write runner: Job" in str(caught.value)


def test_a_training_pod_meets_pod_security_restricted() -> None:
    for name in ("run-volume", "run-storage"):
        pod = RENDERS[name]()[1]["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False


def test_the_keys_of_an_object_storage_are_mounted_as_the_address_of_a_database_is() -> None:
    keys = {"secretKeyRef": {"name": "lake", "key": "credentials"}}
    lake = {"name": "clicks", "parquet": {"path": "s3://lake/clicks", "credentialsFrom": keys}}
    assert step_settings(system(sources=[DATABASE, lake]), NAMES, KFP).secrets == {
        "planes-db": ["url"],
        "lake": ["credentials"],
    }


def test_steps_on_kfp_get_what_the_pod_of_a_job_gets() -> None:
    found = system(sources=[DATABASE], **BUSY)
    steps = step_settings(found, NAMES, KFP)
    assert StepSettings.from_json(steps.as_json()).as_json() == steps.as_json()
    assert steps.data_claim == "toy-data"
    assert steps.secrets == {"planes-db": ["url"]}
    assert steps.artifact_keys == "toy-artifact-keys"
    assert steps.requests == {"cpu": "1", "memory": "512Mi"}
    assert steps.limits == {"memory": "2Gi"}
    assert steps.secret_variables == {"KEY": ("mine", "key")}
    assert steps.variables["OMP_NUM_THREADS"] == "2"
    assert steps.variables["HTTPS_PROXY"] == "http://proxy:3128"
    assert steps.labels == NAMES.labels("training"), "or the network policies would shut them in"


def test_two_systems_of_one_name_are_two_models() -> None:
    assert training_places(NAMES, STORAGE).registry_model == "team.toy"
    assert training_places(NAMES, STORAGE).artifacts.startswith("s3://capstan/artifacts/team/toy?")
