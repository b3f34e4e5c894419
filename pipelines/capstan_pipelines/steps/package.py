"""Step: the model folders as Bentos with digests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstan.errors import UnavailableError
from capstan.evaluation.gates import judge_value
from capstan.ports.codec import to_json
from capstan.training.job import Job
from capstan_pipelines.steps.documents import write_document
from capstan_pipelines.steps.learning import left_out_in_words, why_left_out
from capstan_pipelines.steps.progress import Telling, step
from capstan_pipelines.steps.runners_up import RunnersUp
from capstan_pipelines.steps.waiting import patiently
from capstan_pipelines.wiring import packager_of

if TYPE_CHECKING:
    from capstan.domain.training import GateOutcome


def run(job_folder: str, model_folder: str, runners_up_folder: str, package_file: str) -> None:
    """Write tag, digest and whether the model keeps what `requirements` asks of it; raises UnavailableError.

    Asked are `modelSize`, `throughput` and `place`. The same of each runner-up stands beside it, with its rank; one
    that can't be packaged is left out.
    """
    with step("package") as say:
        job = Job(job_folder)
        packaged = _packaged(job, Path(model_folder), say)
        packaged["runners_up"], packaged["left_out"] = [], {}
        for rank, candidate in RunnersUp.read(runners_up_folder).made.items():
            try:
                found = _packaged(job, RunnersUp.folder(runners_up_folder, rank), say)
            except UnavailableError:
                # The artifact store is away, which is nobody's fault.
                raise
            except Exception as error:
                packaged["left_out"][candidate] = why_left_out(error)
                say(left_out_in_words(candidate, packaged["left_out"][candidate]))
                continue
            packaged["runners_up"].append({**found, "rank": rank})
        write_document(package_file, packaged)
        made = [packaged, *packaged["runners_up"]]
        say("; ".join(f"{one['tag']}, {in_mebibytes(one['bytes'])}" for one in made))


def _packaged(job: Job, folder: Path, say: Telling) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    packager = packager_of(job)
    tag, digest = packager.package(job.request.system, folder)
    if job.places.artifacts:
        from capstan.artifacts.store import ArtifactStore

        patiently(lambda: ArtifactStore(job.places.artifacts).push_bento(tag, packager.path(tag)), say)
    gates = [to_json(gate) for gate in _judged(job, folder, size)]
    return {"tag": tag, "digest": digest, "bytes": size, "gates": gates}


def _judged(job: Job, folder: Path, size: int) -> Iterator[GateOutcome]:
    """What the file asks of a packaged model."""
    requirements = job.system.spec.requirements
    most, least = requirements.model_size, requirements.throughput
    if most is not None:
        yield judge_value("modelSize", float(size), most=float(most), shown=in_mebibytes)
    # A backtest decides the same on a fast and a slow machine.
    if least is not None and job.places.is_served:
        from capstan.serving.speed import rows_per_second

        yield judge_value("throughput", rows_per_second(folder), least=float(least), shown=_rows_a_second)
    if requirements.place == "OnDevice":
        from capstan.exporting.proving import judge_place

        yield judge_place(folder)


def _rows_a_second(speed: float) -> str:
    return "not known" if math.isnan(speed) else f"{speed:,.4g} rows/s"


def in_mebibytes(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"
