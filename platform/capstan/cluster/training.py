"""Which runner trains a system in a cluster, and how it is made."""

from __future__ import annotations

from typing import Literal

from capstan.cluster.settings import ClusterSettings
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.system import MLSystem

Runner = Literal["Job", "KubeflowPipelines"]


def runner_of(system: MLSystem, settings: ClusterSettings) -> Runner:
    """What trains the system; Automatic is Kubeflow Pipelines where the operator is told of one, else a Job.

    Raises InvalidSpecError where the file asks for what the operator was not told of.
    """
    wanted = system.spec.training.runner
    if wanted == "Automatic":
        return "KubeflowPipelines" if settings.kfp_url and settings.artifacts else "Job"
    if wanted == "KubeflowPipelines":
        missing = [
            name
            for name, value in (("kfp_url", settings.kfp_url), ("artifacts", settings.artifacts))
            if not value
        ]
        if missing:
            raise InvalidSpecError(
                [
                    Mistake(
                        "spec.training.runner",
                        f"'KubeflowPipelines' needs {' and '.join(missing)} in the operator's settings: the address of "
                        "its API, and object storage, since its steps share no volume; set them in the chart, or write "
                        "runner: Job",
                    )
                ]
            )
    return wanted
