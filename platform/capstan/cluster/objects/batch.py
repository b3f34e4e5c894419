"""Batches of predictions in a cluster: the volume that takes them, and one Job per try."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.names import (
    COLLECTOR_PORT,
    DATA_MOUNT,
    PREDICTIONS_MOUNT,
    SECRETS_MOUNT,
    TOKENS_MOUNT,
    VERSION_LABEL,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.access import policy
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.jobs import job_with_files
from capstan.cluster.objects.model import FETCH, HOME_MOUNT
from capstan.cluster.objects.pods import container, environment, pod, token_mount, token_volume, variables
from capstan.cluster.objects.secrets import secret_volumes
from capstan.cluster.objects.training import (
    data_claim_name,
    training_requests,
    training_variables,
)
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.domain.batch_calendar import BatchOrder
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem
from capstan.spec.units import format_bytes

COMPONENT = "batch"
CONTAINER = "batch"
ORDER_MOUNT, WORK_MOUNT = "/order", "/work"
_LOST_PODS = 5
"""Pods of one try that may be lost to the memory's end or to a signal; those that are evicted do not count."""
_GRACE_SECONDS = 30


def batches(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """What all batches share: the claim that takes them, and whom their pods may talk to; nothing without `batch`."""
    if system.spec.batch is None:
        return []
    # Nobody reaches its pods, and they may reach any address, since only the file knows its sources.
    reach = policy(names, COMPONENT, names.selector(COMPONENT), owner, ingress=[], egress=[{}])
    volume = system.spec.batch.volume
    if volume.claim is not None:
        return [reach]
    made = claim(
        system,
        names,
        settings,
        owner,
        name=names.predictions_claim,
        component=COMPONENT,
        size=format_bytes(volume.size or 10 * 2**30),
        storage_class=volume.storage_class,
    )
    return [made, reach]


def batch_objects(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    order: BatchOrder,
    files: Mapping[str, str],
) -> tuple[Object, Object]:
    """The files of one try as a ConfigMap, and its Job."""
    name = names.batch(order)
    labels = {**names.labels(COMPONENT), VERSION_LABEL: str(order.version.name)}
    return job_with_files(
        names,
        owner,
        name,
        labels,
        files,
        _pod(system, names, settings, order, name),
        container=CONTAINER,
        lost_pods=_LOST_PODS,
    )


def _pod(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, order: BatchOrder, name: str
) -> Object:
    assert system.spec.batch is not None
    wanted, place, version = system.spec.training, artifacts_place(names, settings), order.version
    secrets, secret_mounts = secret_volumes(system)
    home = {"name": "bento", "mountPath": HOME_MOUNT}
    taking = system.spec.batch.volume.claim or names.predictions_claim
    fetch = container(
        FETCH,
        settings.images.operator,
        settings.images,
        (
            "python", "-m", "capstan.artifacts.fetch",
            "--tag", version.bento_tag, "--digest", version.digest, "--home", HOME_MOUNT,
        ),
        env=variables(place.variables),
        envFrom=place.env_from,
        mounts=[home, *place.mounts(read_only=True)],
    )  # fmt: skip
    predict = container(
        CONTAINER,
        settings.images.python,
        settings.images,
        (
            "python", "-m", "capstan.embedded.batch.pod",
            "--order", ORDER_MOUNT, "--bento", f"{HOME_MOUNT}/bentos/{version.bento_tag.replace(':', '/', 1)}",
            "--base", DATA_MOUNT, "--secrets", SECRETS_MOUNT, "--output", PREDICTIONS_MOUNT,
            "--collector", f"http://{names.host(names.collector)}:{COLLECTOR_PORT}",
            "--token", f"{TOKENS_MOUNT}/internal",
        ),
        env=variables(
            # What DuckDB has no memory for goes to the disk, and /tmp may be small.
            {**training_variables(system, work=WORK_MOUNT), "TMPDIR": WORK_MOUNT},
            environment(wanted.environment),
        ),
        mounts=[
            {"name": "order", "mountPath": ORDER_MOUNT, "readOnly": True},
            {**home, "readOnly": True},
            {"name": "work", "mountPath": WORK_MOUNT},
            {"name": "data", "mountPath": DATA_MOUNT, "readOnly": True},
            {"name": "predictions", "mountPath": PREDICTIONS_MOUNT},
            *secret_mounts,
            token_mount(),
        ],
        resources=training_requests(system),
    )  # fmt: skip
    return pod(
        names,
        settings,
        [predict],
        init_containers=[fetch],
        volumes=[
            {"name": "order", "configMap": {"name": name}},
            {"name": "bento", "emptyDir": {}},
            {"name": "work", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": data_claim_name(system, names)}},
            {"name": "predictions", "persistentVolumeClaim": {"claimName": taking}},
            *place.volumes,
            *secrets,
            token_volume(names, "internal"),
        ],
        node_selector=wanted.node_selector,
        grace_seconds=_GRACE_SECONDS,
    )
