"""Secrets that a file names, as volumes: what sources need, and the keys of pseudonyms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from capstan.cluster.names import SECRETS_MOUNT
from capstan.ports.kube import Object
from capstan.spec.secrets import ValueFrom
from capstan.spec.system import MLSystem


def data_secrets(system: MLSystem) -> dict[str, list[str]]:
    """Secrets that reading the data needs: name -> keys."""
    read = [secret for source in system.spec.data.sources for secret in source.settings.secrets]
    return _by_name([*read, *system.spec.data.privacy.secrets])


def secret_volumes(system: MLSystem) -> tuple[list[Object], list[Object]]:
    """The volume with what reading the data needs of Secrets, and its mount; neither where it needs none."""
    return _volumes(data_secrets(system))


def privacy_volumes(system: MLSystem) -> tuple[list[Object], list[Object]]:
    """The volume with the keys of pseudonyms, and its mount; neither where the file has none."""
    return _volumes(_by_name(system.spec.data.privacy.secrets))


def optional_volumes(secrets: Iterable[ValueFrom]) -> tuple[list[Object], list[Object]]:
    """A volume with these Secrets, and its mount; a pod starts without those that are missing."""
    return _volumes(_by_name(secrets), optional=True)


def _by_name(secrets: Iterable[ValueFrom]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for secret in secrets:
        reference = secret.secret_key_ref
        keys = found.setdefault(str(reference.name), [])
        if reference.key not in keys:
            keys.append(reference.key)
    return found


def _volumes(
    secrets: Mapping[str, Sequence[str]], *, optional: bool = False
) -> tuple[list[Object], list[Object]]:
    if not secrets:
        return [], []
    sources: list[Object] = [
        {
            "secret": {
                "name": name,
                "items": [{"key": key, "path": f"{name}/{key}"} for key in keys],
                **({"optional": True} if optional else {}),
            }
        }
        for name, keys in secrets.items()
    ]
    return (
        [{"name": "secrets", "projected": {"sources": sources}}],
        [{"name": "secrets", "mountPath": SECRETS_MOUNT, "readOnly": True}],
    )
