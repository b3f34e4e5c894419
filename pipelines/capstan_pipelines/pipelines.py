"""The training pipeline: one for all systems and triggers, on one machine and on a KFP server."""

# No `from __future__ import annotations`: KFP reads the real types.
# mypy: disable-error-code="misc, untyped-decorator, no-untyped-def, name-defined, valid-type"

from typing import List  # noqa: UP035 — KFP's own spelling

from kfp import dsl

from capstan_pipelines import components

NAME = "capstan-train"


@dsl.pipeline(
    name=NAME, description="Extract, check, split, fit and tune candidates, choose, judge, refit, register."
)
def train(job: str, candidates: List[str]) -> dsl.Artifact:  # noqa: UP006
    """`job` is where the run's folder is kept, a path or a URI; `candidates` are names in the file.

    The work depends on the moment `asOf` and on what sources hold, which KFP's cache can't know: nothing is cached.
    """
    folder = dsl.importer(artifact_uri=job, artifact_class=dsl.Artifact, reimport=False).output
    extracted = components.extract(job=folder).set_caching_options(False)
    table = extracted.outputs["table"]
    checked = components.check(job=folder, table=table).set_caching_options(False)
    parted = components.split(job=folder, table=table).after(checked).set_caching_options(False)
    cases = parted.outputs["cases"]
    with dsl.ParallelFor(candidates, name="candidates") as candidate:
        fitted = components.fit(job=folder, candidate=candidate, cases=cases).set_caching_options(False)
    chosen = components.choose(
        job=folder, fitted=dsl.Collected(fitted.outputs["fitted"])
    ).set_caching_options(False)
    choice = chosen.outputs["choice"]
    judged = components.evaluate(job=folder, cases=cases, choice=choice).set_caching_options(False)
    evaluation = judged.outputs["evaluation"]
    refitted = components.refit(job=folder, cases=cases, choice=choice, evaluation=evaluation)
    model = refitted.set_caching_options(False).outputs["model"]
    packaged = components.package(job=folder, model=model).set_caching_options(False)
    registered = components.register(
        job=folder,
        model=model,
        report=checked.outputs["report"],
        choice=choice,
        evaluation=evaluation,
        packaged=packaged.outputs["packaged"],
    ).set_caching_options(False)
    return registered.outputs["result"]
