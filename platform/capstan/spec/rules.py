"""All rules across fields: what each field alone may say, but not together with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from capstan.spec import (
    balance,
    batch,
    data_rules,
    distillation_rules,
    event_rules,
    fairness,
    fine_tuning_rules,
    metric_rules,
    model_rules,
    monitoring_rules,
    network_rules,
    privacy,
    process_rules,
    retraining_rules,
    rollout_rules,
    sample,
    search_rules,
    slo_rules,
    task_rules,
)
from capstan.spec.annotations import ANNOTATION_RULES
from capstan.spec.bandit import BANDIT_RULES
from capstan.spec.cluster import VOLUME_RULES
from capstan.spec.data import CHECK_RULES, DRAWN_RULES, FILE_RULES, ICEBERG_RULES
from capstan.spec.events import AGGREGATE_RULES, EVENT_RULES
from capstan.spec.experiment import ARM_RULES, EXPERIMENT_RULES, UNLESS_WORSE_ENDS
from capstan.spec.fairness import FAIRNESS_RULES
from capstan.spec.families import BOOSTING_RULES, LINEAR_RULES, PERCEPTRON_RULES, RANGE_RULES, VOTING_RULES
from capstan.spec.features import CATEGORICAL_RULES, DATE_RULES, NUMERIC_RULES, TEXT_RULES
from capstan.spec.finding import Finding
from capstan.spec.gates import GATE_RULES
from capstan.spec.images import IMAGE_RULES
from capstan.spec.interleave import GUARDRAIL_RULES
from capstan.spec.location import Location
from capstan.spec.objective import LOSS_RULES, WORD_RULES
from capstan.spec.online import ONLINE_RULES
from capstan.spec.privacy import ANONYMITY_RULES, PARENT_RULES
from capstan.spec.receivers import MAIL_RULES
from capstan.spec.rule import Rule
from capstan.spec.sample import SAMPLE_RULES
from capstan.spec.serving import REPLICAS_RULES
from capstan.spec.training import WINDOW_RULES
from capstan.spec.value import VALUE_RULES

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

RULES: tuple[Rule, ...] = (
    *task_rules.RULES,
    *data_rules.RULES,
    *event_rules.RULES,
    *privacy.RULES,
    *metric_rules.RULES,
    *fairness.RULES,
    *balance.RULES,
    *sample.RULES,
    *model_rules.RULES,
    *search_rules.RULES,
    *fine_tuning_rules.RULES,
    *distillation_rules.RULES,
    *network_rules.RULES,
    *process_rules.RULES,
    *rollout_rules.RULES,
    *retraining_rules.RULES,
    *slo_rules.RULES,
    *monitoring_rules.RULES,
    *batch.RULES,
)
"""Of a whole system whose fields are valid one by one."""
PART_RULES: tuple[Rule, ...] = (
    *LOSS_RULES,
    *WORD_RULES,
    *VALUE_RULES,
    *GATE_RULES,
    *FAIRNESS_RULES,
    *ANNOTATION_RULES,
    *SAMPLE_RULES,
    *CHECK_RULES,
    *AGGREGATE_RULES,
    *EVENT_RULES,
    *FILE_RULES,
    *ICEBERG_RULES,
    *DRAWN_RULES,
    *PARENT_RULES,
    *ANONYMITY_RULES,
    *VOLUME_RULES,
    *NUMERIC_RULES,
    *CATEGORICAL_RULES,
    *DATE_RULES,
    *TEXT_RULES,
    *IMAGE_RULES,
    *WINDOW_RULES,
    *LINEAR_RULES,
    *BOOSTING_RULES,
    *PERCEPTRON_RULES,
    *VOTING_RULES,
    *RANGE_RULES,
    *REPLICAS_RULES,
    *ONLINE_RULES,
    *EXPERIMENT_RULES,
    *BANDIT_RULES,
    *ARM_RULES,
    *GUARDRAIL_RULES,
    *MAIL_RULES,
    UNLESS_WORSE_ENDS,
)
"""Each kept by one part of the file where it is made."""

_NAMED_LISTS: tuple[tuple[str, ...], ...] = (
    ("data", "sources"),
    ("data", "privacy", "columns"),
    ("features",),
    ("training", "candidates"),
    ("models",),
    ("rollout", "analyses"),
    ("monitoring", "slos"),
    ("monitoring", "receivers"),
    ("evaluation", "metrics"),
    ("evaluation", "online"),
    ("evaluation", "slices"),
    ("training", "environment"),
    ("serving", "environment"),
)


def broken_rules(spec: MLSystemSpec) -> list[Finding]:
    """All broken rules of a system whose fields are valid one by one."""
    return [*_unique_names(spec), *(finding for rule in RULES for finding in rule.findings(spec))]


def rules_for_an_api_server() -> Iterator[tuple[str, dict[str, str]]]:
    """Path below `spec`, with what stands there among the schema's `x-kubernetes-validations`."""
    for rule in (*RULES, *PART_RULES):
        yield from rule.documents()


def _unique_names(spec: MLSystemSpec) -> list[Finding]:
    return repeated_names(
        {
            "data": {
                "sources": [{"name": source.name} for source in spec.data.sources],
                "privacy": {"columns": [{"name": column.name} for column in spec.data.privacy.columns]},
            },
            "features": [{"name": feature.name} for feature in spec.features],
            "models": [{"name": model.name} for model in spec.models],
            "training": {
                "candidates": [{"name": candidate.name} for candidate in spec.training.candidates],
                "environment": [{"name": variable.name} for variable in spec.training.environment],
            },
            "serving": {"environment": [{"name": variable.name} for variable in spec.serving.environment]},
            "rollout": {"analyses": [{"name": analysis.name} for analysis in spec.rollout.analyses]},
            "monitoring": {
                "slos": [{"name": slo.name} for slo in spec.monitoring.slos],
                "receivers": [{"name": receiver.name} for receiver in spec.monitoring.receivers],
            },
            "evaluation": {
                "metrics": [{"name": metric.name} for metric in spec.evaluation.metrics],
                "online": [{"name": metric.name} for metric in spec.evaluation.online],
                "slices": spec.evaluation.slices,
            },
        }
    )


def repeated_names(spec: Any) -> list[Finding]:
    """Names written twice in one list; `spec` is plain data, which need not be valid otherwise."""
    findings = []
    for location in _NAMED_LISTS:
        node = spec
        for part in location:
            node = node.get(part) if isinstance(node, Mapping) else None
        first: dict[str, int] = {}
        for index, item in enumerate(node if isinstance(node, list | tuple) else ()):
            name = item.get("name") if isinstance(item, Mapping) else item
            if not isinstance(name, str):
                continue
            if name in first:
                place: Location = (
                    "spec",
                    *location,
                    index,
                    *(("name",) if isinstance(item, Mapping) else ()),
                )
                findings.append(
                    Finding(
                        place,
                        f"{name!r} is written twice, first as item [{first[name]}]; keep one or rename one",
                    )
                )
            first.setdefault(name, index)
    return findings
