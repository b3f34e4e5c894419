"""Step: which candidate of each model goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from capstan.errors import InvalidDataError
from capstan.spec.models import PlannedModel
from capstan.training.choosing import Choice, choose, runners_up
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
                "runners_up": _runners_up(job, choices[0], found),
                "candidates": [found[name] for model in models for name in model.fit_names if name in found],
            },
        )
        say(reason + (f"; failed: {', '.join(failed)}" if failed else ""))


def _runners_up(job: Job, choice: Choice, found: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the steps after this one take besides the choice; a first model has no rollout that would ask for them."""
    spec = job.system.spec
    if not spec.rollout.runners_up or job.request.champion is None:
        return []
    (model,) = spec.planned_models
    able = [model.fit_name(one) for one in model.candidates if not one.is_baseline]
    names = runners_up(
        {name: value for name, value in _values(job, model, found).items() if name in able},
        choice.name,
        spec.rollout.runners_up,
        metric=spec.task_facts.metric(spec.training.choose.metric),
        within=spec.training.choose.simplest_within,
    )
    return [{"model": model.name, "name": name, "settings": found[name]["settings"]} for name in names]


def _values(job: Job, model: PlannedModel, found: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Of the model's candidates; loops may end in any order, the file's says which is simpler."""
    spec = job.system.spec
    metric = spec.training.choose.metric
    measured = {
        name: found[name]["metrics"].get(metric)
        for name in model.fit_names
        if name in found and not found[name].get("left_out")
    }
    values = {name: math.nan if value is None else value for name, value in measured.items()}
    baselines = {model.fit_name(one) for one in model.candidates if one.is_baseline}
    others = {name: value for name, value in values.items() if name not in baselines}
    # Who flags no row misses a small share by little: beside a model that flags some, that is no merit.
    if metric == spec.task_facts.chosen_without_labels and any(map(math.isfinite, others.values())):
        return others
    return values


def _choice(job: Job, model: PlannedModel, found: Mapping[str, dict[str, Any]]) -> Choice:
    training = job.system.spec.training
    values = _values(job, model, found)
    return choose(
        values,
        metric=job.system.spec.task_facts.metric(training.choose.metric),
        within=training.choose.simplest_within,
        failures={name: failure for name in values if (failure := found[name]["failure"])},
        baselines={model.fit_name(one) for one in model.candidates if one.is_baseline},
        accept_baseline_alone=training.choose.baseline_alone == "Accept",
        left_out={
            name: why for name in model.fit_names if name in found and (why := found[name].get("left_out"))
        },
    )
