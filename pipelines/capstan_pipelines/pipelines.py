"""The training pipeline: one for all systems and triggers, on one machine and on a KFP server."""

# No `from __future__ import annotations`: KFP reads the real types.
# mypy: disable-error-code="misc, untyped-decorator, no-untyped-def, name-defined, valid-type"

from typing import Any, Callable, List  # noqa: UP035 — KFP's own spelling

from kfp import dsl

from capstan_pipelines import components

NAME = "capstan-train"

Settle = Callable[[str, Any], Any]
"""Takes a step's name and its task, and returns the task as it shall run."""


def as_it_is(_step: str, task: Any) -> Any:
    """The work depends on the moment `asOf` and on what sources hold, which KFP's cache can't know."""
    return task.set_caching_options(False)


def training_pipeline(settle: Settle = as_it_is) -> Any:
    """The pipeline, each task of which went through `settle`."""

    @dsl.pipeline(
        name=NAME,
        description="Extract, check, split, fit and tune candidates, choose, judge, refit, register.",
    )
    def train(job: str, candidates: List[str]) -> dsl.Artifact:  # noqa: UP006
        """`job` is where the run's folder is kept, a path or a URI; `candidates` are names in the file."""
        folder = dsl.importer(artifact_uri=job, artifact_class=dsl.Artifact, reimport=False).output
        extracted = settle("extract", components.extract(job=folder))
        table = extracted.outputs["table"]
        checked = settle("check", components.check(job=folder, table=table))
        parted = settle("split", components.split(job=folder, table=table)).after(checked)
        cases = parted.outputs["cases"]
        with dsl.ParallelFor(candidates, name="candidates") as candidate:
            fitted = settle("fit", components.fit(job=folder, candidate=candidate, cases=cases))
        chosen = settle(
            "choose", components.choose(job=folder, fitted=dsl.Collected(fitted.outputs["fitted"]))
        )
        choice = chosen.outputs["choice"]
        judged = settle("evaluate", components.evaluate(job=folder, cases=cases, choice=choice))
        evaluation = judged.outputs["evaluation"]
        refitted = settle(
            "refit", components.refit(job=folder, cases=cases, choice=choice, evaluation=evaluation)
        )
        model, runners_up = refitted.outputs["model"], refitted.outputs["runners_up"]
        packaged = settle("package", components.package(job=folder, model=model, runners_up=runners_up))
        registered = settle(
            "register",
            components.register(
                job=folder,
                model=model,
                runners_up=runners_up,
                report=checked.outputs["report"],
                choice=choice,
                evaluation=evaluation,
                packaged=packaged.outputs["packaged"],
            ),
        )
        return registered.outputs["result"]

    return train


train = training_pipeline()
