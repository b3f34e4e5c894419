"""Writes the pipeline as the YAML that a KFP server takes: `python -m capstan_pipelines.compile -o train.yaml`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from capstan.adapters.kubeflow.compile import StepSettings

_WITH_DATA = ("extract", "fit", "evaluate", "refit")
"""Steps that read sources, or factories that lie beside them."""
_WITH_ARTIFACTS = ("evaluate", "package", "register")
"""Steps that fetch the champion's Bento or leave something of their own."""


def compile_pipeline(output: Path, settings: StepSettings | None = None) -> None:
    """Write the compiled pipeline; the same source, image and settings give the same bytes."""
    from kfp import compiler

    from capstan_pipelines.pipelines import train, training_pipeline

    pipeline = (
        train if settings is None else training_pipeline(lambda step, task: settle(step, task, settings))
    )
    compiler.Compiler().compile(pipeline, str(output))


def settle(step: str, task: Any, settings: StepSettings) -> Any:
    """The task as it shall run in the system's namespace: volumes, secrets, resources, nodes, environment."""
    from kfp import kubernetes

    from capstan_pipelines.pipelines import as_it_is

    as_it_is(step, task)
    for name, value in settings.variables.items():
        task.set_env_variable(name, value)
    for kind, amounts in (("request", settings.requests), ("limit", settings.limits)):
        for amount, value in amounts.items():
            getattr(task, f"set_{amount}_{kind}")(value)
    kubernetes.set_image_pull_policy(task, settings.pull_policy)
    if settings.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.pull_secrets))
    kubernetes.set_security_context(task, run_as_user=settings.user, run_as_non_root=True)
    for name, value in settings.labels.items():
        kubernetes.add_pod_label(task, name, value)
    for name, value in settings.node_selector.items():
        kubernetes.add_node_selector(task, name, value)
    for name, (secret, key) in settings.secret_variables.items():
        kubernetes.use_secret_as_env(task, secret, {key: name})
    if step in _WITH_DATA and settings.data_claim:
        kubernetes.mount_pvc(task, pvc_name=settings.data_claim, mount_path=settings.data_mount)
    if step == "extract":
        for secret in settings.secrets:
            kubernetes.use_secret_as_volume(
                task, secret_name=secret, mount_path=f"{settings.secrets_mount}/{secret}"
            )
    if step in _WITH_ARTIFACTS and settings.artifact_keys:
        kubernetes.use_secret_as_env(
            task, settings.artifact_keys, {key: key for key in settings.artifact_key_names}
        )
    return task


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m capstan_pipelines.compile", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("train.yaml"))
    parser.add_argument("--image", help="image of every step; it must have Capstan installed")
    parser.add_argument(
        "--settings", help="file with the settings of a system's steps as JSON; - for standard input"
    )
    arguments = parser.parse_args()
    settings = None
    if arguments.settings:
        text = sys.stdin.read() if arguments.settings == "-" else Path(arguments.settings).read_text()
        settings = StepSettings.from_json(text)
    image = arguments.image or (settings.image if settings is not None else None)
    if image:
        # Components read it when they are defined, which is when they are imported.
        os.environ["CAPSTAN_PIPELINE_IMAGE"] = image
    compile_pipeline(arguments.output, settings)


if __name__ == "__main__":
    main()
