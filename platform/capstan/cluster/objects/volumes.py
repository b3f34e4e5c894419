"""A system's claims on storage."""

from __future__ import annotations

from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem


def claim(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    *,
    name: str,
    component: str,
    size: str,
    storage_class: str | None = None,
) -> Object:
    """A PersistentVolumeClaim for one node at a time; the settings' class, or the cluster's, where none is named.

    Under `deletionPolicy: Retain` nobody owns it: garbage collection leaves it, whatever way its system goes.
    """
    if system.spec.deletion_policy == "Retain":
        owner = None
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    storage_class = storage_class or settings.storage_class
    if storage_class is not None:
        spec["storageClassName"] = str(storage_class)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": names.metadata(name, names.labels(component), owner),
        "spec": spec,
    }
