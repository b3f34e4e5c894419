"""Step: the model folder as a Bento with a digest."""

from __future__ import annotations

from pathlib import Path

from capstan.evaluation.gates import judge_value
from capstan.ports.codec import to_json
from capstan.training.job import Job
from capstan_pipelines.steps.documents import write_document
from capstan_pipelines.steps.progress import step
from capstan_pipelines.steps.waiting import patiently
from capstan_pipelines.wiring import packager_of


def run(job_folder: str, model_folder: str, package_file: str) -> None:
    """Write tag, digest and whether the model keeps `requirements.modelSize`; raises UnavailableError."""
    with step("package") as say:
        job, folder = Job(job_folder), Path(model_folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        packager = packager_of(job)
        tag, digest = packager.package(job.request.system, folder)
        if job.places.artifacts:
            from capstan.artifacts.store import ArtifactStore

            patiently(lambda: ArtifactStore(job.places.artifacts).push_bento(tag, packager.path(tag)), say)
        most = job.system.spec.requirements.model_size
        gates = (
            []
            if most is None
            else [to_json(judge_value("modelSize", float(size), most=float(most), shown=in_mebibytes))]
        )
        write_document(package_file, {"tag": tag, "digest": digest, "bytes": size, "gates": gates})
        say(f"{tag}, {size / 2**20:.1f} MiB")


def in_mebibytes(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"
