"""The whole file: an MLSystem with its name and its seven steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.batch import Batch
from capstan.spec.combination import Combination
from capstan.spec.data import CLASSES, Data, Drawn
from capstan.spec.evaluation import Evaluation
from capstan.spec.features import Feature
from capstan.spec.grammar import Name, SpecModel, SystemNameText
from capstan.spec.location import Location, path_text
from capstan.spec.models import MOST_MODELS, Combine, Model, PlannedModel, planned_models
from capstan.spec.monitoring import Monitoring
from capstan.spec.objective import Objective, Requirements
from capstan.spec.replay import Replay
from capstan.spec.retraining import Retraining
from capstan.spec.rollout import Analysis, Blocks, Rollout, Step, steps_by_operation
from capstan.spec.rules import broken_rules
from capstan.spec.serving import Serving
from capstan.spec.tasks import TaskFacts
from capstan.spec.training import Training, usual_candidates
from capstan.spec.units import Flag
from capstan.spec.writing import in_blocks

API_VERSION = "capstan.dev/v1alpha1"
WITHOUT_RULES: dict[str, Any] = {"rules": False}
"""Context of a validation whose caller asks for the rules between fields itself."""
_Part = TypeVar("_Part", bound=SpecModel)


class Metadata(SpecModel):
    """Name and labels, as every Kubernetes object has them."""

    name: SystemNameText = Field(
        description="Name of the system: lower-case letters, digits and dashes, beginning with a letter, at most 40.",
        examples=["flight-delays"],
    )
    namespace: Name | None = Field(
        None, description="Namespace in a cluster; not used on one machine.", examples=["ml"]
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the object in a cluster.", examples=[{"team": "travel"}]
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="Annotations of the object in a cluster.",
        examples=[{"owner": "ops"}],
    )


class MLSystemSpec(SpecModel):
    """What the system must do."""

    objective: Objective = Field(
        description="What the system is for.",
        examples=[{"task": "BinaryClassification", "target": "late"}],
    )
    requirements: Requirements = Field(
        default_factory=Requirements,
        description="Bounds that a version must keep to be promoted.",
        examples=[{"latencyP99": "50ms", "modelSize": "50Mi"}],
    )
    data: Data = Field(
        description="Where rows come from, what identifies them and when labels are known.",
        examples=[{"sources": [{"name": "flights", "csv": {"path": "data/flights.csv"}}]}],
    )
    features: tuple[Feature, ...] = Field(
        min_length=1,
        max_length=5000,
        description="Which columns become features, and how.",
        examples=[[{"name": "distance", "numeric": {"scale": "Log"}}]],
    )
    training: Training = Field(
        default_factory=Training,
        description="Which models are tried, and how one is chosen.",
        examples=[{"choose": {"metric": "rocAuc"}}],
    )
    models: tuple[Model, ...] = Field(
        (),
        max_length=MOST_MODELS,
        description="The models of a system that needs several, each with inputs and outputs of its own; without it "
        "the system has one.",
        examples=[[{"name": "departure", "target": "departed_late"}, {"name": "arrival"}]],
    )
    combine: Combine | None = Field(
        None, description="How the models' answers become one.", examples=[{"rule": "Any"}]
    )
    evaluation: Evaluation = Field(
        default_factory=Evaluation,
        description="What a new model must show before it meets users.",
        examples=[{"gates": [{"metric": "rocAuc", "margin": 0.005}]}],
    )
    serving: Serving = Field(
        default_factory=Serving,
        description="How predictions are served.",
        examples=[{"replicas": {"max": 3}}],
    )
    rollout: Rollout = Field(
        default_factory=Rollout,
        description="How a new version meets users, and what stops it.",
        examples=[{"steps": [{"canary": {"weight": 25, "duration": "2d"}}]}],
    )
    monitoring: Monitoring = Field(
        default_factory=Monitoring,
        description="What is watched while a version serves.",
        examples=[{"window": {"duration": "7d"}}],
    )
    retraining: Retraining = Field(
        default_factory=Retraining,
        description="What starts a training, and what holds it back.",
        examples=[{"cooldown": "14d"}],
    )
    replay: Replay | None = Field(
        None,
        description="Recorded data sent as live traffic; without it only real requests are served.",
        examples=[{"start": "2013-02-01", "end": "2014-01-01", "sample": "36%"}],
    )
    batch: Batch | None = Field(
        None,
        description="Predictions for all new rows of the sources, written by the calendar.",
        examples=[{"schedule": "0 3 * * *", "output": "predictions"}],
    )
    suspend: Flag = Field(
        False,
        description="Whether everything stops safely: no training, no step; the champion goes on serving.",
        examples=[True],
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="Whether payloads, labels, tables on its volume and the registry's aliases outlive the system in a "
        "cluster. Versions in the registry and what is in object storage stay in either case.",
        examples=["Retain"],
    )

    @property
    def drawn_split(self) -> tuple[Literal["stratified", "random", "group"], Drawn]:
        """How rows without a time are parted: what the file says, else by classes where labels are some."""
        split = self.data.split
        if split.stratified is not None:
            return "stratified", split.stratified
        if split.random is not None:
            return "random", split.random
        if split.group is not None:
            return "group", split.group
        return ("stratified" if self.objective.facts.label in CLASSES else "random"), Drawn()

    @property
    def planned_models(self) -> tuple[PlannedModel, ...]:
        """The models that a training fits; of a file without `models` the only one, without a name."""
        return tuple(planned_models(self))

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns of labels: the system's, which feedback brings and verdicts judge by, then those of single models."""
        own = [model.target for model in self.models if model.target is not None]
        return tuple(dict.fromkeys([self.data.label.column, *own]))

    def groupings(self) -> Iterator[tuple[Location, str]]:
        """The columns by whose values rows are reported, judged or weighed, and where in the file each stands."""
        for place, column in self.evaluation.groupings():
            yield ("spec", "evaluation", *place), column
        for at, column in enumerate(self.training.reweigh.by if self.training.reweigh is not None else ()):
            yield ("spec", "training", "reweigh", "by", at), column
        if (sample := self.training.sample) is not None:
            named = (("by", sample.by), ("edge", sample.edge))
            yield from (
                (("spec", "training", "sample", field), column)
                for field, column in named
                if column is not None
            )
        if self.data.split.group is not None:
            yield ("spec", "data", "split", "group", "by"), self.data.split.group.by

    @property
    def combination(self) -> Combination | None:
        """How several models answer together; None for a system of one."""
        if not self.models or self.combine is None:
            return None
        return Combination(
            self.combine.rule,
            tuple(model.name for model in self.models),
            tuple(float(model.weight) for model in self.models if model.weight is not None),
            self.combine.keep or 0,
        )

    @property
    def task_facts(self) -> TaskFacts:
        """What the task has and is called, with the metrics of the file's own behind the task's."""
        own = (metric.facts for metric in self.evaluation.metrics)
        return self.objective.facts.with_metrics(own)

    @model_validator(mode="after")
    def _knows_its_task(self) -> MLSystemSpec:
        """What the file leaves out is its task's: candidates, metrics, and numbers in a metric's unit."""
        facts = self.objective.facts
        if not self.data.has_label:
            named = _filled(self.data.label, column=self.objective.target)
            self.__dict__["data"] = _filled(self.data, label=named)
        training, quality = self.training, self.monitoring.quality
        if "candidates" not in training.model_fields_set:
            training = _filled(training, candidates=usual_candidates(facts.label))
        if training.choose.metric is None:
            training = _filled(training, choose=_filled(training.choose, metric=self._chosen_by))
        self.__dict__["training"] = training
        if quality.metric is None:
            quality = _filled(quality, metric=facts.chosen_by)
        if quality.max_drop is None:
            quality = _filled(quality, max_drop=self._usual(quality.metric, "max_drop"))
        self.__dict__["monitoring"] = _filled(self.monitoring, quality=quality)
        steps = self.rollout.steps
        if not self.data.has_label and "steps" not in self.rollout.model_fields_set:
            steps = steps_by_operation()
        self.__dict__["rollout"] = _filled(
            self.rollout,
            analyses=tuple(self._judged(one) for one in self.rollout.analyses),
            steps=tuple(self._measured(step) for step in steps),
        )
        return self

    @property
    def _chosen_by(self) -> str:
        facts = self.objective.facts
        return facts.chosen_by if self.data.has_label or facts.needs_labels else facts.chosen_without_labels

    def _measured(self, step: Step) -> Step:
        own = self.objective.facts.compared_by
        if step.experiment is not None and step.experiment.metric is None:
            return _filled(step, experiment=_filled(step.experiment, metric=own))
        if step.bandit is not None and step.bandit.metric is None:
            return _filled(step, bandit=_filled(step.bandit, metric=own))
        return step

    def _judged(self, analysis: Analysis) -> Analysis:
        if analysis.metric is None:
            analysis = _filled(analysis, metric=self.objective.facts.compared_by)
        if analysis.margin is None:
            analysis = _filled(analysis, margin=self._usual(analysis.metric, "margin"))
        if analysis.blocks is None:
            analysis = _filled(analysis, blocks=self._own_blocks)
        return analysis

    @property
    def _own_blocks(self) -> Blocks:
        return "Requests" if self.data.keys.time is None else "Day"

    @property
    def requests_per_block(self) -> int | None:
        """Of the blocks of paired requests by which versions are judged; None: a block is a day."""
        blocks = next((analysis.blocks for analysis in self.rollout.analyses), self._own_blocks)
        return self.rollout.block_requests if blocks == "Requests" else None

    @property
    def concept_metric(self) -> str:
        """Whose losses a detector of concept drift looks at: the watched metric's, if single rows have any."""
        quality, facts = self.monitoring.quality, self.objective.facts
        if quality.concept == "DDM" and facts.loss_within_1 is not None:
            return facts.loss_within_1
        return quality.metric if quality.metric in facts.paired_names else facts.compared_by

    def _usual(self, metric: str, number: Literal["margin", "max_drop"]) -> float:
        """The number of the metric where the file names none, in the metric's unit."""
        facts = self.objective.facts
        # A metric of another task is told by a rule, after this.
        known = facts.metric(metric if metric in facts.metric_names else facts.compared_by)
        return self.objective.usual(known, number)


