"""Training in a cluster: the volume with the data, and one Job per run where Kubeflow Pipelines is not used."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.names import DATA_MOUNT, SECRETS_MOUNT, Owner, SystemNames
from capstan.cluster.objects.access import policy
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.jobs import job_with_files
from capstan.cluster.objects.pods import TMP_MOUNT, container, environment, pod, resources, variables
from capstan.cluster.objects.secrets import secret_volumes
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import RunName
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem
from capstan.spec.units import format_bytes
from capstan.training.job import Places, training_environment

CONTAINER = "training"
JOB_MOUNT, WORK_MOUNT = "/job", "/work"
_LOST_PODS = 2
_GRACE_SECONDS = 30
_REQUESTS = {"cpu": "100m", "memory": "512Mi"}


def training(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """What all runs share: the data claim, and whom their pods may talk to."""
    return [*data_claim(system, names, settings, owner), _policy(names, owner)]


def data_claim(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """The claim for sources and factories; nothing where the file names a claim of its own."""
    volume = system.spec.data.volume
    if volume.claim is not None:
        return []
    return [
        claim(
            system,
            names,
            settings,
            owner,
            name=names.data_claim,
            component="data",
            size=format_bytes(volume.size or 2**30),
            storage_class=volume.storage_class,
        )
    ]


def data_claim_name(system: MLSystem, names: SystemNames) -> str:
    """The claim that is mounted at /data, whoever made it."""
    return str(system.spec.data.volume.claim or names.data_claim)


def training_places(names: SystemNames, settings: ClusterSettings, *, work: str = WORK_MOUNT) -> Places:
    """Where a training pod finds data and secrets and leaves what it makes; `work` is a folder it may write to."""
    return Places(
        base_dir=DATA_MOUNT,
        secrets=SECRETS_MOUNT,
        tracking_uri=settings.tracking_uri,
        artifact_root="",
        bentos=f"{work}/bentos",
        artifacts=artifacts_place(names, settings).uri,
        registry_model=names.registry_model,
    )


def training_variables(system: MLSystem, *, work: str = WORK_MOUNT) -> dict[str, str]:
    """Environment of a training process whose only writable folders are /tmp and `work`."""
    return {
        **training_environment(system.spec.training.threads),
        "HOME": TMP_MOUNT,
        "BENTOML_HOME": f"{work}/bentos",
        "BENTOML_DO_NOT_TRACK": "True",
        "NUMBA_CACHE_DIR": f"{TMP_MOUNT}/numba",
        "MPLCONFIGDIR": f"{TMP_MOUNT}/matplotlib",
    }


def training_requests(system: MLSystem) -> Object:
    """Requests and limits of a training process."""
    return resources(system.spec.training.resources, _REQUESTS)


def run_objects(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    run: RunName,
    files: Mapping[str, str],
) -> tuple[Object, Object]:
    """The run's files as a ConfigMap, and its Job."""
    return job_with_files(
        names,
        owner,
        str(run),
        names.run_labels(run),
        files,
        _pod(system, names, settings, run),
        container=CONTAINER,
        lost_pods=_LOST_PODS,
    )


def _pod(system: MLSystem, names: SystemNames, settings: ClusterSettings, run: RunName) -> Object:
    wanted, place = system.spec.training, artifacts_place(names, settings)
    secrets, secret_mounts = secret_volumes(system)
    volumes: list[Object] = [
        {"name": "job", "configMap": {"name": str(run)}},
        {"name": "work", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": data_claim_name(system, names)}},
        *place.volumes,
        *secrets,
    ]
    mounts: list[Object] = [
        {"name": "job", "mountPath": JOB_MOUNT, "readOnly": True},
        {"name": "work", "mountPath": WORK_MOUNT},
        {"name": "data", "mountPath": DATA_MOUNT, "readOnly": True},
        *place.mounts(read_only=False),
        *secret_mounts,
    ]
    train = container(
        CONTAINER,
        settings.images.python,
        settings.images,
        ("python", "-m", "capstan_pipelines.run_job", "--job", JOB_MOUNT, "--work", WORK_MOUNT),
        env=variables(training_variables(system), environment(wanted.environment)),
        envFrom=place.env_from,
        mounts=mounts,
        resources=training_requests(system),
    )
    return pod(
        names,
        settings,
        [train],
        volumes=volumes,
        node_selector=wanted.node_selector,
        grace_seconds=_GRACE_SECONDS,
    )


def _policy(names: SystemNames, owner: Owner | None) -> Object:
    """NetworkPolicy of a training: nobody reaches it, and it may reach any address, since only the file knows its
    sources.
    """
    return policy(names, "training", names.selector("training"), owner, ingress=[], egress=[{}])
