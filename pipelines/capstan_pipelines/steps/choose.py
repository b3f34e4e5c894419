"""Step: which candidate goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from capstan.spec.tasks import TASK_FACTS
from capstan.training.choosing import choose
from capstan.training.job import Job
from capstan.training.model_folder import as_json
from capstan_pipelines.steps.progress import step


def run(job_folder: str, fitted_files: Sequence[str], choice_file: str) -> None:
    """Write the choice with all candidates; raises InvalidDataError with every reason if none can be chosen."""
    with step("choose") as say:
        job = Job(job_folder)
        training = job.system.spec.training
        found = {
            result["name"]: result for result in (json.loads(Path(file).read_text()) for file in fitted_files)
        }
        # Loops may end in any order; the file's order says which is simpler.
        results = [found[candidate.name] for candidate in training.candidates if candidate.name in found]
        metric = training.choose.metric
        values = {
            result["name"]: math.nan if (value := result["metrics"].get(metric)) is None else value
            for result in results
        }
        failures = {result["name"]: result["failure"] for result in results if result["failure"]}
        choice = choose(
            values,
            metric=TASK_FACTS[job.system.spec.objective.task].metric(metric),
            within=training.choose.simplest_within,
            failures=failures,
            baselines={one.name for one in training.candidates if one.is_baseline},
            accept_baseline_alone=training.choose.baseline_alone == "Accept",
        )
        taken = found[choice.name]
        path = Path(choice_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            as_json(
                {
                    "name": choice.name,
                    "reason": choice.reason,
                    "settings": taken["settings"],
                    "failed": choice.failed,
                    "warnings": taken["warnings"],
                    "candidates": results,
                }
            )
        )
        failed = f"; failed: {', '.join(choice.failed)}" if choice.failed else ""
        say(f"{choice.reason}{failed}")
