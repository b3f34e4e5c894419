"""Rules between the task and the metrics that stand in the file: a metric belongs to a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.rule import UNTRIED, Breach, Cel, Rule, rule
from capstan.spec.tasks import TASK_FACTS, VALUE, TaskFacts
from capstan.spec.value import WORDS, written

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


def _listed(metrics: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{metric}'" for metric in metrics) + "]"


def _is_among(name: str, facts: TaskFacts, metrics: Sequence[str]) -> str:
    """CEL that holds for a name of the metrics, or of what answers are worth where the objective states it."""
    listed = f"{name} in {_listed(metrics)}"
    if facts.label not in WORDS:
        return listed
    worths = written(facts.label, "self.objective.value")
    return f"{listed} || ({name} == '{VALUE}' && has(self.objective.value) && {worths})"


def _own_name_rule() -> Rule:
    """Metrics of a person's own."""
    cel = tuple(
        Cel(
            f"self.objective.task != '{task}' || "
            "!has(self.evaluation.metrics) || "
            f"self.evaluation.metrics.all(m, !({_is_among('m.name', facts, facts.metric_names)}))",
            field="evaluation.metrics",
            message=f"a metric of your own has the name of a metric of {task}; give it another",
        )
        for task, facts in TASK_FACTS.items()
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            # The objective can't be read, and with it the task.
            return
        facts = spec.objective.facts
        for index, metric in enumerate(spec.evaluation.metrics):
            if metric.name in facts.metric_names:
                yield Breach(
                    ("spec", "evaluation", "metrics", index, "name"),
                    message=f"{metric.name!r} is a metric of {facts.name} itself; give yours another name",
                )

    return Rule(
        "metrics of a person's own have names of their own",
        "has the name of a metric of the task; give it another",
        breaches,
        cel,
    )


def _online_name_rule() -> Rule:
    """Online metrics, which experiments name beside those of the task."""
    has_online = "!has(self.evaluation.online) || "
    cel = (
        *(
            Cel(
                f"self.objective.task != '{task}' || {has_online}"
                f"self.evaluation.online.all(o, !({_is_among('o.name', facts, facts.metric_names)}))",
                field="evaluation.online",
                message=f"an online metric has the name of a metric of {task}; give it another",
            )
            for task, facts in TASK_FACTS.items()
        ),
        Cel(
            f"{has_online}!has(self.evaluation.metrics) || "
            "self.evaluation.online.all(o, !self.evaluation.metrics.exists(m, m.name == o.name))",
            field="evaluation.online",
            message="an online metric has the name of one in evaluation.metrics; give it another",
        ),
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        own = {metric.name for metric in spec.evaluation.metrics}
        known: tuple[str, ...] = ()
        if spec.objective.target != UNKNOWN:
            known = spec.objective.facts.metric_names
        for index, metric in enumerate(spec.evaluation.online):
            place: Location = ("spec", "evaluation", "online", index, "name")
            if metric.name in known:
                fault = f"{metric.name!r} is a metric of {spec.objective.task} itself"
                yield Breach(place, message=f"{fault}; give the online metric another name")
            if metric.name in own:
                fault = f"{metric.name!r} stands in evaluation.metrics as well"
                yield Breach(place, message=f"{fault}; give one of them another name")

    return Rule(
        "online metrics have names of their own",
        "has the name of another metric; give it another",
        breaches,
        cel,
    )


def _training_rule() -> Rule:
    """Metrics by which trainings choose and are gated: those of the task, and a person's own."""
    cel = []
    for task, facts in TASK_FACTS.items():
        metrics = facts.metric_names
        other, words = f"self.objective.task != '{task}'", ", ".join(metrics)
        message = f"is not a metric of {task}, nor in evaluation.metrics; write one of {words}"
        path = "training.choose.metric"
        cel += [
            Cel(
                f"{other} || !has(self.{path}) || {_is_among(f'self.{path}', facts, metrics)} || "
                f"(has(self.evaluation.metrics) && self.evaluation.metrics.exists(m, m.name == self.{path}))",
                field=path,
                message=message,
            ),
            Cel(
                f"{other} || self.evaluation.gates.all(g, {_is_among('g.metric', facts, metrics)} || "
                "(has(self.evaluation.metrics) && self.evaluation.metrics.exists(m, m.name == g.metric)))",
                field="evaluation.gates",
                message=f"a gate's metric {message}",
            ),
        ]

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            return
        known = spec.task_facts.metric_names
        places: list[tuple[Location, str]] = [
            (("spec", "training", "choose", "metric"), spec.training.choose.metric),
            *(
                (("spec", "evaluation", "gates", index, "metric"), gate.metric)
                for index, gate in enumerate(spec.evaluation.gates)
            ),
        ]
        for location, metric in places:
            if metric not in known:
                way = f"write one of {', '.join(known)}, or give one of your own in evaluation.metrics"
                fault = _own(spec, metric) or f"{metric!r} is not a metric of {spec.objective.task}"
                yield Breach(location, message=f"{fault}; {way}")

    return Rule(
        "trainings are judged by metrics of the task or of one's own",
        "is not a metric of the task; write one that is",
        breaches,
        tuple(cel),
    )


def _window_rule() -> Rule:
    """Metrics of windows of what users got."""
    path = "monitoring.quality.metric"
    cel = tuple(
        Cel(
            f"self.objective.task != '{task}' || !has(self.{path}) || "
            f"{_is_among(f'self.{path}', facts, facts.metric_names)}",
            field=path,
            message=f"is not a metric of {task}; write one of {', '.join(facts.metric_names)}",
        )
        for task, facts in TASK_FACTS.items()
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            return
        metric, known = spec.monitoring.quality.metric, spec.objective.facts.metric_names
        if metric not in known:
            way = f"write one of {', '.join(known)}"
            fault = _own(spec, metric) or f"{metric!r} is not a metric of {spec.objective.task}"
            yield Breach(("spec", "monitoring", "quality", "metric"), message=f"{fault}; {way}")

    return Rule(
        "windows are judged by metrics of the task",
        "is not a metric of the task; write one that is",
        breaches,
        cel,
    )


@rule("counts errors of classes; write ADWIN or PageHinkley", why_no_cel=UNTRIED)
def ddm_counts_errors_of_classes(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.monitoring.quality.concept != "DDM" or spec.objective.target == UNKNOWN:
        return
    if spec.objective.facts.loss_within_1 is None:
        message = f"DDM counts errors of classes, and {spec.objective.facts.name} has none; write ADWIN or PageHinkley"
        yield Breach(("spec", "monitoring", "quality", "concept"), message=message)


@rule("is of estimates, which the file turns off; drop enabled: false, or the alert", why_no_cel=UNTRIED)
def an_estimates_alert_has_estimates(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.monitoring.estimate.alert and not spec.monitoring.estimate.enabled:
        yield Breach(("spec", "monitoring", "estimate", "alert"))


@rule(
    "is of a metric that can't be estimated without labels; drop the alert",
    why_no_cel=UNTRIED,
)
def an_estimates_alert_is_of_what_can_be_estimated(spec: MLSystemSpec) -> Iterator[Breach]:
    if not spec.monitoring.estimate.alert or spec.objective.target == UNKNOWN:
        return
    facts, metric = spec.objective.facts, spec.monitoring.quality.metric
    able = facts.estimable_names
    if metric in able or metric not in facts.metric_names:
        return
    way = f"write one of {', '.join(able)} as monitoring.quality.metric, or drop the alert"
    fault = (
        f"{metric!r} can't be estimated without labels"
        if able
        else f"no metric of {facts.name} can be estimated"
    )
    yield Breach(
        ("spec", "monitoring", "estimate", "alert"), message=f"{fault}; {way if able else 'drop the alert'}"
    )


def _own(spec: MLSystemSpec, metric: str) -> str:
    """Why a metric of the file's own can't stand here; empty: it is none."""
    if metric == VALUE and spec.objective.facts.label in WORDS:
        return f"{metric!r} needs objective.value, which says what answers are worth"
    if metric in {one.name for one in spec.evaluation.online}:
        return f"{metric!r} is an online metric: it measures what users do after an answer, and no labels"
    if metric not in {one.name for one in spec.evaluation.metrics}:
        return ""
    return (
        f"{metric!r} is a metric of your own, which only trainings measure (training.choose, evaluation.gates), and "
        "not what users got"
    )


def _loss_rule() -> Rule:
    """Metrics that a single prediction has."""
    cel = tuple(
        Cel(
            f"self.objective.task != '{task}' || "
            f"self.rollout.analyses.all(a, !has(a.metric) || {_is_among('a.metric', facts, facts.paired_names)})",
            field="rollout.analyses",
            message="an analysis' metric is not a loss of a single prediction; "
            f"write one of {', '.join(facts.paired_names)}",
        )
        for task, facts in TASK_FACTS.items()
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        if spec.objective.target == UNKNOWN:
            return
        losses = spec.objective.facts.paired_names
        places: list[tuple[Location, str]] = [
            *(
                (("spec", "rollout", "analyses", index, "metric"), analysis.metric)
                for index, analysis in enumerate(spec.rollout.analyses)
            ),
        ]
        for location, metric in places:
            if metric not in losses:
                way = f"write one of {', '.join(losses)}"
                fault = _own(spec, metric) or f"{metric!r} is not a loss of a single prediction"
                yield Breach(location, message=f"{fault}; {way}")

    return Rule(
        "analyses compare losses of single predictions",
        "is not a loss of a single prediction; write one that is",
        breaches,
        cel,
    )


@rule(
    "is neither a loss of the task nor in evaluation.online; write one that is",
    why_no_cel=UNTRIED,
)
def experiments_measure_losses_or_online_metrics(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.objective.target == UNKNOWN:
        return
    losses = spec.objective.facts.paired_names
    known = (*losses, *(metric.name for metric in spec.evaluation.online))
    for location, metric in _of_experiments(spec):
        if metric not in known:
            way = f"write one of {', '.join(known)}, or add it to evaluation.online"
            fault = _own(spec, metric) or f"{metric!r} is no loss of the task and not in evaluation.online"
            yield Breach(location, message=f"{fault}; {way}")


@rule("is measured twice by one step; keep one", why_no_cel=UNTRIED)
def a_metric_has_one_part_in_an_experiment(spec: MLSystemSpec) -> Iterator[Breach]:
    seen: set[tuple[object, str]] = set()
    for location, metric in _of_experiments(spec):
        if (location[3], metric) in seen:
            yield Breach(location, metric)
        seen.add((location[3], metric))


def _of_experiments(spec: MLSystemSpec) -> Iterator[tuple[Location, str]]:
    for index, step in enumerate(spec.rollout.steps):
        if step.bandit is not None:
            bandit: Location = ("spec", "rollout", "steps", index, "bandit")
            yield (*bandit, "metric"), step.bandit.metric
            for position, guardrail in enumerate(step.bandit.guardrails):
                yield (*bandit, "guardrails", position, "metric"), guardrail.metric
        if step.experiment is None:
            continue
        place: Location = ("spec", "rollout", "steps", index, "experiment")
        yield (*place, "metric"), step.experiment.metric
        for position, metric in enumerate(step.experiment.secondary):
            yield (*place, "secondary", position), metric
        for position, guardrail in enumerate(step.experiment.guardrails):
            yield (*place, "guardrails", position, "metric"), guardrail.metric


RULES = (
    _own_name_rule(),
    _online_name_rule(),
    _training_rule(),
    _window_rule(),
    _loss_rule(),
    experiments_measure_losses_or_online_metrics,
    a_metric_has_one_part_in_an_experiment,
    an_estimates_alert_is_of_what_can_be_estimated,
    an_estimates_alert_has_estimates,
    ddm_counts_errors_of_classes,
)
