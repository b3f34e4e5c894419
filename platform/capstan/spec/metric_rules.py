"""Rules between the task and the metrics that stand in the file: a metric belongs to a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.rule import Breach, Cel, Rule
from capstan.spec.tasks import TASK_FACTS

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


def _listed(metrics: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{metric}'" for metric in metrics) + "]"


def _window_rule() -> Rule:
    """Metrics of whole windows."""
    cel = []
    for task, facts in TASK_FACTS.items():
        metrics = facts.metric_names
        other, words = f"self.objective.task != '{task}'", ", ".join(metrics)
        message = f"is not a metric of {task}; write one of {words}"
        cel += [
            Cel(
                f"{other} || !has(self.{path}) || self.{path} in {_listed(metrics)}",
                field=path,
                message=message,
            )
            for path in ("training.choose.metric", "monitoring.quality.metric")
        ]
        cel.append(
            Cel(
                f"{other} || self.evaluation.gates.all(g, g.metric in {_listed(metrics)})",
                field="evaluation.gates",
                message=f"a gate's metric {message}",
            )
        )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            # The objective can't be read, and with it the task.
            return
        task, known = spec.objective.task, TASK_FACTS[spec.objective.task].metric_names
        places: list[tuple[Location, str]] = [
            (("spec", "training", "choose", "metric"), spec.training.choose.metric),
            (("spec", "monitoring", "quality", "metric"), spec.monitoring.quality.metric),
            *(
                (("spec", "evaluation", "gates", index, "metric"), gate.metric)
                for index, gate in enumerate(spec.evaluation.gates)
            ),
        ]
        for location, metric in places:
            if metric not in known:
                way = f"write one of {', '.join(known)}"
                yield Breach(location, message=f"{metric!r} is not a metric of {task}; {way}")

    return Rule(
        "metrics belong to the task",
        "is not a metric of the task; write one that is",
        breaches,
        tuple(cel),
    )


def _loss_rule() -> Rule:
    """Metrics that a single prediction has."""
    cel = tuple(
        Cel(
            f"self.objective.task != '{task}' || "
            f"self.rollout.analyses.all(a, !has(a.metric) || a.metric in {_listed(facts.paired_names)})",
            field="rollout.analyses",
            message="an analysis' metric is not a loss of a single prediction; "
            f"write one of {', '.join(facts.paired_names)}",
        )
        for task, facts in TASK_FACTS.items()
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            return
        losses = TASK_FACTS[spec.objective.task].paired_names
        places: list[tuple[Location, str]] = [
            *(
                (("spec", "rollout", "analyses", index, "metric"), analysis.metric)
                for index, analysis in enumerate(spec.rollout.analyses)
            ),
            *(
                (("spec", "rollout", "steps", index, "experiment", "metric"), step.experiment.metric)
                for index, step in enumerate(spec.rollout.steps)
                if step.experiment is not None and step.experiment.metric is not None
            ),
        ]
        for location, metric in places:
            if metric not in losses:
                way = f"write one of {', '.join(losses)}"
                yield Breach(location, message=f"{metric!r} is not a loss of a single prediction; {way}")

    return Rule(
        "analyses compare losses of single predictions",
        "is not a loss of a single prediction; write one that is",
        breaches,
        cel,
    )


RULES = (_window_rule(), _loss_rule())