def _filled(part: _Part, **values: Any) -> _Part:
    """The part with these values, which still count as not written where they were not."""
    copy = part.model_copy(update=values)
    copy.model_fields_set.intersection_update(part.model_fields_set)
    return copy


class MLSystem(SpecModel):
    """A system: what it is called and what it must do.

    Python people write it with objects, `MLSystem(metadata=Metadata(name="flight-delays"), spec=MLSystemSpec(...))`;
    what breaks the grammar raises InvalidSpecError, as a file does.
    """

    api_version: Literal["capstan.dev/v1alpha1"] = Field(
        "capstan.dev/v1alpha1", description="Version of this grammar.", examples=[API_VERSION]
    )
    kind: Literal["MLSystem"] = Field("MLSystem", description="Kind of the object.", examples=["MLSystem"])
    metadata: Metadata = Field(description="Name and labels.", examples=[{"name": "flight-delays"}])
    spec: MLSystemSpec = Field(
        description="What the system must do.",
        examples=[{"objective": {"task": "BinaryClassification", "target": "late"}}],
    )

    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _keeps_rules(self, info: ValidationInfo) -> MLSystem:
        # What travels as JSON says what it is, also when a person left it out in Python.
        self.model_fields_set.update(("api_version", "kind"))
        if info.context is WITHOUT_RULES:
            return self
        if findings := broken_rules(self.spec):
            # Not a ValueError: pydantic lets it through, and the person gets the same error as from a file.
            raise InvalidSpecError([Mistake(path_text(f.location), f.message) for f in findings])
        return self

    def to_yaml(self) -> str:
        """The file that says the same: `parse` of it gives an equal system."""
        return in_blocks(self.model_dump(mode="json", by_alias=True, exclude_unset=True))

    @property
    def base_dir(self) -> Path:
        """Folder that relative paths of the file are relative to."""
        return self._base_dir
