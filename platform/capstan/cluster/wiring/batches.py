"""Who makes a system's batches of predictions in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from capstan.adapters.kubernetes.batches import JobBatches
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.batch import batch_objects
from capstan.cluster.settings import ClusterSettings
from capstan.domain.batch_calendar import BatchOrder
from capstan.errors import InvalidSpecError, Mistake
from capstan.ports.kube import Kube, Object
from capstan.spec.system import MLSystem


def batches_of(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None, kube: Kube
) -> JobBatches:
    """Tries of this system's batches as Jobs of its namespace.

    Raises InvalidSpecError for another engine, and for a folder that is not in the volume.
    """
    if system.spec.batch is not None and system.spec.batch.engine != "Local":
        rule = (
            f"{system.spec.batch.engine!r} is for `capstan up` without --context in this version, where it reaches any "
            "Spark; in a cluster a batch is one pod: drop engine"
        )
        raise InvalidSpecError([Mistake("spec.batch.engine", rule)])
    if system.spec.batch is not None:
        output = PurePosixPath(system.spec.batch.output)
        # What is written elsewhere in the pod is gone with it, and the batch were taken to be written.
        if output.is_absolute() or ".." in output.parts:
            rule = (
                f"{str(output)!r} leaves the volume of batches, in which it is a folder in a cluster; write a folder "
                "below it, such as predictions"
            )
            raise InvalidSpecError([Mistake("spec.batch.output", rule)])

    def render(order: BatchOrder, files: Mapping[str, str]) -> tuple[Object, Object]:
        return batch_objects(system, names, settings, owner, order, files)

    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return JobBatches(
        kube,
        names.namespace,
        name=names.batch,
        document={"apiVersion": system.api_version, "kind": system.kind, **document},
        render=render,
    )
