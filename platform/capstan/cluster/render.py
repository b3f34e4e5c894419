"""All fixed objects of a system: what is there before the first model is trained, and stays."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.access import KEY_NAMES, access
from capstan.cluster.objects.batch import batches
from capstan.cluster.objects.recording import recording, tokens
from capstan.cluster.objects.training import training
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic import traffic_of
from capstan.errors import UnavailableError
from capstan.ports.kube import Object
from capstan.spec import MLSystem


def fixed_objects(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    values: Mapping[str, str],
    keys: Mapping[str, str] | None = None,
) -> list[Object]:
    """The objects in the order in which they are needed; `capstan.adapters.kubernetes.alerting` brings the alert
    rules.

    `values` are the tokens by name, `keys` those of the object storage (None: there are none, or they are not known).
    """
    return [
        *access(system, names, settings, owner, keys),
        tokens(names, owner, values),
        *training(system, names, settings, owner),
        *batches(system, names, settings, owner),
        *recording(system, names, settings, owner),
        *traffic_of(system).objects(system, names, settings, owner),
    ]


def storage_keys(settings: ClusterSettings) -> Mapping[str, str] | None:
    """The keys of the object storage that the operator itself was given; None: it was given none.

    Raises UnavailableError while their files are not there: the stack may be installed after the operator.
    """
    folder = settings.artifact_keys
    if folder is None:
        return None
    try:
        return {name: (folder / name).read_text().strip() for name in KEY_NAMES}
    except OSError as error:
        secret = f"Secret {settings.namespace}/{settings.artifact_keys_secret or 'with the keys'}"
        raise UnavailableError(
            "the object storage",
            f"the operator waits for its keys ({error.filename}: {error.strerror}), {secret}; install "
            "charts/capstan-stack in the operator's namespace, or name an object storage in the chart's `artifacts`",
        ) from error
