"""What an API server checks beyond the schema: the rules between fields that CEL can say cheaply.

Those that need arithmetic with durations or sizes are left to Capstan, which says them in the system's conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capstan.spec.cluster import OWN_VARIABLES
from capstan.spec.metrics import METRICS, PAIRED_LOSSES
from capstan.spec.mistakes import PATTERN_WORDS
from capstan.spec.units import DURATION_PATTERN, QUANTITY_PATTERN, SHARE_PATTERN


@dataclass(frozen=True)
class Rule:
    """One CEL expression that must hold at a node of the schema."""

    path: str
    """Of the node below `spec`; `[]` are the items of a list; empty: `spec` itself."""
    says: str
    """In CEL; `self` is the node."""
    message: str
    field: str = ""
    """Below the node, which the API server names in its answer; empty: the node itself."""
    reason: str = "FieldValueInvalid"

    def document(self) -> dict[str, str]:
        document = {"rule": self.says, "message": self.message}
        if self.field:
            document |= {"fieldPath": f".{self.field}", "reason": self.reason}
        return document


_NO_EXPERIMENT = "A/B tests are not in this version; compare the versions in a shadow step with an analysis"
_NOT_TODAY = "is not in this version; use drift or quality, or call `capstan retrain` from a timer"
_CANARYS = "self.filter(s, has(s.canary)).map(s, s.canary.weight)"
_STEPS = "self.filter(s, has(s.canary) || has(s.shadow)).map(s, has(s.canary) ? 1 : 0)"

_FIXED: tuple[Rule, ...] = (
    Rule(
        "",
        "self.objective.target == self.data.label.column",
        "is not data.label.column; write one column in both",
        "objective.target",
    ),
    Rule(
        "",
        "self.features.all(f, !((has(f.column) ? f.column : f.name) in [self.data.keys.id, self.data.keys.time, "
        "self.data.label.column, self.data.label.availableAt]))",
        "a feature is read from keys.id, keys.time, label.column or label.availableAt: a model would learn cases by "
        "heart or know the answer (leakage); drop the feature",
        "features",
    ),
    Rule(
        "data",
        "size(self.sources) == 1 || has(self.query)",
        "several sources and no query; add `query:` with the SQL that joins them",
        "query",
        "FieldValueRequired",
    ),
    Rule(
        "data",
        "self.label.column != self.label.availableAt",
        "is the label itself; name the column with the moment it became known",
        "label.availableAt",
    ),
    Rule(
        "data",
        "self.keys.id != self.keys.time",
        "is also keys.time; name a column that is unique for each case",
        "keys.id",
    ),
    Rule(
        "data.checks[]",
        "!has(self.min) || !has(self.max) || self.min <= self.max",
        "min is above max, so no value passes; swap them",
        "min",
    ),
    Rule(
        "data.checks[]",
        "has(self.min) || has(self.max) || has(self.allowed) || !self.nullable",
        "checks nothing; give min, max, allowed or nullable: false, or drop it",
    ),
    Rule(
        "data.checks[]",
        "!has(self.allowed) || !(has(self.min) || has(self.max))",
        "has both a range and allowed values; a column is a number or a category",
        "allowed",
    ),
    Rule(
        "data.checks[]",
        "!has(self.allowed) || size(self.allowed) > 0",
        "is empty, so no value passes; name some or drop it",
        "allowed",
    ),
    Rule(
        "data.volume",
        "!has(self.claim) || !(has(self.size) || has(self.storageClass))",
        "has a claim of yours and says how one is made; keep claim, or size and storageClass",
        "claim",
    ),
    Rule(
        "features[].numeric",
        "(self.impute == 'Default') == has(self.default)",
        "`impute: Default` and `default: NUMBER` belong together; give both or none",
        "default",
    ),
    Rule(
        "features[].numeric",
        "[has(self.bucketEdges), has(self.bucketQuantiles), has(self.bucketWidths)].filter(given, given).size() <= 1",
        "cuts buckets in more ways than one; keep one of bucketEdges, bucketQuantiles, bucketWidths",
    ),
    Rule(
        "features[].numeric",
        "self.scale == 'None' || !(has(self.bucketEdges) || has(self.bucketQuantiles) || has(self.bucketWidths))",
        "scales and cuts buckets; buckets need no scale, so drop `scale`",
        "scale",
    ),
    Rule(
        "training.window",
        "(self.type == 'Sliding') == has(self.duration)",
        "`type: Sliding` and `duration` belong together; give both or none",
        "duration",
    ),
    Rule(
        "serving",
        "self.traffic.provider != 'Istio' || self.runtime != 'Deployment'",
        "Deployment does not go with traffic.provider: Istio, which splits inside one SeldonDeployment; write "
        "runtime: Seldon, or provider: Envoy",
        "runtime",
    ),
    Rule(
        "serving.replicas",
        "!has(self.max) || self.min <= self.max",
        "min is above max; raise max or lower min",
        "min",
    ),
    Rule(
        "rollout",
        "self.steps.all(s, !has(s.shadow) || s.shadow.analyses.all(name, "
        "self.analyses.exists(known, known.name == name)))",
        "a step names an analysis that is not in rollout.analyses; add it there",
        "analyses",
    ),
    Rule(
        "rollout.steps",
        f"{_CANARYS}.isSorted() && {_CANARYS}.all(w, {_CANARYS}.exists_one(same, same == w))",
        "weights of canaries must rise from step to step",
    ),
    Rule(
        "rollout.steps",
        f"{_STEPS}.isSorted()",
        "a shadow stands after a canary; move it before the first canary: users come last",
    ),
    Rule("rollout.steps[]", "!has(self.experiment)", _NO_EXPERIMENT, "experiment", "FieldValueForbidden"),
    Rule(
        "rollout.steps[].canary",
        "size(self.analyses) == 0",
        "compare both versions on the same requests, which a canary's users never send twice; move them to a shadow "
        "step before it, guardrails watch the canary",
        "analyses",
        "FieldValueForbidden",
    ),
    Rule(
        "rollout.analyses[]",
        "self.decide != 'NotWorse' || self.margin > 0.0",
        "0 under decide: NotWorse asks for a better model; write a margin above 0, or decide: Better",
        "margin",
    ),
    Rule(
        "rollout.analyses[]",
        "self.decide == 'Better' || self.minimumEffect == 0.0",
        "counts only under decide: Better; drop it or decide so",
        "minimumEffect",
    ),
    Rule("retraining.triggers[]", "!has(self.schedule)", _NOT_TODAY, "schedule", "FieldValueForbidden"),
    Rule("retraining.triggers[]", "!has(self.newData)", _NOT_TODAY, "newData", "FieldValueForbidden"),
)


LONGEST_AMOUNT = 32
"""Characters of a duration, share or quantity; without a bound, an API server counts a rule's cost for megabytes."""
_AMOUNTS = {
    DURATION_PATTERN: "a duration: a whole number and ms, s, m, h or d, such as 90s, 12h or 7d",
    SHARE_PATTERN: "a share: a number and %, such as 80% or 2.5%",
    QUANTITY_PATTERN: "a quantity: a number and its unit, such as 50Mi, 2Gi, 500m or 1.5",
}
_LONGEST_TEXT = 253


