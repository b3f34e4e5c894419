"""Step: which candidate of each model goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from capstan.errors import InvalidDataError
from capstan.spec.models import PlannedModel
from capstan.training.choosing import Choice, choose
from capstan.training.job import Job
from capstan_pipelines.steps.documents import read_document, write_document
from capstan_pipelines.steps.progress import step


def run(job_folder: str, fitted_files: Sequence[str], choice_file: str) -> None:
    """Write the choice with all candidates; raises InvalidDataError with every reason if none can be chosen."""
    with step("choose") as say:
        job = Job(job_folder)
        found = {result["name"]: result for result in map(read_document, fitted_files)}
        models = job.system.spec.planned_models
        choices, wrong = [], []
        for model in models:
            try:
                choices.append(_choice(job, model, found))
            except InvalidDataError as error:
                wrong.append(f"model {model.name}: {error}" if model.name else str(error))
        if wrong:
            raise InvalidDataError("\n".join(wrong))
        reason = "; ".join(choice.reason for choice in choices)
        failed = {name: why for choice in choices for name, why in choice.failed.items()}
        write_document(
            choice_file,
            {
                "chosen": [
                    {"model": model.name, "name": choice.name, "settings": found[choice.name]["settings"]}
                    for model, choice in zip(models, choices, strict=True)
                ],
                "reason": reason,
                "failed": failed,
                "warnings": [
                    f"model {model.name}: {text}" if model.name else text
                    for model, choice in zip(models, choices, strict=True)
                    for text in found[choice.name]["warnings"]
                ],
                "candidates": [found[name] for model in models for name in model.fit_names if name in found],
            },
        )
        say(reason + (f"; failed: {', '.join(failed)}" if failed else ""))


def _choice(job: Job, model: PlannedModel, found: Mapping[str, dict[str, Any]]) -> Choice:
    """Of the model's candidates; loops may end in any order, the file's says which is simpler."""
    training = job.system.spec.training
    metric = training.choose.metric
    results = [found[name] for name in model.fit_names if name in found]
    return choose(
        {
            result["name"]: math.nan if (value := result["metrics"].get(metric)) is None else value
            for result in results
        },
        metric=job.system.spec.task_facts.metric(metric),
        within=training.choose.simplest_within,
        failures={result["name"]: result["failure"] for result in results if result["failure"]},
        baselines={model.fit_name(one) for one in model.candidates if one.is_baseline},
        accept_baseline_alone=training.choose.baseline_alone == "Accept",
    )
