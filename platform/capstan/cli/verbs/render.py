"""`capstan render`: every object that a file becomes in a cluster, printed and not applied."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import File, Json, honest_errors, print_json

if TYPE_CHECKING:
    from capstan.cluster.settings import ClusterSettings
    from capstan.spec import MLSystem

app = App()

_VERSION = "v1"
_DIGEST = "sha256:" + "0" * 64
_DERIVED = "derived-by-the-operator"

Settings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="The operator's settings.json (`kubectl get configmap capstan-operator -o json` holds it); default: those "
        "of this release.",
        show_default=False,
    ),
]


@app.command(epilog="Example: capstan render system.yaml -n ml | less")
def render(
    file: File,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Default: the file's, else `default`.")
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Print all objects that a system becomes: the fixed ones, those of a version, those of a training run.

    The operator applies them itself. Tokens are shown as placeholders; owner references, which need a uid, are
    left out.
    """
    with honest_errors(json):
        from capstan.cluster.settings import ClusterSettings, read_settings
        from capstan.spec import load

        system = load(file)
        known = read_settings(settings) if settings is not None else ClusterSettings()
        groups = objects_of(system, namespace or system.metadata.namespace or "default", known)
    if json:
        print_json(
            {"apiVersion": "v1", "kind": "List", "items": [one for _, found in groups for one in found]}
        )
    else:
        sys.stdout.write(_text(groups))


def objects_of(
    system: MLSystem, namespace: str, settings: ClusterSettings
) -> list[tuple[str, list[dict[str, Any]]]]:
    """All objects, in groups with a word about each."""
    from capstan.adapters.kubernetes.serving import Artifact
    from capstan.cluster.names import SystemNames
    from capstan.cluster.objects.alerting import WEBHOOK_TOKEN, alerting
    from capstan.cluster.objects.model import model
    from capstan.cluster.objects.recording import TOKEN_NAMES
    from capstan.cluster.objects.seldon import seldon
    from capstan.cluster.objects.training import run_objects
    from capstan.cluster.render import fixed_objects
    from capstan.domain.training import training_run_name
    from capstan.domain.versions import Digest, SystemName, VersionName
    from capstan.spec.providers import PROVIDERS

    name, version = SystemName(system.metadata.name), VersionName(_VERSION)
    names = SystemNames(namespace, name)
    tokens = dict.fromkeys((*TOKEN_NAMES, *(() if settings.rules else (WEBHOOK_TOKEN,))), _DERIVED)
    artifact = Artifact(f"{name}:{_VERSION}", Digest(_DIGEST))
    serving = system.spec.serving
    runtime = PROVIDERS[serving.traffic.provider].made_by or serving.runtime
    made = seldon if runtime == "Seldon" else model
    groups = [
        (
            "There from the first moment on",
            fixed_objects(system, names, settings, None, tokens, None),
        ),
        (
            f"Of each version; here {_VERSION}, with a digest of zeros",
            made(system, names, settings, None, version, artifact),
        ),
    ]
    if settings.rules is None:
        groups.insert(1, ("Alerting, by the Prometheus operator", alerting(system, names, settings, None)))
    if system.spec.training.runner != "KubeflowPipelines":
        run = training_run_name(name, None, 0)
        files = {"system.json": "the file", "request.json": "the request"}
        groups.append(
            (
                "Of each training run that is no Kubeflow pipeline",
                list(run_objects(system, names, settings, None, run, files)),
            )
        )
    return groups


def _text(groups: list[tuple[str, list[dict[str, Any]]]]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 160
    yaml.default_flow_style = False
    yaml.representer.ignore_aliases = lambda _: True
    text = StringIO()
    for about, documents in groups:
        for index, document in enumerate(documents):
            text.write("---\n" + (f"# {about}\n" if not index else ""))
            yaml.dump(document, text)
    return text.getvalue()