def in_words(node: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a text with its pattern said as a rule in words: an API server tells a `pattern` as a bare regex.

    Raises KeyError for a pattern that has no words.
    """
    pattern = node.get("pattern")
    if pattern is None:
        return dict(node)
    amount = _AMOUNTS.get(pattern)
    words = amount or PATTERN_WORDS[pattern]
    text = "string(self)" if node.get("x-kubernetes-int-or-string") else "self"
    rule = {
        "rule": f"{text}.matches('{_quoted(pattern)}')",
        # The server itself shows but the type of what was written.
        "messageExpression": f'"\'" + {text} + "\': write {words}"',
        "message": f"write {words}",
    }
    rest = {key: value for key, value in node.items() if key != "pattern"}
    if "x-kubernetes-int-or-string" not in node:
        rest.setdefault("maxLength", LONGEST_AMOUNT if amount else _LONGEST_TEXT)
    return {**rest, "x-kubernetes-validations": [rule]}


def _quoted(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("'", "\\'")


def rules_of_system() -> tuple[Rule, ...]:
    """All rules of an MLSystem's spec."""
    return (*_FIXED, *_of_environment(), *_of_metrics())


def _of_environment() -> list[Rule]:
    foreign = " && ".join(f"!self.name.startsWith('{start}')" for start in OWN_VARIABLES)
    return [
        Rule(f"{step}.environment[]", foreign, "is set by Capstan itself; use another name", "name")
        for step in ("training", "serving")
    ]


def _of_metrics() -> list[Rule]:
    """A metric belongs to a task, so what may stand there depends on the objective."""
    rules = []
    for task, metrics in METRICS.items():
        words = ", ".join(metrics)
        rules += [
            _metric(task, metrics, f"is not a metric of {task}; write one of {words}", path)
            for path in ("training.choose.metric", "monitoring.quality.metric")
        ]
        rules.append(
            Rule(
                "",
                f"self.objective.task != '{task}' || self.evaluation.gates.all(g, g.metric in {_listed(metrics)})",
                f"a gate's metric is not a metric of {task}; write one of {words}",
                "evaluation.gates",
            )
        )
        losses = PAIRED_LOSSES[task]
        rules.append(
            Rule(
                "",
                f"self.objective.task != '{task}' || self.rollout.analyses.all(a, a.metric in {_listed(losses)})",
                f"an analysis' metric is not a loss of a single prediction; write one of {', '.join(losses)}",
                "rollout.analyses",
            )
        )
    return rules


def _metric(task: str, metrics: tuple[str, ...], message: str, path: str) -> Rule:
    return Rule("", f"self.objective.task != '{task}' || self.{path} in {_listed(metrics)}", message, path)


def _listed(metrics: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{metric}'" for metric in metrics) + "]"
