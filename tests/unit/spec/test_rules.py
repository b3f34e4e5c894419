# ruff: noqa: E501 - tables of cases are read line by line
"""Fields that are right alone but not together are refused at the field to change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from capstan.domain.verdicts import quality
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import parse, rollout_rules
from capstan.spec.cluster import DataVolume
from capstan.spec.gates import Gate
from capstan.spec.retraining import OnSchedule
from capstan.spec.rollout import Analysis
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import TASKS

Broken = Callable[[str, str], list[Mistake]]

WEBHOOK = "{webhook: {sender: airflow, secretFrom: {secretKeyRef: {name: airflow, key: k}}}}"
CANARY = "- canary: {weight: 50, duration: 2d, minRequests: 200}"
EVENTS = "    events: [{source: flights, entity: tailnum, time: landed, aggregates: [{name: before, function: Count, window: 6h}]}]\n    keys:"


def _events(old: str, new: str) -> tuple[str, str]:
    assert old in EVENTS
    return "    keys:", EVENTS.replace(old, new)


SPLIT = "    split: {byTime"
PRIVATE = "    privacy: {{columns: [{}]}}\n" + SPLIT.replace("{", "{{")
ALIKE = "    privacy: {{anonymity: {{{}}}}}\n" + SPLIT.replace("{", "{{")
PSEUDONYM = "pseudonymise: {keyFrom: {secretKeyRef: {name: p, key: k}}}"
RULES = {
    "events of no source": (*_events("source: flights", "source: landings"), "data.events[0].source", "'landings' is no source; the sources are flights"),
    "an aggregate twice": (*_events("window: 6h}", "window: 6h}, {name: before, function: Count, window: 1h}"), "data.events[0].aggregates[1].name", "keep one or rename one"),
    "an aggregate in place of a key": (*_events("name: before", "name: flight_id"), "data.events[0].aggregates[0].name", "give the aggregate another name"),
    "the label says whose events count": (*_events("entity: tailnum", "entity: late"), "data.events[0].entity", "name what says whose events count"),
    "labels of events without their moment": (*_events("function: Count", "function: Sum, column: late"), "data.events[0].aggregates[0].column", "write `availableAt` or `delay`"),
    "a sum of nothing": (*_events("function: Count", "function: Sum"), "data.events[0].aggregates[0]", "drop `column` there, and write it for the others"),
    "shared events in two stores": (*_events("window: 6h}]}", "window: 6h}]}, {source: flights, entity: origin, key: tailnum, time: landed, online: {urlFrom: {secretKeyRef: {name: e, key: url}}}, aggregates: [{name: after, function: Count, window: 6h}]}"), "data.events[1].online", "write the same `online` in both"),
    "known twice": (*_events("time: landed", "time: landed, availableAt: noted, delay: 5m"), "data.events[0]", "keep one"),
    "marked entity of events": ("    keys:", PRIVATE.removesuffix(SPLIT.replace("{", "{{")).format(f"{{name: tailnum, {PSEUDONYM}}}") + EVENTS, "data.privacy.columns[0].name", "'tailnum' is a column of data.events"),
    "time is marked": (SPLIT, PRIVATE.format("{name: scheduled_departure, generalise: {date: Month}}"), "data.privacy.columns[0].name", "the label or a moment"),
    "label is marked": (SPLIT, PRIVATE.format("{name: late, mask: {}}"), "data.privacy.columns[0].name", "of which Capstan needs the value itself"),
    "dropped user": (SPLIT, PRIVATE.format("{name: tailnum, drop: {}}"), "data.privacy.columns[0].drop", "'tailnum' is a key, which must go on telling cases or users apart; write pseudonymise"),
    "masked id": (SPLIT, PRIVATE.format("{name: flight_id, mask: {keep: 3}}"), "data.privacy.columns[0].mask", "write pseudonymise"),
    "dropped feature": (SPLIT, PRIVATE.format("{name: dest, drop: {}}"), "features[3].name", "'dest' is dropped by data.privacy"),
    "dropped slice": (SPLIT, PRIVATE.format("{name: origin, drop: {}}"), "evaluation.slices[1]", "'origin' is dropped by data.privacy"),
    "checked column is dropped": ('"NO"]}]\n' + SPLIT, '"NO"]}, {column: phone, nullable: false}]\n' + PRIVATE.format("{name: phone, drop: {}}"), "data.checks[2].column", "'phone' is dropped by data.privacy"),
    "slice of one person": (SPLIT, PRIVATE.format("{name: origin, pseudonymise: {keyFrom: {secretKeyRef: {name: p, key: k}}}}"), "evaluation.slices[1]", "a slice of it is one person"),
    "masked slice": (SPLIT, PRIVATE.format("{name: origin, mask: {}}"), "evaluation.slices[1]", "or says nothing"),
    "masked number": (SPLIT, PRIVATE.format("{name: temp, mask: {}}"), "features[2]", "'temp' becomes text by data.privacy, and is read as a number here"),
    "check of a prefix": (SPLIT, PRIVATE.format("{name: dep_hour, generalise: {prefix: 1}}"), "features[1]", "becomes text by data.privacy"),
    "alike by the id": (SPLIT, ALIKE.format("by: [flight_id]"), "data.privacy.anonymity.by[0]", "'flight_id' tells every row apart"),
    "alike by a dropped column": (SPLIT, PRIVATE.replace("columns:", "anonymity: {{by: [phone]}}, columns:").format("{name: phone, drop: {}}"), "data.privacy.anonymity.by[0]", "'phone' is dropped by data.privacy"),
    "l of nothing": (SPLIT, ALIKE.format("by: [dest], l: 2"), "data.privacy.anonymity", "name them, or drop `l`"),
    "known and sensitive": (SPLIT, ALIKE.format("by: [dest], sensitive: [dest]"), "data.privacy.anonymity", "keep one"),
    "alike with nobody": (SPLIT, ALIKE.format("by: [dest], k: 1"), "data.privacy.anonymity.k", "1"),
    "marked twice": (SPLIT, PRIVATE.format("{name: phone, mask: {}}, {name: phone, drop: {}}"), "data.privacy.columns[1].name", "written twice"),
    "marked in two ways": (SPLIT, PRIVATE.format("{name: phone, mask: {}, drop: {}}"), "data.privacy.columns[0]", "keep exactly one of pseudonymise, generalise, mask, drop"),
    "value of two parents": (SPLIT, PRIVATE.format("{name: job, generalise: {parents: [{name: a, values: [x]}, {name: b, values: [x]}]}}"), "data.privacy.columns[0].generalise", "write each value once"),
    "parent of a parent": (SPLIT, PRIVATE.format("{name: job, generalise: {parents: [{name: a, values: [b]}, {name: b, values: [x]}]}}"), "data.privacy.columns[0].generalise", "is the name of another parent"),
    "band without a width": (SPLIT, PRIVATE.format("{name: age, generalise: {width: 0}}"), "data.privacy.columns[0].generalise.width", "0"),
    "label as a feature": ("name: temp,", "name: late,", "features[2].name", "leakage"),
    "label behind another name": ("name: temp,", "name: temp, column: late,", "features[2].column", "leakage"),
    "label's moment as a feature": ("name: temp,", "name: actual_arrival,", "features[2].name", "leakage"),
    "time as a feature": ("name: temp,", "name: scheduled_departure,", "features[2].name", "learn from its parts, such as `date"),
    "id as a feature": ("name: temp,", "name: flight_id,", "features[2].name", "by heart"),
    "slice by the label": ("slices: [carrier,", "slices: [late,", "evaluation.slices[0]", "known only with the label"),
    "target is not the label": ("target: late", "target: delayed", "objective.target", "write one column in both"),
    "label dates itself": ("availableAt: actual_arrival", "availableAt: late", "data.label.availableAt", "the label itself"),
    "id is the time": ("id: flight_id", "id: scheduled_departure", "data.keys.id", "unique for each case"),
    "id is a part of an answer": ("id: flight_id", "id: request_id", "data.keys.id", "such as `* rename (request_id as case_request_id)`"),
    "source twice": ("{name: weather,", "{name: flights,", "data.sources[1].name", "written twice"),
    "feature twice": ("name: temp,", "name: distance,", "features[2].name", "written twice"),
    "candidate twice": ("name: own", "name: trees", "training.candidates[3].name", "written twice"),
    "slice twice": ("[carrier, origin]", "[carrier, carrier]", "evaluation.slices[1]", "written twice"),
    "metric of another task": ("choose: {metric: rocAuc", "choose: {metric: rmse", "training.choose.metric", "not a metric of BinaryClassification"),
    "gate's metric": ("gates: [{metric: rocAuc", "gates: [{metric: auc", "evaluation.gates[0].metric", "write one of rocAuc"),
    "quality's metric": ("quality: {metric: rocAuc", "quality: {metric: auc", "monitoring.quality.metric", "write one of rocAuc"),
    "window metric as a paired loss": ("metric: logLoss", "metric: rocAuc", "rollout.analyses[0].metric", "write one of logLoss, brierScore"),
    "own metric with the name of the task's": ("    gates: [{metric: rocAuc", "    metrics: [{name: accuracy, better: Lower, custom: {factory: 'm:f'}}]\n    gates: [{metric: rocAuc", "evaluation.metrics[0].name", "'accuracy' is a metric of BinaryClassification itself; give yours another name"),
    "own metric twice": ("    gates: [{metric: rocAuc", "    metrics: [{name: cost, better: Lower, custom: {factory: 'm:f'}}, {name: cost, better: Lower, custom: {factory: 'm:g'}}]\n    gates: [{metric: rocAuc", "evaluation.metrics[1].name", "written twice"),
    "own metric that is none": ("    gates: [{metric: rocAuc", "    metrics: [{name: cost, better: Lower, custom: {factory: 'm:f'}}]\n    gates: [{metric: costs", "evaluation.gates[0].metric", "calibrationError, cost, or give one of your own in evaluation.metrics"),
    "online metric with the name of the task's": ("    gates: [{metric: rocAuc", "    online: [{name: accuracy, event: click, aggregate: Rate, window: 1d, better: Higher}]\n    gates: [{metric: rocAuc", "evaluation.online[0].name", "'accuracy' is a metric of BinaryClassification itself; give the online metric another name"),
    "online metric twice": ("    gates: [{metric: rocAuc", "    online: [{name: clicks, event: click, aggregate: Rate, window: 1d, better: Higher}, {name: clicks, event: click, aggregate: Count, window: 1d, better: Higher}]\n    gates: [{metric: rocAuc", "evaluation.online[1].name", "written twice"),
    "online metric with the name of an own": ("    gates: [{metric: rocAuc", "    metrics: [{name: cost, better: Lower, custom: {factory: 'm:f'}}]\n    online: [{name: cost, event: click, aggregate: Rate, window: 1d, better: Higher}]\n    gates: [{metric: rocAuc", "evaluation.online[0].name", "'cost' stands in evaluation.metrics as well"),
    "online metric as a gate": ("    gates: [{metric: rocAuc", "    online: [{name: clicks, event: click, aggregate: Rate, window: 1d, better: Higher}]\n    gates: [{metric: clicks", "evaluation.gates[0].metric", "'clicks' is an online metric: it measures what users do after an answer, and no labels; write one of rocAuc"),
    "cap of a rate": ("    gates: [{metric: rocAuc", "    online: [{name: clicks, event: click, aggregate: Rate, cap: 2, window: 1d, better: Higher}]\n    gates: [{metric: rocAuc", "evaluation.online[0]", "a Rate is 0 or 1 by itself; drop it"),
    "event with a space": ("    gates: [{metric: rocAuc", "    online: [{name: clicks, event: a click, aggregate: Rate, window: 1d, better: Higher}]\n    gates: [{metric: rocAuc", "evaluation.online[0].event", "write letters, digits, dots, dashes and underscores, beginning with a letter"),
    "value without worths": ("choose: {metric: rocAuc", "choose: {metric: value", "training.choose.metric", "'value' needs objective.value, which says what answers are worth"),
    "wrong answers worth more": ("task: BinaryClassification,", "task: BinaryClassification, value: {truePositive: 5, falsePositive: 1},", "objective.value", "write truePositive above falseNegative, and trueNegative above falsePositive"),
    "weights fall": ("weight: 50", "weight: 20", "rollout.steps[2].canary.weight", "weights must rise"),
    "a copy that leaves nothing to the champion": ("{weight: 50,", "{weight: 50, baseline: FreshCopy,", "rollout.steps[2].canary.weight", "is above 49, and with baseline: FreshCopy"),
    "weights stay": ("weight: 50", "weight: 25", "rollout.steps[2].canary.weight", "weights must rise"),
    "shadow after canary": ("- canary: {weight: 50, duration: 2d, minRequests: 200}", "- shadow: {}", "rollout.steps[2].shadow", "before the first step that users meet"),
    "unknown analysis": ("analyses: [quality]", "analyses: [qualty]", "rollout.steps[0].shadow.analyses[0]", "not in rollout.analyses (quality)"),
    "query that no step may name": ("analyses: [quality], deadline: 21d", "analyses: [quality], queries: [refunds], deadline: 21d", "rollout.steps[0].shadow.queries[0]", "'refunds' is not in rollout.queries (which is empty); add it there"),
    "query with the name of an analysis": ("    analyses: [{name: quality,", "    queries: [{name: quality, promql: up, successWhen: 'result < 1'}]\n    analyses: [{name: quality,", "rollout.queries[0].name", "'quality' is the name of an analysis or of another query"),
    "query without a condition": ("    analyses: [{name: quality,", "    queries: [{name: refunds, promql: up}]\n    analyses: [{name: quality,", "rollout.queries[0]", "has neither successWhen nor failureWhen"),
    "query with a placeholder of its own": ("    analyses: [{name: quality,", "    queries: [{name: refunds, promql: 'x{v=\"$canary\"}', failureWhen: result > 1}]\n    analyses: [{name: quality,", "rollout.queries[0].promql", "'$canary' is no placeholder; there are $champion, $challenger and $system"),
    "deadline before the blocks close": ("deadline: 21d", "deadline: 6d", "rollout.steps[0].shadow.deadline", "take 7d at the soonest"),
    "deadline before the duration": ("weight: 50, duration: 2d", "weight: 50, duration: 2d, deadline: 1d", "rollout.steps[2].canary.deadline", "shorter than the step's duration"),
    "bandit's floor of all": (CANARY, "- bandit: {floor: 30, arms: [v7, v8]}", "rollout.steps[2].bandit", "more than 100 percent"),
    "bandit's arm twice": (CANARY, "- bandit: {arms: [v7, v7]}", "rollout.steps[2].bandit", "stands twice among the arms"),
    "bandit without margin": (CANARY, "- bandit: {decide: NotWorse}", "rollout.steps[2].bandit", "write a margin above 0"),
    "bandit's effect without Better": (CANARY, "- bandit: {decide: UnlessWorse, minimumEffect: 0.1}", "rollout.steps[2].bandit", "only with decide: Better"),
    "bandit that may wait for ever": (CANARY, "- bandit: {decide: UnlessWorse}", "rollout.steps[2].bandit", "perhaps for ever; write a deadline"),
    "bandit on a window's metric": (CANARY, "- bandit: {metric: rocAuc}", "rollout.steps[2].bandit.metric", "write one of logLoss, brierScore"),
    "UCB1 without an interval": (CANARY, "- bandit: {policy: UCB1}", "rollout.steps[2].bandit.policy", "write a cap"),
    "arms of a bandit and an experiment": (CANARY, "- experiment: {weight: 30, arms: [{version: v7, weight: 10}]}\n      - bandit: {arms: [v8]}", "rollout.steps[3].bandit.arms", "keep them in one"),
    "bandit per Request behind Envoy": (CANARY, "- bandit: {per: Request}", "rollout.steps[2].bandit", "a bandit per Request does not go with provider Envoy, whose requests go to the versions themselves"),
    "shadow after a bandit": (CANARY, "- bandit: {}\n      - shadow: {}", "rollout.steps[3].shadow", "stands after a bandit"),
    "arms that leave nothing": (CANARY, "- experiment: {weight: 50, arms: [{version: v7, weight: 50}]}", "rollout.steps[2].experiment", "together at most 99"),
    "runners-up that leave nothing": (CANARY, "- experiment: {weight: 50, runnersUp: 1}", "rollout.steps[2].experiment", "together at most 99"),
    "runners-up beside a floor of all": (CANARY, "- bandit: {floor: 34, runnersUp: 1}", "rollout.steps[2].bandit", "more than 100 percent"),
    "runners-up of two steps": (CANARY, "- experiment: {weight: 30, runnersUp: 1}\n      - bandit: {runnersUp: 1}", "rollout.steps[3].bandit.runnersUp", "keep them in one"),
    "more runners-up than candidates": (CANARY, "- experiment: {weight: 10, runnersUp: 4}", "rollout.steps[2].experiment.runnersUp", "more runners-up than there are candidates"),
    "arm twice": (CANARY, "- experiment: {weight: 30, arms: [{version: v7, weight: 10}, {version: v7, weight: 20}]}", "rollout.steps[2].experiment", "two arms; write it once"),
    "arm that is no version": (CANARY, "- experiment: {arms: [{version: latest, weight: 10}]}", "rollout.steps[2].experiment.arms[0].version", "write v and the registry's number"),
    "arms of two steps": (CANARY, "- experiment: {weight: 30, arms: [{version: v7, weight: 10}]}\n      - experiment: {weight: 40, arms: [{version: v8, weight: 10}]}", "rollout.steps[3].experiment.arms", "keep them in one"),
    "fixed horizon without an end": (CANARY, "- experiment: {test: FixedHorizon}", "rollout.steps[2].experiment", "write a duration above 0"),
    "ranks without an end": (CANARY, "- experiment: {test: MannWhitney}", "rollout.steps[2].experiment", "write a duration above 0"),
    "ranks with a covariate": (CANARY, "- experiment: {test: MannWhitney, duration: 7d, covariate: 14d}", "rollout.steps[2].experiment", "which no covariate explains"),
    "fixed horizon of days": (CANARY, "- experiment: {test: FixedHorizon, duration: 7d, blocks: Day}", "rollout.steps[2].experiment", "drop one of them"),
    "experiment without margin": (CANARY, "- experiment: {decide: NotWorse}", "rollout.steps[2].experiment", "write a margin above 0"),
    "experiment's effect without Better": (CANARY, "- experiment: {decide: UnlessWorse, minimumEffect: 0.1}", "rollout.steps[2].experiment", "only with decide: Better"),
    "experiment that may wait for ever": (CANARY, "- experiment: {decide: UnlessWorse}", "rollout.steps[2].experiment", "perhaps for ever; write a deadline"),
    "experiment on a window's metric": (CANARY, "- experiment: {metric: rocAuc}", "rollout.steps[2].experiment.metric", "write one of logLoss, brierScore, or add it to evaluation.online"),
    "experiment guarded by nothing known": (CANARY, "- experiment: {guardrails: [{metric: complaints}]}", "rollout.steps[2].experiment.guardrails[0].metric", "not in evaluation.online"),
    "metric of an experiment twice": (CANARY, "- experiment: {metric: logLoss, secondary: [logLoss]}", "rollout.steps[2].experiment.secondary[0]", "measured twice"),
    "experiment over before its days": (CANARY, "- experiment: {blocks: Day, deadline: 6d}", "rollout.steps[2].experiment.deadline", "take 7d at the soonest"),
    "ranks over before their one look": (CANARY, "- experiment: {test: MannWhitney, duration: 14d, deadline: 14d}", "rollout.steps[2].experiment.deadline", "and the windows of its units"),
    "experiment over before its one look": (CANARY, "- experiment: {test: FixedHorizon, duration: 14d, deadline: 14d}", "rollout.steps[2].experiment.deadline", "and the windows of its units"),
    "shadow after an experiment": (CANARY, "- experiment: {}\n      - shadow: {}", "rollout.steps[3].shadow", "users come last"),
    "interleaving guarded by its clicks": (CANARY, "- interleave: {event: click, guardrails: [{event: click}]}", "rollout.steps[2].interleave", "name each once"),
    "interleaving guarded twice by one event": (CANARY, "- interleave: {event: click, guardrails: [{event: return}, {event: return}]}", "rollout.steps[2].interleave", "name each once"),
    "balanced interleaving that is guarded": (CANARY, "- interleave: {event: click, method: Balanced, guardrails: [{event: return}]}", "rollout.steps[2].interleave", "interleave by method: TeamDraft"),
    "interleaving of what is not ranked": (CANARY, "- interleave: {event: click}", "rollout.steps[2].interleave", "this task ranks nothing"),
    "estimates without their alert": ("{quality: {}}]", "{estimatedQuality: {}}]", "retraining.triggers[1].estimatedQuality", "monitoring.estimate: {alert: true}"),
    "a replay that promises to be young": ("  monitoring:\n", "  monitoring:\n    slos: [{name: judged, freshness: {within: 8d, objective: 99%}}]\n", "monitoring.slos[0].freshness", "a replay has a clock of its own"),
    "a promise of everything": ("  monitoring:\n", "  monitoring:\n    slos: [{name: all, availability: {objective: 100%}}]\n", "monitoring.slos[0].availability.objective", "write a share such as 99.9%"),
    "a promise without an alert": ("  monitoring:\n", "  monitoring:\n    slos: [{name: some, latency: {below: 1s, objective: 90%}}]\n", "monitoring.slos[0].latency.objective", "write a share such as 95%"),
    "a promise of a day": ("  monitoring:\n", "  monitoring:\n    slos: [{name: a, availability: {objective: 99%, window: 1d}}]\n", "monitoring.slos[0].availability.window", "not between 7d and 30d"),
    "a promise that no answer could break": ("  monitoring:\n", "  monitoring:\n    slos: [{name: a, latency: {below: 5s, objective: 99%}}]\n", "monitoring.slos[0].latency.below", "after which the gateway answers with 504"),
    "two promises of one name": ("  monitoring:\n", "  monitoring:\n    slos: [{name: a, availability: {objective: 99%}}, {name: a, latency: {below: 1s, objective: 99%}}]\n", "monitoring.slos[1].name", "written twice"),
    "deadline before an analysis can decide": ("minBlocks: 7, analyses: [quality], deadline: 21d", "analyses: [quality], deadline: 6d", "rollout.steps[0].shadow.deadline", "an analysis needs as many"),
    "analysis of a canary": ("weight: 50, duration: 2d", "weight: 50, duration: 2d, analyses: [quality], deadline: 3d", "rollout.steps[2].canary.analyses", "move them to a shadow step"),
    "no margin": ("decide: UnlessWorse, margin: 0.01", "decide: NotWorse, margin: 0", "rollout.analyses[0].margin", "margin above 0"),
    "effect without Better": ("decide: UnlessWorse,", "decide: UnlessWorse, minimumEffect: 0.1,", "rollout.analyses[0].minimumEffect", "only with decide: Better"),
    "cooldown beyond the budget": ("cooldown: 14d", "cooldown: 31d", "retraining.cooldown", "longer than budget.per"),
    "trigger twice among all": ("{quality: {}}]", "{all: {of: [{drift: {}}, {quality: {}}, {drift: {}}]}}]", "retraining.triggers[1].all.of[2]", "drift is written twice"),
    "schedule twice": ("{quality: {}}]", "{schedule: {cron: '0 6 * * MON'}}, {schedule: {cron: '0 6 * * MON'}}]", "retraining.triggers[2]", "schedule is written twice"),
    "windows of too few rows": ("minRows: 1000}", "minRows: 1000, rows: 999}", "monitoring.window.rows", "999 is below minRows"),
    "windows by rows that overlap": ("minRows: 1000}", "minRows: 1000, rows: 5000, every: 1d}", "monitoring.window.every", "windows by `rows` do not overlap"),
    "windows by rows beside the one before": ("minRows: 1000}\n    drift: {", "minRows: 1000, rows: 5000}\n    drift: {reference: PreviousWindow, ", "monitoring.drift.reference", "'PreviousWindow' compares stretches of the same length"),
    "windows by rows beside a season": ("minRows: 1000}\n    drift: {", "minRows: 1000, rows: 5000}\n    drift: {reference: Seasonal, seasonLength: 28d, ", "monitoring.drift.reference", "'Seasonal' compares stretches of the same length"),
    "sender twice": ("{quality: {}}]", f"{WEBHOOK}, {WEBHOOK}]", "retraining.triggers[2].webhook.sender", "airflow is written twice"),
    "sender twice among all": ("{quality: {}}]", f"{{all: {{of: [{WEBHOOK}, {WEBHOOK}]}}}}]", "retraining.triggers[1].all.of[1].webhook.sender", "airflow is written twice"),
    "sender of two secrets": ("{quality: {}}]", f"{WEBHOOK}, {{all: {{of: [{{drift: {{}}}}, {WEBHOOK.replace('key: k', 'key: other')}]}}}}]", "retraining.triggers[2].all.of[1].webhook.secretFrom", "has another secret where it is written before"),
    "all without an alert by estimates": ("{quality: {}}]", "{all: {of: [{drift: {}}, {estimatedQuality: {}}]}}]", "retraining.triggers[1].all.of[1].estimatedQuality", "no such alert is raised"),
    "trigger twice": ("{quality: {}}]", "{drift: {}}]", "retraining.triggers[1]", "drift is written twice"),
    "backoff backwards": ("maximum: 2d", "maximum: 1m", "retraining.backoff", "longer than maximum"),
    "cron": ("{quality: {}}]", '{schedule: {cron: "0 25 * * *"}}]', "retraining.triggers[1].schedule.cron", "is no cron line"),
    "nothing left to learn from": ("{type: Expanding}", "{type: Sliding, duration: 21d}", "training.window.duration", "no row is left"),
    "sliding without length": ("{type: Expanding}", "{type: Sliding}", "training.window", "belong together"),
    "request above limit": ("resources: {requests: {cpu: \"1\", memory: 1Gi}}", "resources: {requests: {cpu: 2}, limits: {cpu: 1}}", "training.resources.requests.cpu", "raise the limit"),
    "users kept over Istio": ("traffic: {provider: Envoy}", "traffic: {provider: Istio}", "data.keys.stickyBy", "'tailnum' keeps users on a version, which traffic.provider: Istio cannot"),
    "own variable": ("replicas: {min: 1, max: 3}", "environment: [{name: CAPSTAN_SYSTEM, value: x}]", "serving.environment[0].name", "set by Capstan itself"),
    "variable twice": ("replicas: {min: 1, max: 3}", "environment: [{name: A, value: a}, {name: A, value: b}]", "serving.environment[1].name", "written twice"),
    "variable of a training twice": ("    window: {type: Expanding}", "    environment: [{name: A, value: a}, {name: A, value: b}]", "training.environment[1].name", "written twice"),
    "replicas": ("{min: 1, max: 3}", "{min: 4, max: 3}", "serving.replicas", "min is above max"),
    "range of a category": ("{column: distance, min: 1}", "{column: dest, min: 1}", "data.checks[0]", "write allowed instead"),
    "values of a number": ("{column: carrier, allowed", "{column: temp, allowed", "data.checks[1]", "write min and max instead"),
    "rows left out for a volume": ("{column: distance, min: 1}", "{column: distance, volume: 9, severity: Drop}", "data.checks[0]", "are of all rows together"),
    "check of nothing": ("{column: distance, min: 1}", "{column: distance}", "data.checks[0]", "checks nothing"),
    "optional and never missing": ("numeric: {impute: Median, scale: ZScore}", "optional: true, numeric: {impute: DropRow}", "features[2].optional", "which replaces no missing value"),
    "optional and never null": ('"NO"]}]\n    split: {byTime: {validation: 7d, test: 14d}, refit: true}\n  features:\n    - {name: distance,', '"NO"]}, {column: distance, nullable: false}]\n    split: {}\n  features:\n    - {name: distance, optional: true,', "features[0].optional", "nullable: false"),
    "empty range": ("{column: distance, min: 1}", "{column: distance, min: 1, max: 0}", "data.checks[0]", "swap them"),
    "edges fall": ("[6, 12, 18]", "[6, 18, 12]", "features[1].numeric", "do not rise"),
    "buckets of two kinds": ("bucketEdges: [6, 12, 18]", "bucketEdges: [6], bucketQuantiles: 4", "features[1].numeric", "keep one of"),
    "buckets of no hash": ("encode: OneHot, minFrequency: 20", "encode: OneHot, buckets: 8", "features[3].categorical", "drop `buckets`"),
    "rare ones of a hash": ("encode: OneHot, minFrequency: 20", "encode: Hashing, minFrequency: 20", "features[3].categorical", "drop `minFrequency` and `unseen`"),
    "order of no numbers": ("encode: OneHot, minFrequency: 20", "order: [AA, UA]", "features[3].categorical", "drop `order`"),
    "rare ones of an order": ("encode: OneHot, minFrequency: 20", "encode: Integer, order: [AA, UA], minFrequency: 20", "features[3].categorical", "drop `minFrequency`"),
    "order of one twice": ("encode: OneHot, minFrequency: 20", "encode: Integer, order: [AA, UA, AA]", "features[3].categorical", "lists a category twice"),
    "a year on a circle": ("categorical: {encode: OneHot, minFrequency: 20}", "date: {parts: [Hour, Year], cyclic: true}", "features[3].date", "a Year never comes again"),
    "a part twice": ("categorical: {encode: OneHot, minFrequency: 20}", "date: {parts: [Hour, Hour]}", "features[3].date", "names a part twice"),
    "buckets of no hashed words": ("categorical: {encode: OneHot, minFrequency: 20}", "text: {buckets: 8}", "features[3].text", "drop `buckets`"),
    "words of a hash": ("categorical: {encode: OneHot, minFrequency: 20}", "text: {encode: Hashing, maxWords: 8}", "features[3].text", "drop `maxWords` and `minFrequency`"),
    "an image too large": ("categorical: {encode: OneHot, minFrequency: 20}", "image: {width: 120, height: 120}", "features[3].image", "make the image smaller"),
    "constants of colours for gray": ("categorical: {encode: OneHot, minFrequency: 20}", "image: {width: 8, height: 8, normalize: ImageNet}", "features[3].image", "write `channels: RGB`"),
    "words of an embedded text": ("categorical: {encode: OneHot, minFrequency: 20}", "text: {ngrams: 2, embed: {factory: 'my:own'}}", "features[3].text", "`embed` gets whole texts"),
    "levels of an embedded image": ("categorical: {encode: OneHot, minFrequency: 20}", "image: {width: 8, height: 8, normalize: ZScore, embed: {factory: 'my:own'}}", "features[3].image", "drop `normalize`"),
    "images read as categories": ("categorical: {encode: OneHot, minFrequency: 20}", "image: {width: 8, height: 8}}\n    - {name: again, column: dest, categorical: {}", "features[4]", "by features of the kind image alone"),
    "an indicator of nothing": ("numeric: {impute: Median, scale: ZScore}", "numeric: {impute: DropRow, indicator: true}", "features[2].numeric", "so `indicator` says nothing"),
    "default without a value": ("impute: Median", "impute: Default", "features[2].numeric", "belong together"),
    "tick beyond the window": ("tick: 1d", "tick: 8d", "replay.tick", "windows would close unseen"),
    "sent by another moment": ("tick: 1d", "tick: 1d, timeColumn: actual_arrival", "replay.timeColumn", "is not data.keys.time"),
    "losses of no number": ("target: late}", "target: late, losses: {maximumError: 180}}", "objective.losses", "those of BinaryClassification are not"),
    "a quantile of two classes": ("{name: baseline, mostFrequent: {}}", "{name: baseline, gradientBoosting: {quantile: 0.9}}", "training.candidates[0].gradientBoosting.quantile", "is only for labels that are numbers, and those of the task are not"),
    "a loss of numbers for two classes": ("{name: baseline, mostFrequent: {}}", "{name: baseline, gradientBoosting: {loss: Huber}}", "training.candidates[0].gradientBoosting.loss", "'Huber' is only for labels that are numbers or relevances, and those of the task are not"),
    "two losses": ("{name: baseline, mostFrequent: {}}", "{name: baseline, gradientBoosting: {loss: Huber, quantile: 0.9}}", "training.candidates[0].gradientBoosting", "say two things of what is answered"),
    "a share of nothing": ("{name: baseline, mostFrequent: {}}", "{name: baseline, randomForest: {columnShare: 0%}}", "training.candidates[0].randomForest.columnShare", "is nothing; write a share above 0%"),
    "an ensemble of nobody": ("{name: baseline, mostFrequent: {}}", "{name: baseline, bagging: {of: tree}}", "training.candidates[0].bagging.of", "'tree' is no candidate; none stands before it"),
    "an ensemble of itself": ("{name: baseline, mostFrequent: {}}", "{name: baseline, bagging: {of: baseline}}", "training.candidates[0].bagging.of", "'baseline' is the ensemble itself"),
    "weights of too few": ("{name: baseline, mostFrequent: {}}", "{name: baseline, voting: {of: [a, b], weights: [1, 2, 3]}}", "training.candidates[0].voting", "write one for each, or none"),
    "passes of LBFGS": ("{name: baseline, mostFrequent: {}}", "{name: baseline, multilayerPerceptron: {optimizer: LBFGS, earlyStopping: {}}}", "training.candidates[0].multilayerPerceptron", "take Adam or SGD, or drop earlyStopping"),
    "momentum of Adam": ("{name: baseline, mostFrequent: {}}", "{name: baseline, neuralNetwork: {momentum: 0.5}}", "training.candidates[0].neuralNetwork", "is of `optimizer: Momentum` alone; write that, or drop momentum"),
    "a layer left out": ("{name: baseline, mostFrequent: {}}", "{name: baseline, neuralNetwork: {dropout: 95%}}", "training.candidates[0].neuralNetwork.dropout", "leaves too little of a layer; write at most 90%"),
    "a loss of numbers": ("{name: baseline, mostFrequent: {}}", "{name: baseline, neuralNetwork: {loss: Huber}}", "training.candidates[0].neuralNetwork.loss", "is only for labels that are numbers or relevances"),
    "most rows to stop by": ("{name: baseline, mostFrequent: {}}", "{name: baseline, gradientBoosting: {earlyStopping: {share: 60%}}}", "training.candidates[0].gradientBoosting.earlyStopping.share", "leaves too few rows to learn from"),
    "a family of another label": ("{name: baseline, mostFrequent: {}}", "{name: baseline, linearRegression: {}}", "training.candidates[0].linearRegression", "can't learn the labels of BinaryClassification (candidate 'baseline'); these can: mostFrequent, logisticRegression, naiveBayes"),
    "gate of a bound and a rival": ("{metric: rocAuc, against: Champion, margin: 0.005,", "{metric: rocAuc, min: 0.7, against: Champion,", "evaluation.gates[0]", "drop `against`, or write a gate of its own"),
    "gate of no room": ("against: Champion, margin: 0.005", "min: 0.7, max: 0.6", "evaluation.gates[0]", "min is above max, so no model can pass"),
    "gate of a bound and a margin": ("against: Champion, margin", "min: 0.7, margin", "evaluation.gates[0]", "are of a comparison"),
    "gate better than a bound": ("against: Champion, margin: 0.005", "min: 0.7, decide: Better", "evaluation.gates[0]", "are of a comparison"),
    "gate with an effect to no end": ("against: Champion, margin: 0.005", "minimumEffect: 0.01", "evaluation.gates[0]", "counts only with decide: Better"),
    "gate by values of no column": ("against: Champion, margin: 0.005", "only: [AA]", "evaluation.gates[0]", "write exactly one in `slices`"),
    "gate by the label": ("against: Champion, margin: 0.005", "slices: [carrier, late]", "evaluation.gates[0].slices[1]", "known only with the label"),
    "fairness of two bounds": ("    gates: [", "    fairness: [{by: [carrier], maxDifference: 0.1, minRatio: 0.8}]\n    gates: [", "evaluation.fairness[0]", "write exactly one of them"),
    "fairness without a bound": ("    gates: [", "    fairness: [{by: [carrier]}]\n    gates: [", "evaluation.fairness[0]", "write exactly one of them"),
    "fairness by the label": ("    gates: [", "    fairness: [{by: [carrier, late], minRatio: 0.8}]\n    gates: [", "evaluation.fairness[0].by[1]", "known only with the label"),
    "reweighing by the label": ("    window: {type: Expanding}", "    reweigh: {by: [late]}", "training.reweigh.by[0]", "known only with the label"),
    "nothing sent": ('sample: "36%"', 'sample: "0%"', "replay", "nothing is sent"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "words"), RULES.values(), ids=RULES.keys())
def test_fields_that_do_not_fit_together_are_refused(
    mistakes_after: Broken, old: str, new: str, path: str, words: str
) -> None:
    found = mistakes_after(old, new)
    assert [mistake.path for mistake in found] == [path]
    assert words in found[0].message
    assert found[0].line is not None


FINE = {
    "shadow after pause": ("- canary: {weight: 25, duration: 2d, minRequests: 100}", "- pause: {}"),
    "least replicas alone": ("{min: 1, max: 3}", "{min: 4}"),
    "gate by an own metric": (
        "    gates: [{metric: rocAuc",
        "    metrics: [{name: cost, better: Lower, custom: {factory: 'm:f'}}]\n    gates: [{metric: cost",
    ),
    "gate of a bound": ("against: Champion, margin: 0.005", "min: 0.7"),
    "gate against the baseline": (
        "against: Champion, margin: 0.005",
        "against: Baseline, decide: Better, minimumEffect: 0.02",
    ),
    "gate by slices": (
        "against: Champion, margin: 0.005",
        "max: 0.9, slices: [carrier], only: [AA, UA], minRows: 50, onFewRows: LeaveOut",
    ),
    "fairness": (
        "    gates: [",
        "    fairness: [{by: [carrier, origin], metric: EqualisedOdds, minRatio: 0.8, minRows: 50, onFewRows: LeaveOut}]\n    gates: [",
    ),
    "reweighing": ("    window: {type: Expanding}", "    reweigh: {by: [carrier]}"),
    "sticky key as a feature": ("name: dest,", "name: tailnum,"),
    "deadline just long enough": ("deadline: 21d", "deadline: 7d"),
    "deadline that late labels alone would miss": ("maximumDelay: 3d", "maximumDelay: 30d"),
    "no triggers": ("[{drift: {}}, {quality: {}}]", "[]"),
    "batch": ("  deletionPolicy: Retain", "  batch: {schedule: 0 3 * * *, output: predictions}"),
    "suspended": ("  deletionPolicy: Retain", "  suspend: true"),
    "runtime": ("replicas: {min: 1, max: 3}", "runtime: Deployment"),
    "experiment": (CANARY, "- experiment: {}"),
    "canary beside a fresh copy": ("{weight: 50,", "{weight: 49, baseline: FreshCopy,"),
    "bandit": (CANARY, "- bandit: {policy: UCB1, cap: 7, arms: [v7], floor: 10, batch: 6h}"),
    "experiment of several arms": (
        CANARY,
        "- experiment: {weight: 33, arms: [{version: v7, weight: 33}], secondary: [brierScore]}",
    ),
    "experiment with a runner-up": (CANARY, "- experiment: {weight: 33, runnersUp: 1}"),
    "bandit with a runner-up": (CANARY, "- bandit: {runnersUp: 1}"),
    "experiment just long enough for its one look": (
        CANARY,
        "- experiment: {test: FixedHorizon, duration: 10d, window: 1d, deadline: 14d}",
    ),
    "empty variable": ("replicas: {min: 1, max: 3}", "environment: [{name: A, value: ''}]"),
    "a claim of one's own": ("    timeZone: America/New_York", "    volume: {claim: flights-files}"),
    "a larger volume": ("    timeZone: America/New_York", "    volume: {size: 20Gi, storageClass: fast}"),
    "pseudonymised keys": (
        SPLIT,
        PRIVATE.format(f"{{name: flight_id, {PSEUDONYM}}}, {{name: tailnum, {PSEUDONYM}}}"),
    ),
    "a generalised slice": (SPLIT, PRIVATE.format("{name: origin, generalise: {prefix: 1}}")),
    "a band as a number": (
        SPLIT,
        PRIVATE.format("{name: temp, generalise: {width: 5}}, {name: ssn, drop: {}}"),
    ),
    "nodes": ("replicas: {min: 1, max: 3}", "nodeSelector: {kubernetes.io/arch: arm64, gpu: ''}"),
}


@pytest.mark.parametrize(("old", "new"), FINE.values(), ids=FINE.keys())
def test_sound_variants_are_accepted(mistakes_after: Broken, old: str, new: str) -> None:
    assert mistakes_after(old, new) == []


def test_what_keeps_raw_values_elsewhere_is_refused_beside_marked_columns(flights: str) -> None:
    istio = flights.replace(", stickyBy: tailnum", "").replace("provider: Envoy}", "provider: Istio}")
    marked = istio.replace(SPLIT, PRIVATE.format("{name: phone, mask: {}}"))
    with pytest.raises(InvalidSpecError, match="Seldon's executor logs requests behind Istio as they come"):
        parse(marked, base_dir=Path())


def test_istio_splits_where_nobody_is_to_be_kept_on_a_version_and_seldon_serves(flights: str) -> None:
    istio = flights.replace(", stickyBy: tailnum", "").replace("provider: Envoy}", "provider: Istio}")
    parse(istio, base_dir=Path())
    kept = re.sub(r"\n +- canary: .*", "", flights).replace("provider: Envoy}", "provider: Istio}")
    parse(kept, base_dir=Path())
    with pytest.raises(InvalidSpecError, match="write runtime: Seldon, or provider: Envoy") as refused:
        parse(istio.replace("provider: Istio}", "provider: Istio}\n    runtime: Deployment"), base_dir=Path())
    assert [mistake.path for mistake in refused.value.mistakes] == ["serving.runtime"]


ROUTED = "- bandit: {per: Request, batch: 1m, arms: [v7], deadline: 7d}"


def routed(flights: str, traffic: str = "{provider: Istio, failures: Bounded}", steps: str = ROUTED) -> str:
    """The flights file with a bandit whose requests a router draws."""
    alone = re.sub(r"\n +- canary: .*", "", flights).replace(", stickyBy: tailnum", "")
    alone = alone.replace("traffic: {provider: Envoy}", f"traffic: {traffic}")
    return alone.replace("    analyses: [{name: quality", f"      {steps}\n    analyses: [{{name: quality", 1)


def test_a_router_draws_the_requests_of_a_bandit_where_seldon_and_istio_serve(flights: str) -> None:
    step = parse(routed(flights), base_dir=Path()).spec.rollout.steps[-1].bandit
    assert step is not None
    assert step.per == "Request"


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        (
            {"traffic": "{provider: Istio}"},
            "rollout.steps[1].bandit.per",
            "write serving.traffic.failures: Bounded",
        ),
        (
            {"steps": f"{ROUTED}\n      - bandit: {{per: Request}}"},
            "rollout.steps[2].bandit.per",
            "a system has one router; keep one",
        ),
        (
            {"steps": "- bandit: {batch: 5m}"},
            "rollout.steps[1].bandit.batch",
            "whose proxies take up to a minute to follow new weights; write at least 10m",
        ),
    ],
    ids=["failures that are hidden", "two routers", "batches that are too short"],
)
def test_what_a_router_cannot_do_is_refused_before_anything_runs(
    flights: str, changes: dict[str, str], path: str, says: str
) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        parse(routed(flights, **changes), base_dir=Path())
    assert [(one.path, says in one.message) for one in refused.value.mistakes] == [(path, True)]


def test_a_bandit_goes_by_batches_behind_istio_where_no_user_must_stay_on_a_version(flights: str) -> None:
    batches = routed(flights, steps="- bandit: {batch: 6h}")
    step = parse(batches, base_dir=Path()).spec.rollout.steps[-1].bandit
    assert step is not None
    assert step.per == "Batch"
    sticky = batches.replace("time: scheduled_departure}", "time: scheduled_departure, stickyBy: tailnum}")
    with pytest.raises(InvalidSpecError, match="draws each request of a canary or a bandit anew"):
        parse(sticky, base_dir=Path())


def test_a_router_keeps_no_user_on_a_version(flights: str) -> None:
    sticky = routed(flights).replace(
        "time: scheduled_departure}", "time: scheduled_departure, stickyBy: tailnum}"
    )
    assert sticky != routed(flights)
    with pytest.raises(InvalidSpecError, match=r"keeps no user on a version, as data\.keys\.stickyBy asks"):
        parse(sticky, base_dir=Path())


OWN = "    metrics: [{name: cost, better: Lower, custom: {factory: 'm:f'}}]\n    gates: ["


def with_own(flights: str, old: str, new: str) -> list[Mistake]:
    """What is wrong with the flights file that has a metric of its own, after the change."""
    assert flights.count("    gates: [") == 1
    text = flights.replace("    gates: [", OWN)
    assert text.count(old) == 1
    try:
        parse(text.replace(old, new), base_dir=Path())
    except InvalidSpecError as error:
        return error.mistakes
    return []


def test_an_own_metric_chooses_and_gates(flights: str) -> None:
    assert with_own(flights, "choose: {metric: rocAuc", "choose: {metric: cost") == []


@pytest.mark.parametrize(
    ("old", "new", "path", "way"),
    [
        (
            "quality: {metric: rocAuc",
            "quality: {metric: cost",
            "monitoring.quality.metric",
            "write one of rocAuc,",
        ),
        ("metric: logLoss", "metric: cost", "rollout.analyses[0].metric", "write one of logLoss, brierScore"),
    ],
)
def test_an_own_metric_on_what_users_got_is_refused_with_the_reason(
    flights: str, old: str, new: str, path: str, way: str
) -> None:
    (mistake,) = with_own(flights, old, new)
    assert mistake.path == path
    assert "'cost' is a metric of your own, which only trainings measure" in mistake.message
    assert way in mistake.message


@pytest.mark.parametrize("name", ["roc_auc", "2nd", "cost of a miss"])
def test_the_name_of_an_own_metric_is_one_word_of_letters_and_digits(flights: str, name: str) -> None:
    (mistake,) = with_own(flights, "{name: cost", f"{{name: {name}")
    assert mistake.path == "evaluation.metrics[0].name"
    assert "write letters and digits, beginning with a letter" in mistake.message


WORTH = {"currency": "$", "truePositive": 35, "falsePositive": -5, "trueNegative": 0, "falseNegative": -60}


def test_what_answers_are_worth_is_a_metric_that_every_part_of_the_file_may_name(flights: str) -> None:
    document = YAML(typ="safe").load(flights)
    spec = document["spec"]
    spec["objective"]["value"] = WORTH
    spec["training"]["choose"]["metric"] = spec["monitoring"]["quality"]["metric"] = "value"
    spec["evaluation"]["gates"] = [{"metric": "value", "margin": 0.5}]
    spec["rollout"]["analyses"] = [{"name": "quality", "metric": "value"}]
    del spec["monitoring"]["quality"]["maxDrop"]
    system = parse(json.loads(json.dumps(document, default=str)), base_dir=Path())
    facts = system.spec.task_facts.metric("value")
    assert (facts.title, facts.direction, facts.is_paired) == ("value of a case, $", "Higher", True)
    # In the unit of the worths: shares of the 95 between the best and the worst answer.
    assert system.spec.rollout.analyses[0].margin == pytest.approx(0.475)
    assert system.spec.monitoring.quality.max_drop == pytest.approx(1.9)
    spec["evaluation"]["online"] = [
        {"name": "value", "event": "sale", "aggregate": "Sum", "window": "1d", "better": "Higher"}
    ]
    with pytest.raises(InvalidSpecError, match="'value' is a metric of BinaryClassification itself"):
        parse(json.loads(json.dumps(document, default=str)), base_dir=Path())


def test_least_blocks_are_those_of_the_planner() -> None:
    assert rollout_rules.LEAST_BLOCKS_OF_A_VERDICT == quality.LEAST_BLOCKS


def test_metrics_of_the_file_are_those_that_evaluation_measures() -> None:
    assert set(TASK_FACTS) == set(TASKS)
    for name, facts in TASK_FACTS.items():
        assert tuple(TASKS[name].metrics) == facts.metric_names
        assert all(
            (metric.losses is not None) == metric.facts.is_paired for metric in TASKS[name].metrics.values()
        )
        assert {facts.chosen_by, facts.compared_by} <= set(facts.metric_names)


@pytest.mark.parametrize("line", ["0 6 * * 1", "*/5 0 1,15 * *", "0-30/10 23 * 12 0-7", "0 6 * JAN MON#1"])
def test_cron_lines_are_understood(line: str) -> None:
    assert OnSchedule(cron=line).cron == line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "a * * * *",
        "5-1 * * * *",
        "@daily",
        "0 0 31 2 *",
        "0 0 0 6 * *",
    ],
)
def test_what_is_no_cron_line_is_refused(line: str) -> None:
    with pytest.raises(InvalidSpecError, match="is no cron line"):
        OnSchedule(cron=line)


def test_a_feature_may_be_called_all_features_unless_these_are_compared(flights: str) -> None:
    named = flights.replace("name: temp,", "name: all features, column: temp,")
    parse(named, base_dir=Path())
    with pytest.raises(
        InvalidSpecError, match=r"'all features' is what monitoring\.drift\.multivariate calls"
    ):
        parse(
            named.replace("drift: {numeric: KS,", "drift: {multivariate: MMD, numeric: KS,"), base_dir=Path()
        )


def test_several_sources_need_a_query(flights: str, mistakes_after: Broken) -> None:
    query = flights[flights.index("    query: >-") : flights.index("    timeZone:")]
    (mistake,) = mistakes_after(query, "")
    assert (mistake.path, mistake.line) == ("data", 7)
    assert "add `query:`" in mistake.message


def test_another_engine_needs_a_query(flights: str, mistakes_after: Broken) -> None:
    query = flights[flights.index("    query: >-") : flights.index("    timeZone:")]
    found = {mistake.path: mistake.message for mistake in mistakes_after(query, "    engine: Spark\n")}
    assert (
        found["data.engine"] == "'Spark' runs data.query, and there is none; write data.query, or drop engine"
    )


def test_a_made_claim_has_a_size_and_ones_own_has_none(flights: str) -> None:
    data = parse(flights, base_dir=Path()).spec.data
    assert (data.volume.claim, data.volume.size) == (None, 2**30)
    assert DataVolume(claim="mine").size is None


def test_decide_has_the_same_words_in_gates_analyses_and_verdicts() -> None:
    analyses, gates = (get_args(model.model_fields["decide"].annotation) for model in (Analysis, Gate))
    assert set(analyses) == {one.value for one in quality.Decide}
    assert set(gates) == set(analyses)


def test_a_promise_of_young_labels_leaves_windows_the_time_to_end(flights: str) -> None:
    slos = "  monitoring:\n    slos: [{name: judged, freshness: {within: 7d, objective: 99%}}]\n"
    live = re.sub(r"\n  replay:.*(\n    .*)*", "", flights)
    with pytest.raises(InvalidSpecError) as refused:
        parse(live.replace("  monitoring:\n", slos), base_dir=Path())
    [mistake] = refused.value.mistakes
    assert mistake.path == "monitoring.slos[0].freshness.within"
    assert "7d is not longer than monitoring.window.duration (7d)" in str(mistake)
    parse(live.replace("  monitoring:\n", slos.replace("7d", "8d")), base_dir=Path())


def test_a_batch_needs_rows_with_a_time() -> None:
    text = """
    apiVersion: capstan.dev/v1alpha1
    kind: MLSystem
    metadata: {name: small}
    spec:
      objective: {task: BinaryClassification, target: late}
      data:
        sources: [{name: flights, csv: {path: flights.csv}}]
        keys: {id: id}
        label: {column: late}
      features: [{name: distance, numeric: {}}]
      batch: {schedule: "0 3 * * *", output: predictions}
    """
    with pytest.raises(
        InvalidSpecError, match=r"batch: rows have no time.*data\.keys\.time, or drop batch"
    ) as refused:
        parse(text, base_dir=Path())
    assert [mistake.path for mistake in refused.value.mistakes] == ["batch"]
