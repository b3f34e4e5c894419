"""The champion's model as a candidate goes on with it, and the rows that came since; or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic.alias_generators import to_camel

from capstan.domain.versions import ModelVersion
from capstan.errors import InvalidSpecError
from capstan.spec.families import Candidate, FineTune
from capstan.spec.models import PlannedModel
from capstan.spec.own_code import OwnCode
from capstan.spec.system import MLSystem
from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted, times_of
from capstan_pipelines.steps.champion import champion_folder
from capstan_pipelines.steps.documents import read_document
from capstan_pipelines.steps.progress import Telling


@dataclass(frozen=True)
class Parent:
    """A version that goes on."""

    version: str
    pipeline: Any
    """scikit-learn Pipeline of the fitted `transform` and `model`."""
    learnt_until: datetime
    """Moment of the newest row that it has learnt."""

    def since(self, table: pa.Table, column: str) -> pa.Table:
        """The rows that are newer than all that it has learnt."""
        return table.filter(pa.array(times_of(table, column) > self._moment))

    def knows(self, cases: Parted, column: str) -> str:
        """Which rows to judge by it may have learnt, in words; empty: none.

        Rows of the same moment as its newest count as learnt.
        """
        times = times_of(cases.table, column)
        for part, rows in (("validation", cases.validation), ("test", cases.test)):
            if len(rows) and times[rows].min() <= self._moment:
                return (
                    f"{self.version} has learnt rows up to {_shown(self._moment)} UTC, and the {part} window begins at "
                    f"{_shown(times[rows].min())}: it would be measured on rows that it knows; train later, or make "
                    "`data.split.byTime` shorter"
                )
        return ""

    @property
    def _moment(self) -> np.datetime64:
        return np.datetime64(self.learnt_until.astimezone(UTC).replace(tzinfo=None), "us")


def _shown(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]")).replace("T", " ")


def newest(table: pa.Table, column: str | None) -> datetime | None:
    """Moment of the newest row; None where rows have no time."""
    if column is None or not table.num_rows:
        return None
    times: npt.NDArray[np.datetime64] = times_of(table, column)
    found: datetime = times.max().astype("datetime64[us]").astype(datetime)
    return found.replace(tzinfo=UTC)


def parent_of(job: Job, model: PlannedModel, candidate: Candidate, say: Telling) -> Parent | str:
    """What the candidate, a fineTune, goes on with; or why it can't, in words.

    Own code must be importable. Raises UntrustedArtifactError for a changed champion.
    """
    if job.champion is None:
        return "there is no version yet to go on with; it is tried from the next training on"
    folder = champion_folder(job, job.champion, say)
    manifest = read_document(str(folder / "manifest.json"))
    why_not = _why_not(job, model, candidate, job.champion, folder, manifest)
    if why_not:
        return why_not
    import joblib  # type: ignore[import-untyped]

    from capstan.features.several_models import parts_of

    # Its own code is that of this run, which is what the new model will be saved with.
    pipeline = joblib.load(folder / "pipeline.joblib")
    parts = parts_of(pipeline)
    return Parent(
        job.champion.name,
        pipeline if parts is None else parts[model.name],
        datetime.fromisoformat(manifest["learnt_until"]),
    )


def _why_not(
    job: Job,
    model: PlannedModel,
    candidate: Candidate,
    champion: ModelVersion,
    folder: Path,
    manifest: Mapping[str, Any],
) -> str:
    name, until = champion.name, manifest.get("learnt_until")
    if until is None:
        return (
            f"{name} does not say up to when it learnt, for an earlier Capstan made it; the next version will"
        )
    try:
        from capstan.spec import parse

        before = parse(read_document(str(folder / "spec.json")), base_dir=job.system.base_dir)
    except InvalidSpecError as error:
        return f"the file of {name} can't be read any more: {error.mistakes[0]}"
    theirs = next((one for one in before.spec.planned_models if one.name == model.name), None)
    if theirs is None or (before.spec.objective.task, theirs.target) != (
        job.system.spec.objective.task,
        model.target,
    ):
        return f"{name} was trained for another task or label"
    if before.spec.data.time_zone != job.system.spec.data.time_zone:
        return f"`data.timeZone` has changed since {name}"
    if before.spec.data.query != job.system.spec.data.query:
        return f"`data.query` has changed since {name}"
    if before.spec.training.balance is not None:
        return f"{name} has learnt balanced rows (`training.balance`), and newer rows have other shares"
    if before.spec.training.reweigh != job.system.spec.training.reweigh:
        return f"`training.reweigh` has changed since {name}"
    return _other_model(
        job.system, candidate, name, _made_by(before, model.name, manifest)
    ) or _other_features(job, name, model, theirs, folder)


def _made_by(before: MLSystem, model: str, manifest: Mapping[str, Any]) -> Candidate | str:
    """The candidate of its file that the champion goes back to; its name where the file has none of it."""
    of_model = {part["name"]: part["candidate"] for part in manifest.get("models") or ()}
    name = str(of_model.get(model, manifest["candidate"])).rpartition("/")[2]
    known = {one.name: one for one in before.spec.training.candidates}
    found = known.get(name)
    if found is not None and isinstance(found.chosen, FineTune):
        found = known.get(found.chosen.of)
    return name if found is None else found


def _other_model(system: MLSystem, candidate: Candidate, name: str, made_by: Candidate | str) -> str:
    known = {one.name: one for one in system.spec.training.candidates}
    of = known[candidate.chosen.of]
    if isinstance(made_by, str):
        return f"{name} was made by {made_by!r}, which its file does not name"
    if made_by.kind != of.kind:
        return f"{name} is {made_by.name!r}, of {made_by.key}, and {of.name!r} is of {of.key}"
    changed = [
        to_camel(setting)
        for setting in type(of.chosen).model_fields
        if getattr(of.chosen, setting) != getattr(made_by.chosen, setting)
    ]
    return f"settings of {of.name!r} have changed since {name}: {', '.join(changed)}" if changed else ""


def _other_features(job: Job, name: str, ours: PlannedModel, theirs: PlannedModel, folder: Path) -> str:
    if ours.features != theirs.features:
        before = {one.name: one for one in theirs.features}
        now = {one.name: one for one in ours.features}
        changed = [one for one in dict.fromkeys([*before, *now]) if before.get(one) != now.get(one)]
        return f"features have changed since {name}: {', '.join(changed) or 'their order'}"
    has_own = any(isinstance(one.chosen, OwnCode) or one.settings.embedding for one in ours.features)
    if has_own and _sources(job.factories) != _sources(folder / "factories"):
        return f"code of your own has changed since {name}"
    return ""


def _sources(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.py"))}
