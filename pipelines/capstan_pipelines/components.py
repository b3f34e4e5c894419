"""The steps as KFP components: each takes paths and hands them to a plain function.

A component's source is copied into the compiled pipeline, so it must stand alone; everything worth reading is in
`capstan_pipelines.steps`. The image has Capstan installed, so no step installs anything.
"""

# No `from __future__ import annotations`: KFP reads the real types.
# mypy: disable-error-code="misc, untyped-decorator, no-untyped-def"

import functools
import os
from importlib.metadata import version
from typing import Any, List  # noqa: UP035 — KFP's own spelling of lists of artifacts

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

IMAGE_VARIABLE = "CAPSTAN_PIPELINE_IMAGE"
IMAGE = os.environ.get(IMAGE_VARIABLE, f"ghcr.io/capstan-mlops/capstan-python:{version('capstan-mlops')}")

component: Any = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)


@component
def extract(job: Input[Artifact], table: Output[Dataset]):
    from capstan_pipelines import warm

    warm.call("extract", job.path, table.path)


@component
def check(job: Input[Artifact], table: Input[Dataset], report: Output[Artifact]):
    from capstan_pipelines import warm

    warm.call("check", job.path, table.path, report.path)


@component
def split(job: Input[Artifact], table: Input[Dataset], cases: Output[Dataset]):
    from capstan_pipelines import warm

    warm.call("split", job.path, table.path, cases.path)


@component
def fit(job: Input[Artifact], candidate: str, cases: Input[Dataset], fitted: Output[Artifact]):
    from capstan_pipelines import warm

    warm.call("fit", job.path, candidate, cases.path, fitted.path)


@component
def choose(job: Input[Artifact], fitted: Input[List[Artifact]], choice: Output[Artifact]):  # noqa: UP006
    from capstan_pipelines import warm

    warm.call("choose", job.path, [one.path for one in fitted], choice.path)


@component
def evaluate(
    job: Input[Artifact], cases: Input[Dataset], choice: Input[Artifact], evaluation: Output[Artifact]
):
    from capstan_pipelines import warm

    warm.call("evaluate", job.path, cases.path, choice.path, evaluation.path)


@component
def refit(
    job: Input[Artifact],
    cases: Input[Dataset],
    choice: Input[Artifact],
    evaluation: Input[Artifact],
    model: Output[Model],
    runners_up: Output[Artifact],
):
    from capstan_pipelines import warm

    warm.call("refit", job.path, cases.path, choice.path, evaluation.path, model.path, runners_up.path)


@component
def package(
    job: Input[Artifact], model: Input[Model], runners_up: Input[Artifact], packaged: Output[Artifact]
):
    from capstan_pipelines import warm

    warm.call("package", job.path, model.path, runners_up.path, packaged.path)


@component
def register(
    job: Input[Artifact],
    model: Input[Model],
    runners_up: Input[Artifact],
    report: Input[Artifact],
    choice: Input[Artifact],
    evaluation: Input[Artifact],
    packaged: Input[Artifact],
    result: Output[Artifact],
):
    from capstan_pipelines import warm

    warm.call(
        "register",
        job.path,
        model.path,
        runners_up.path,
        report.path,
        choice.path,
        evaluation.path,
        packaged.path,
        result.path,
    )
