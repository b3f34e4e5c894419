"""Step: the version in the registry, with everything that led to it; waits while the registry is away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capstan.domain.training import GateOutcome
from capstan.domain.versions import Digest, ModelVersion, VersionName
from capstan.ports.codec import from_json
from capstan.ports.registry import RunRecord
from capstan.training.job import Job
from capstan.training.model_folder import as_json
from capstan.training.result import result_document, result_path
from capstan_pipelines.steps.progress import step
from capstan_pipelines.steps.waiting import patiently
from capstan_pipelines.wiring import registry_of


def run(
    job_folder: str,
    model_folder: str,
    check_file: str,
    choice_file: str,
    evaluation_file: str,
    package_file: str,
    result_file: str,
) -> None:
    """Write the registered version with its gates; raises UnavailableError when patience ends."""
    with step("register") as say:
        job = Job(job_folder)
        choice, evaluation, package = (
            json.loads(Path(file).read_text()) for file in (choice_file, evaluation_file, package_file)
        )
        gates = [from_json(GateOutcome, gate) for gate in [*evaluation["gates"], *package["gates"]]]
        metrics = {name: value for name, value in evaluation["metrics"].items() if value is not None}
        made = ModelVersion(
            name=VersionName(""),
            digest=Digest(package["digest"]),
            run=job.request.run,
            bento_tag=package["tag"],
            as_of=job.request.trigger.as_of,
            metrics=metrics,
        )
        registry = registry_of(job)
        record = RunRecord(
            parameters=_parameters(job, choice),
            metrics=_metrics(choice, evaluation, package),
            artifacts={
                "check.json": Path(check_file),
                "choice.json": Path(choice_file),
                "evaluation.json": Path(evaluation_file),
                "model/manifest.json": Path(model_folder) / "manifest.json",
                "spec.json": Path(model_folder) / "spec.json",
            },
        )
        trigger = job.request.trigger
        tags = {"trigger": trigger.kind.value, "trigger.reason": trigger.reason, "candidate": _chosen(choice)}

        candidates = {
            tried["name"]: {name: value for name, value in tried["metrics"].items() if value is not None}
            for tried in choice["candidates"]
        }

        check = json.loads(Path(check_file).read_text())

        def result(version: ModelVersion) -> str:
            return as_json(
                result_document(
                    version,
                    gates,
                    candidates,
                    choice["reason"],
                    chosen=[taken["name"] for taken in choice["chosen"]],
                    failed=choice["failed"],
                    warnings=[*check["suspicions"], *evaluation["warnings"], *choice["warnings"]],
                    details=evaluation["details"],
                )
            )

        def attempt() -> ModelVersion:
            if job.places.artifacts and registry.version_of(made.run) is None:
                _leave(job, result(made))
            registry.record_run(made, record)
            return registry.register(made, tags=tags, metrics=metrics)

        version = patiently(attempt, say)
        if job.places.artifacts:
            patiently(lambda: _leave(job, result(version)), say)
        path = Path(result_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result(version))
        say(f"{version.name}, {version.digest[:19]}")


def _leave(job: Job, result: str) -> None:
    """Beside the Bento, where whoever asks after the run is gone finds it."""
    from capstan.artifacts.store import ArtifactStore

    ArtifactStore(job.places.artifacts).write(result_path(job.request.run), result.encode())


def _parameters(job: Job, choice: dict[str, Any]) -> dict[str, str]:
    trigger = job.request.trigger
    return {
        "candidate": _chosen(choice),
        "as_of": trigger.as_of.isoformat(),
        "trigger": trigger.kind.value,
        "champion": job.request.champion or "",
        "seed": str(job.seed),
        **{
            ".".join(filter(None, ("settings", taken["model"], name))): f"{value:g}"
            for taken in choice["chosen"]
            for name, value in taken["settings"].items()
        },
    }


def _chosen(choice: dict[str, Any]) -> str:
    return ", ".join(taken["name"] for taken in choice["chosen"])


def _metrics(choice: dict[str, Any], evaluation: dict[str, Any], package: dict[str, Any]) -> dict[str, float]:
    found = {f"test.{name}": value for name, value in evaluation["metrics"].items()}
    found |= {f"champion.{name}": value for name, value in (evaluation["champion_metrics"] or {}).items()}
    for result in choice["candidates"]:
        found |= {f"validation.{result['name']}.{name}": value for name, value in result["metrics"].items()}
        found[f"seconds.{result['name']}"] = result["seconds"]
    for model, of_model in evaluation["models"].items():
        found |= {f"test.{model}.{name}": value for name, value in of_model["metrics"].items()}
    found |= {"rows.test": evaluation["rows"], "model_bytes": package["bytes"]}
    return {name: float(value) for name, value in found.items() if value is not None}
