"""The real steps of a first training of one candidate, up to the folder of its model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, choose, evaluate, extract, fit, refit, split

ARTIFACTS = ("table", "report", "cases", "fit", "choice", "evaluation", "model", "runners_up")


def run_steps(folder: Path, home: Path, document: Mapping[str, Any], *, as_of: datetime) -> None:
    """Leave what each step made below `folder` by its name; the candidate is called `linear`."""
    name = SystemName(document["metadata"]["name"])
    request = TrainingRequest(RunName("run"), name, Trigger(TriggerKind.INITIAL, as_of, "a test"), None)
    job = folder / "job"
    places = Places(str(home), str(folder / "secrets"), "", "", str(folder / "bentos"))
    write_job(job, request=request, spec=dict(document), places=places, champion=None)
    at = {artifact: str(folder / artifact) for artifact in ARTIFACTS}
    extract.run(str(job), at["table"])
    check.run(str(job), at["table"], at["report"])
    split.run(str(job), at["table"], at["cases"])
    fit.run(str(job), "linear", at["cases"], at["fit"])
    choose.run(str(job), [at["fit"]], at["choice"])
    evaluate.run(str(job), at["cases"], at["choice"], at["evaluation"])
    refit.run(str(job), at["cases"], at["choice"], at["evaluation"], at["model"], at["runners_up"])
