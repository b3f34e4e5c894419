"""Volumes that outlive their system: what `deletionPolicy: Retain` leaves, and the next system of the name takes up.

A kept claim has no owner and carries a mark, so that the next system can tell what it found.
"""

from __future__ import annotations

from collections.abc import Sequence

from capstan.cluster.names import GROUP, SYSTEM_LABEL, Owner, SystemNames
from capstan.domain.versions import SystemName
from capstan.errors import NotFoundError
from capstan.ports.kube import Kube, Object

KEPT = f"{GROUP}/kept-of"
"""Annotation of a claim with the uid of the deleted system whose it was."""
CLAIM = "PersistentVolumeClaim"


class KeptVolumes:
    """Lets claims of systems go and takes them up. The operator may write a claim; it has no right to read one."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def part(self, system: Object) -> tuple[str, ...]:
        """Settle what becomes of the claims of a system that is being deleted; names of those that stay.

        The file decides as it is now, though nothing else in it could be followed: a moment ago it may have said the
        opposite, and the claims are still owned as it said then. Repeated, nothing changes.
        """
        meta = system["metadata"]
        goes = (system.get("spec") or {}).get("deletionPolicy") == "Delete"
        owner = Owner(str(meta["name"]), str(meta["uid"]))
        change: Object = (
            {"ownerReferences": [owner.reference()]}
            if goes
            else {"ownerReferences": None, "annotations": {KEPT: owner.uid}}
        )
        there = [
            name for name in _claims(system) if self._patch(meta["namespace"], name, {"metadata": change})
        ]
        return () if goes else tuple(there)

    def take(self, namespace: str, names: Sequence[str]) -> None:
        """Forget that these were kept: a system has them again."""
        for name in names:
            self._patch(namespace, name, {"metadata": {"annotations": {KEPT: None}}})

    def _patch(self, namespace: str, name: str, change: Object) -> bool:
        try:
            self._kube.patch(CLAIM, name, namespace, change)
        except NotFoundError:
            return False
        return True


def was_kept(document: Object) -> bool:
    """Whether this object, as the API server has it, is a claim that a deleted system left."""
    return document["kind"] == CLAIM and KEPT in (document["metadata"].get("annotations") or {})


def describe_kept(namespace: str, system: str, claims: Sequence[str]) -> str:
    """Where the data is, and the two ways on."""
    return (
        f"deletionPolicy: Retain keeps the volumes {', '.join(claims)} with payloads, labels and tables; a system "
        f"named {system} in this namespace takes them up again. To delete them: kubectl delete pvc -n {namespace} "
        f"-l {SYSTEM_LABEL}={system}"
    )


def describe_taken(claims: Sequence[str]) -> str:
    """What a new system has found."""
    return (
        f"the volumes {', '.join(claims)} of a deleted system of this name are used again, with the payloads, labels "
        "and tables in them; to begin without them, delete the system and the volumes, and apply it again"
    )


def _claims(system: Object) -> list[str]:
    """Claims that Capstan makes; a claim that the file names belongs to a person."""
    meta = system["metadata"]
    names = SystemNames(str(meta["namespace"]), SystemName(str(meta["name"])))
    spec = system.get("spec") or {}
    data = (spec.get("data") or {}).get("volume") or {}
    own_data = [] if data.get("claim") else [names.data_claim]
    # A file that asks for batches no more may have had a claim for them.
    batches = ((spec.get("batch") or {}).get("volume") or {}).get("claim")
    own_batches = [] if batches else [names.predictions_claim]
    return [*own_data, names.record_claim, names.artifacts_claim, *own_batches]
