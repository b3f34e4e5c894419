"""Step: the version in the registry, with everything that led to it; waits while the registry is away."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from capstan.domain.training import GateOutcome
from capstan.domain.versions import Digest, ModelVersion, VersionName
from capstan.errors import UnavailableError
from capstan.ports.codec import from_json, to_json
from capstan.training.job import Job
from capstan.training.model_folder import as_json
from capstan_pipelines.steps.progress import Say, step

PATIENCE = "CAPSTAN_REGISTRY_PATIENCE_SECONDS"
_DEFAULT_PATIENCE = 6 * 3600.0
_LONGEST_WAIT = 30.0

T = TypeVar("T")


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
        from capstan.adapters.mlflow_registry import MlflowRegistry, RunRecord

        registry = MlflowRegistry(
            job.request.system,
            tracking_uri=job.places.tracking_uri,
            artifact_root=Path(job.places.artifact_root) if job.places.artifact_root else None,
        )
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
        tags = {"trigger": trigger.kind.value, "trigger.reason": trigger.reason, "candidate": choice["name"]}

        def attempt() -> ModelVersion:
            registry.record_run(made, record)
            return registry.register(made, tags=tags, metrics=metrics)

        version = patiently(attempt, say)
        path = Path(result_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            as_json(
                {
                    "version": to_json(version),
                    "gates": [to_json(gate) for gate in gates],
                    "candidates": {
                        result["name"]: {n: v for n, v in result["metrics"].items() if v is not None}
                        for result in choice["candidates"]
                    },
                    "message": choice["reason"],
                }
            )
        )
        say(f"{version.name}, {version.digest[:19]}")


def patiently(
    attempt: Callable[[], T],
    say: Say,
    *,
    sleep: Callable[[float], None] = time.sleep,
    patience: float | None = None,
) -> T:
    """Repeat while the registry does not answer, waiting 1, 2, 4, ... up to 30 s: no trained model is thrown away."""
    if patience is None:
        patience = float(os.environ.get(PATIENCE, _DEFAULT_PATIENCE))
    waited, wait = 0.0, 1.0
    while True:
        try:
            return attempt()
        except UnavailableError as error:
            if waited >= patience:
                raise
            say(f"{error}; trying again in {wait:g} s")
            sleep(wait)
            waited, wait = waited + wait, min(_LONGEST_WAIT, wait * 2)


def _parameters(job: Job, choice: dict[str, Any]) -> dict[str, str]:
    trigger = job.request.trigger
    return {
        "candidate": choice["name"],
        "as_of": trigger.as_of.isoformat(),
        "trigger": trigger.kind.value,
        "champion": job.request.champion or "",
        "seed": str(job.seed),
        **{f"settings.{name}": f"{value:g}" for name, value in choice["settings"].items()},
    }


def _metrics(choice: dict[str, Any], evaluation: dict[str, Any], package: dict[str, Any]) -> dict[str, float]:
    found = {f"test.{name}": value for name, value in evaluation["metrics"].items()}
    found |= {f"champion.{name}": value for name, value in (evaluation["champion_metrics"] or {}).items()}
    for result in choice["candidates"]:
        found |= {f"validation.{result['name']}.{name}": value for name, value in result["metrics"].items()}
        found[f"seconds.{result['name']}"] = result["seconds"]
    found |= {"rows.test": evaluation["rows"], "model_bytes": package["bytes"]}
    return {name: float(value) for name, value in found.items() if value is not None}
