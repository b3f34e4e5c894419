"""A rule says in CEL what it says in Python: evaluated by a CEL evaluator on documents as an API server sees them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cel
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from capstan.cluster.crd_schema import filled, system_spec
from capstan.errors import InvalidSpecError
from capstan.spec.rule import Cel, Rule, part_rule
from capstan.spec.rule import rule as rule_of
from capstan.spec.rules import PART_RULES, RULES
from capstan.spec.system import WITHOUT_RULES, MLSystem

SCHEMA = system_spec()
DOCUMENT = json.loads(
    json.dumps(YAML(typ="safe").load((Path(__file__).parent / "flight_delays.yaml").read_text()), default=str)
)
IN_CEL = [pytest.param(one, id=one.name) for one in (*RULES, *PART_RULES) if one.cel]

BY_REQUEST = {"bandit": {"per": "Request", "batch": "1m"}}
CLICKS = {"name": "clicks", "event": "click", "aggregate": "Rate", "window": "1d", "better": "Higher"}
GOING_ON = [{"name": "trees", "gradientBoosting": {}}, {"name": "onward", "fineTune": {"of": "trees"}}]
EVENTS = {
    "source": "flights",
    "entity": "tailnum",
    "time": "actual_arrival",
    "aggregates": [{"name": "landed_6h", "function": "Count", "window": "6h"}],
}
LATE = [{"name": "late_6h", "function": "Sum", "column": "late", "window": "6h"}]
VALUES: tuple[tuple[str, Any], ...] = (
    ("data.events", [EVENTS]),
    ("data.events", [{**EVENTS, "entity": "late"}]),
    ("data.events", [{**EVENTS, "delay": "5m"}]),
    ("data.events", [{**EVENTS, "delay": "5m", "availableAt": "noted_at"}]),
    ("data.events", [{**EVENTS, "aggregates": LATE}]),
    ("data.events", [{**EVENTS, "aggregates": [{"name": "n", "function": "Sum", "window": "6h"}]}]),
    (
        "data.events",
        [{**EVENTS, "aggregates": [{"name": "n", "function": "Count", "column": "late", "window": "6h"}]}],
    ),
    ("data.privacy", {"anonymity": {"by": ["dest"], "l": 2}}),
    ("data.privacy", {"anonymity": {"by": ["dest"], "sensitive": ["origin"], "k": 2, "l": 2}}),
    ("objective.target", "delayed"),
    ("objective.target", "flight_id"),
    ("objective.task", "Regression"),
    ("objective.losses", {"maximumError": 180}),
    ("objective.positive", "MM"),
    ("objective.negative", "CH"),
    ("objective.losses", {"maximumError": 180, "huberDelta": 200}),
    ("objective.losses", {"maximumError": 180, "huberDelta": 180}),
    (
        "training.candidates",
        [{"name": "baseline", "mostFrequent": {}}, {"name": "line", "linearRegression": {}}],
    ),
    ("training.candidates", [{"name": "trees", "gradientBoosting": {}}]),
    ("training.candidates", [{"name": "trees", "gradientBoosting": {"quantile": 0.75}}]),
    ("training.candidates", [{"name": "trees", "gradientBoosting": {"quantile": 0.75, "loss": "Huber"}}]),
    ("training.candidates", [{"name": "trees", "gradientBoosting": {"focus": 2}}]),
    ("training.candidates", [{"name": "trees", "decisionTree": {"classWeights": "Balanced"}}]),
    ("training.candidates", [{"name": "order", "lambdaMart": {}}]),
    ("training.candidates", [{"name": "all", "voting": {"of": ["a", "b"], "weights": [1, 2, 3]}}]),
    ("training.candidates", [{"name": "all", "voting": {"of": ["a", "b"], "weights": [1, 2]}}]),
    (
        "training.candidates",
        [{"name": "net", "multilayerPerceptron": {"optimizer": "LBFGS", "earlyStopping": {}}}],
    ),
    (
        "training.candidates",
        [{"name": "net", "multilayerPerceptron": {"optimizer": "SGD", "earlyStopping": {}}}],
    ),
    ("training.candidates", [{"name": "net", "neuralNetwork": {"momentum": 0.5}}]),
    ("training.candidates", [{"name": "net", "neuralNetwork": {"momentum": 0.5, "optimizer": "Momentum"}}]),
    ("training.candidates", [{"name": "line", "linearRegression": {"l1": 1, "loss": "Huber"}}]),
    ("training.candidates", [{"name": "line", "linearRegression": {"l1": 0, "loss": "Huber"}}]),
    ("training.candidates", GOING_ON),
    ("data.label.availableAt", "late"),
    ("data.label", None),
    ("objective.flaggedShare", 0.02),
    ("data.keys.id", "scheduled_departure"),
    ("data.keys.id", "label"),
    ("data.keys", {"id": "flight_id"}),
    ("data.keys", {}),
    ("data.split", {"random": {}}),
    ("data.split", {"random": {}, "stratified": {}}),
    ("data.split", {"group": {"by": "carrier"}}),
    ("data.split", {"group": {"by": "carrier"}, "random": {}}),
    ("training.choose.folds", 5),
    ("training.balance", {"method": "SMOTE"}),
    ("training.sample", {"rows": 100}),
    ("training.sample", {"rows": 100, "by": "carrier"}),
    ("training.sample", {"rows": 100, "method": "Importance"}),
    ("training.sample", {"rows": 100, "method": "Snowball", "by": "carrier"}),
    ("training.sample", {"rows": 100, "method": "Snowball", "edge": "carrier"}),
    ("training.sample", {"rows": 100, "edge": "carrier"}),
    ("data.query", None),
    ("data.engine", "Spark"),
    ("data.sources.0.annotations", {"item": "a", "annotator": "b", "label": "c"}),
    ("data.sources.0.annotations", {"item": "a", "annotator": "a", "label": "c"}),
    ("data.sources.0.annotations", {"item": "annotators", "annotator": "b", "label": "c"}),
    ("data.sources.0.annotations", {"item": "a", "annotator": "b", "label": "c", "trust": ["anna"]}),
    ("data.sources.0.annotations", {"item": "a", "annotator": "b", "label": "c", "decide": "Trusted"}),
    ("features.2.name", "late"),
    ("features.2.column", "flight_id"),
    ("data.sources.0.csv.credentialsFrom", {"secretKeyRef": {"name": "lake", "key": "keys"}}),
    ("data.sources.0.csv.path", "s3://lake/flights.csv"),
    ("data.sources.0.csv.path", "az://lake/flights.csv"),
    (
        "data.sources.0",
        {
            "name": "flights",
            "delta": {"path": "flights", "credentialsFrom": {"secretKeyRef": {"name": "lake", "key": "k"}}},
        },
    ),
    (
        "data.sources.0",
        {
            "name": "flights",
            "delta": {
                "path": "gs://lake/rows",
                "credentialsFrom": {"secretKeyRef": {"name": "lake", "key": "k"}},
            },
        },
    ),
    ("data.sources.0", {"name": "flights", "iceberg": {}}),
    ("data.sources.0", {"name": "flights", "iceberg": {"path": "flights"}}),
    ("data.sources.0", {"name": "flights", "iceberg": {"path": "flights", "table": "shop.flights"}}),
    (
        "data.sources.0",
        {
            "name": "flights",
            "iceberg": {
                "table": "shop.flights",
                "catalogFrom": {"secretKeyRef": {"name": "lake", "key": "k"}},
            },
        },
    ),
    ("data.checks.0", {"column": "distance"}),
    ("data.checks.0", {"column": "distance", "min": 3, "max": 1.5}),
    ("data.checks.0", {"column": "distance", "min": 1, "allowed": ["a"]}),
    ("data.checks.0", {"column": "distance", "allowed": []}),
    ("data.checks.0", {"column": "distance", "nullable": False}),
    ("data.checks.0", {"column": "actual_arrival", "nullable": False}),
    ("data.checks.0", {"column": "distance", "unique": True, "severity": "Drop"}),
    ("data.checks.0", {"column": "distance", "volume": 9}),
    ("data.checks.0", {"column": "distance", "freshness": "2d", "severity": "Drop"}),
    ("data.checks.0", {"column": "distance", "condition": "distance > 1", "severity": "Warn"}),
    ("data.volume", {"claim": "mine", "size": "1Gi"}),
    ("data.volume", {"claim": "mine"}),
    ("data.volume", {"storageClass": "fast"}),
    ("features.0.numeric", {"impute": "Default"}),
    ("features.0.numeric", {"impute": "Default", "default": 0}),
    ("features.0.numeric", {"default": 1.5}),
    ("features.0.numeric", {"bucketEdges": [1, 2], "bucketWidths": 3}),
    ("features.0.numeric", {"bucketQuantiles": 4, "scale": "Log"}),
    ("features.0.numeric", {"bucketEdges": [1, 2]}),
    ("features.0.numeric", {"indicator": True}),
    ("features.0.numeric", {"indicator": True, "impute": "DropRow"}),
    ("features.3.categorical", {"buckets": 8}),
    ("features.3.categorical", {"encode": "Target"}),
    ("features.3.categorical", {"encode": "Hashing", "buckets": 8}),
    ("features.3.categorical", {"encode": "Hashing", "minFrequency": 2}),
    ("features.3.categorical", {"encode": "Hashing", "unseen": "Refuse"}),
    ("features.3.categorical", {"order": ["AA", "UA"]}),
    ("features.3.categorical", {"encode": "Integer", "order": ["AA", "UA"]}),
    ("features.3.categorical", {"encode": "Integer", "order": ["AA", "UA"], "minFrequency": 2}),
    ("features.3", {"name": "scheduled_departure", "date": {"parts": ["Hour"]}}),
    ("features.3", {"name": "when", "column": "scheduled_departure", "date": {"parts": ["Hour", "Year"]}}),
    ("features.3", {"name": "when", "date": {"parts": ["Hour", "Year"], "cyclic": True}}),
    ("features.3", {"name": "scheduled_departure", "numeric": {}}),
    ("features.3", {"name": "remark", "text": {"buckets": 8}}),
    ("features.3", {"name": "remark", "text": {"encode": "Hashing", "buckets": 8, "ngrams": 2}}),
    ("features.3", {"name": "remark", "text": {"encode": "Hashing", "maxWords": 8}}),
    ("features.3", {"name": "remark", "text": {"encode": "Hashing", "minFrequency": 2}}),
    ("features.3", {"name": "picture", "image": {"width": 64, "height": 64, "channels": "RGB"}}),
    ("features.3", {"name": "remark", "text": {"embed": {"factory": "my:own"}}}),
    ("features.3", {"name": "remark", "text": {"ngrams": 2, "embed": {"factory": "my:own"}}}),
    ("features.3", {"name": "remark", "text": {"encode": "Hashing", "embed": {"factory": "my:own"}}}),
    ("features.3", {"name": "picture", "image": {"width": 8, "height": 8, "embed": {"factory": "my:own"}}}),
    (
        "features.3",
        {
            "name": "picture",
            "image": {"width": 8, "height": 8, "normalize": "ZScore", "embed": {"factory": "my:own"}},
        },
    ),
    ("features.3", {"name": "picture", "image": {"width": 64, "height": 65, "channels": "RGB"}}),
    ("features.3", {"name": "picture", "image": {"width": 256, "height": 49}}),
    ("features.3", {"name": "picture", "image": {"width": 8, "height": 8, "normalize": "ImageNet"}}),
    (
        "features.3",
        {"name": "picture", "image": {"width": 8, "height": 8, "channels": "RGB", "normalize": "ImageNet"}},
    ),
    ("training.window", {"type": "Sliding"}),
    ("training.window", {"type": "Sliding", "duration": "90d"}),
    ("training.window", {"duration": "90d"}),
    ("training.choose.metric", "auc"),
    ("training.environment", [{"name": "CAPSTAN_X", "value": "1"}]),
    ("training.environment", [{"name": "MINE", "value": "1"}]),
    ("serving.environment", [{"name": "BENTOML_X", "value": "1"}]),
    ("serving.replicas", {"min": 4, "max": 3}),
    ("serving.replicas", {"min": 4}),
    ("serving.runtime", "Deployment"),
    ("serving.traffic.provider", "Istio"),
    ("evaluation.gates.0.metric", "auc"),
    ("evaluation.gates.0.metric", "cost"),
    ("evaluation.gates.0", {"metric": "rocAuc", "min": 0.7}),
    ("evaluation.gates.0", {"metric": "rocAuc", "min": 0.7, "max": 0.6}),
    ("evaluation.gates.0", {"metric": "rocAuc", "max": 0.6, "against": "Baseline"}),
    ("evaluation.gates.0", {"metric": "rocAuc", "min": 0.7, "margin": 0.1}),
    ("evaluation.gates.0", {"metric": "rocAuc", "min": 0.7, "minimumEffect": 0.1}),
    ("evaluation.gates.0", {"metric": "rocAuc", "max": 0.7, "decide": "Better"}),
    ("evaluation.gates.0", {"metric": "rocAuc", "decide": "Better", "minimumEffect": 0.1}),
    ("evaluation.gates.0", {"metric": "rocAuc", "minimumEffect": 0.1}),
    ("evaluation.gates.0", {"metric": "rocAuc", "against": "Baseline"}),
    ("evaluation.gates.0", {"metric": "rocAuc", "only": ["AA"]}),
    ("evaluation.gates.0", {"metric": "rocAuc", "only": ["AA"], "slices": ["carrier"]}),
    ("evaluation.gates.0", {"metric": "rocAuc", "only": ["AA"], "slices": ["carrier", "origin"]}),
    ("evaluation.fairness", [{"by": ["carrier"], "maxDifference": 0.1}]),
    ("evaluation.fairness", [{"by": ["carrier"], "maxDifference": 0.1, "minRatio": 0.8}]),
    ("evaluation.fairness", [{"by": ["carrier"], "minRatio": 0.8}]),
    ("evaluation.fairness", [{"by": ["carrier"]}]),
    ("evaluation.fairness", []),
    ("training.reweigh", {"by": ["carrier"]}),
    ("training.choose.metric", "cost"),
    ("monitoring.drift.reference", "Seasonal"),
    ("monitoring.drift.seasonLength", "7d"),
    ("monitoring.quality.metric", "cost"),
    ("rollout.analyses.0.metric", "cost"),
    ("evaluation.metrics", [{"name": "cost", "better": "Lower", "custom": {"factory": "m:f"}}]),
    ("evaluation.metrics", [{"name": "rocAuc", "better": "Higher", "custom": {"factory": "m:f"}}]),
    ("objective.value", {"truePositive": 5, "falsePositive": -1}),
    ("objective.value", {"truePositive": 5, "falsePositive": 1}),
    ("objective.value", {"falseNegative": -5}),
    ("objective.value", {}),
    ("objective.value", {"currency": "$"}),
    ("objective.value", {"truePositive": 5, "falsePositive": -1, "over": -1}),
    ("objective.value", {"over": -2, "under": -5}),
    ("objective.value", {"over": -2}),
    ("objective.value", {"over": -2, "under": 0}),
    ("objective.value", {"right": 1}),
    ("objective.value", {"right": 1, "wrong": 1}),
    ("objective.value", {"right": 1, "pairs": []}),
    ("objective.value", {"right": 1, "pairs": [{"label": "a", "answer": "b", "worth": -5}]}),
    ("objective.value", {"right": 1, "pairs": [{"label": "a", "answer": "b", "worth": 1}]}),
    ("objective.value", {"right": 1, "pairs": [{"label": "a", "answer": "a", "worth": -5}]}),
    ("objective.value", {"right": 1, "pairs": [{"label": "a", "answer": "b", "worth": -5}] * 2}),
    ("training.choose.metric", "value"),
    ("evaluation.gates.0.metric", "value"),
    ("monitoring.quality.metric", "value"),
    ("rollout.analyses.0.metric", "value"),
    ("evaluation.metrics", [{"name": "value", "better": "Lower", "custom": {"factory": "m:f"}}]),
    ("evaluation.online", [{**CLICKS, "name": "value"}]),
    ("evaluation.online", [{**CLICKS}]),
    ("evaluation.online", [{**CLICKS, "name": "rocAuc"}]),
    ("evaluation.online", [{**CLICKS, "name": "cost"}]),
    ("evaluation.online", [{**CLICKS, "cap": 3}]),
    ("evaluation.online", [{**CLICKS, "aggregate": "Count", "cap": 3}]),
    ("data.keys.group", "hour"),
    ("data.keys.group", "flight_id"),
    ("data.keys.group", "distance"),
    ("training.choose.metric", None),
    ("rollout.analyses.0.metric", None),
    ("monitoring.quality.metric", "auc"),
    ("rollout.analyses.0.metric", "rocAuc"),
    ("rollout.analyses.0.decide", "NotWorse"),
    ("rollout.analyses.0.decide", "Better"),
    ("rollout.analyses.0.margin", 0),
    ("rollout.analyses.0.minimumEffect", 0.25),
    ("rollout.analyses.0.name", "other"),
    ("rollout.queries", [{"name": "refunds", "promql": "up"}]),
    ("rollout.queries", [{"name": "refunds", "promql": "up", "failureWhen": "result > 1"}]),
    ("rollout.steps.1", {"shadow": {}}),
    ("rollout.steps.1.canary.weight", 50),
    ("rollout.steps.1.canary.weight", 60),
    ("rollout.steps.2", {"canary": {"weight": 30, "analyses": ["quality"]}}),
    ("rollout.steps.2", {"canary": {"weight": 49, "baseline": "FreshCopy"}}),
    ("rollout.steps.2", {"canary": {"weight": 50, "baseline": "FreshCopy"}}),
    ("rollout.steps.2", {"bandit": {}}),
    ("rollout.steps.2", BY_REQUEST),
    ("rollout.steps.2", {"bandit": {"floor": 34, "arms": ["v7"]}}),
    ("rollout.steps.2", {"bandit": {"floor": 33, "arms": ["v7"]}}),
    ("rollout.steps.2", {"bandit": {"arms": ["v7", "v7"]}}),
    ("rollout.steps.2", {"bandit": {"floor": 33, "runnersUp": 1}}),
    ("rollout.steps.2", {"bandit": {"floor": 34, "runnersUp": 1}}),
    ("rollout.steps.2", {"bandit": {"floor": 25, "runnersUp": 1, "arms": ["v7"]}}),
    ("rollout.steps.2", {"bandit": {"floor": 26, "runnersUp": 1, "arms": ["v7"]}}),
    ("rollout.steps.2", {"experiment": {"weight": 49, "runnersUp": 1}}),
    ("rollout.steps.2", {"experiment": {"weight": 50, "runnersUp": 1}}),
    (
        "rollout.steps.2",
        {"experiment": {"weight": 40, "runnersUp": 1, "arms": [{"version": "v8", "weight": 19}]}},
    ),
    (
        "rollout.steps.2",
        {"experiment": {"weight": 40, "runnersUp": 1, "arms": [{"version": "v8", "weight": 20}]}},
    ),
    ("rollout.steps.2", {"bandit": {"decide": "NotWorse"}}),
    ("rollout.steps.2", {"bandit": {"decide": "UnlessWorse", "minimumEffect": 0.5}}),
    ("rollout.steps.2", {"bandit": {"decide": "UnlessWorse"}}),
    ("rollout.steps.2", {"bandit": {"decide": "UnlessWorse", "deadline": "28d"}}),
    ("rollout.steps.2", {"experiment": {}}),
    ("rollout.steps.1", {"experiment": {"weight": 40, "arms": [{"version": "v7", "weight": 40}]}}),
    ("rollout.steps.2", {"experiment": {"weight": 30, "arms": [{"version": "v8", "weight": 30}]}}),
    ("rollout.steps.2", {"experiment": {"weight": 60, "arms": [{"version": "v8", "weight": 40}]}}),
    (
        "rollout.steps.2",
        {
            "experiment": {
                "weight": 9,
                "arms": [{"version": "v8", "weight": 4}, {"version": "v8", "weight": 5}],
            }
        },
    ),
    ("rollout.steps.2", {"experiment": {"test": "MannWhitney"}}),
    ("rollout.steps.2", {"experiment": {"test": "MannWhitney", "duration": "14d"}}),
    ("rollout.steps.2", {"experiment": {"test": "MannWhitney", "duration": "14d", "covariate": "7d"}}),
    ("rollout.steps.2", {"experiment": {"test": "FixedHorizon"}}),
    ("rollout.steps.2", {"experiment": {"test": "FixedHorizon", "duration": "14d"}}),
    ("rollout.steps.2", {"experiment": {"test": "FixedHorizon", "duration": "14d", "blocks": "Day"}}),
    ("rollout.steps.2", {"experiment": {"decide": "NotWorse"}}),
    ("rollout.steps.2", {"experiment": {"decide": "NotWorse", "margin": 0.5}}),
    ("rollout.steps.2", {"experiment": {"decide": "UnlessWorse", "minimumEffect": 0.5}}),
    ("rollout.steps.2", {"experiment": {"decide": "UnlessWorse"}}),
    ("rollout.steps.2", {"experiment": {"decide": "UnlessWorse", "deadline": "28d"}}),
    ("rollout.steps.2", {"experiment": {"decide": "UnlessWorse", "test": "FixedHorizon", "duration": "14d"}}),
    ("rollout.steps.2", {"interleave": {"event": "click"}}),
    ("rollout.steps.2", {"pause": {}}),
    ("rollout.steps.2", {"shadow": {}}),
    ("retraining.triggers.0", {"schedule": {"cron": "0 6 * * 1"}}),
    ("retraining.triggers.0", {"newData": {"rows": 5000}}),
    (
        "retraining.triggers.0",
        {"webhook": {"sender": "airflow", "secretFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}},
    ),
    ("models", []),
    ("models", [{"name": "one"}]),
    ("models", [{"name": "one"}, {"name": "two"}]),
    ("models", [{"name": "one"}, {"name": "two"}, {"name": "three"}]),
    ("models", [{"name": "one", "weight": 1}, {"name": "two", "weight": 0.5}]),
    ("models", [{"name": "one", "weight": 1}, {"name": "two"}]),
    ("models", [{"name": "one"}, {"name": "probability"}]),
    ("models", [{"name": "one", "target": "flight_id"}, {"name": "two", "target": "departed_late"}]),
    ("combine", {"rule": "Any"}),
    ("combine", {"rule": "Weighted"}),
    ("combine", {"rule": "Sequence", "keep": 10}),
    ("combine", {"rule": "Sequence"}),
    ("combine", {"rule": "Mean", "keep": 10}),
)
"""Changes of the flights' file, good and bad; None takes a key away."""
TOGETHER: tuple[tuple[tuple[str, Any], ...], ...] = (
    (
        ("data.engine", "Polars"),
        ("data.query", None),
        ("data.sources", [{"name": "a", "csv": {"path": "a.csv"}}]),
    ),
    (("serving.runtime", "Deployment"), ("serving.traffic.provider", "Istio")),
    (("objective.task", "Regression"), ("evaluation.fairness", [{"by": ["carrier"], "minRatio": 0.8}])),
    (("objective.task", "Regression"), ("data.split", {"stratified": {}})),
    (
        ("objective.task", "MulticlassClassification"),
        ("objective.positive", "MM"),
        ("objective.negative", "CH"),
    ),
    (("training.candidates", GOING_ON), ("data.keys", {"id": "flight_id"})),
    (("training.candidates", GOING_ON), ("training.choose.folds", 5)),
    (("training.candidates", GOING_ON), ("training.balance", {"method": "Undersample"})),
    (("objective.task", "Regression"), ("training.reweigh", {"by": ["carrier"]})),
    (("objective.task", "Regression"), ("training.balance", {"method": "Oversample"})),
    (("training.balance", {"method": "Oversample"}), ("training.reweigh", {"by": ["carrier"]})),
    (("rollout.analyses.0.decide", "NotWorse"), ("rollout.analyses.0.margin", 0)),
    (("rollout.steps.2", {"experiment": {}}), ("serving.traffic.provider", "Istio")),
    (("rollout.steps.2", {"interleave": {"event": "click"}}), ("serving.traffic.provider", "Istio")),
    (("rollout.steps.2", {"bandit": {}}), ("serving.traffic.provider", "Istio")),
    (("rollout.steps.2", BY_REQUEST), ("serving.traffic.provider", "Istio")),
    (
        ("rollout.steps.2", BY_REQUEST),
        ("serving.traffic", {"provider": "Istio", "failures": "Bounded"}),
        ("data.keys.stickyBy", None),
    ),
    (
        ("rollout.steps.1", BY_REQUEST),
        ("rollout.steps.2", BY_REQUEST),
        ("serving.traffic", {"provider": "Istio", "failures": "Bounded"}),
        ("data.keys.stickyBy", None),
    ),
    (
        ("rollout.steps.2", BY_REQUEST),
        ("serving.traffic", {"provider": "Istio", "failures": "Hidden"}),
        ("data.keys.stickyBy", None),
    ),
    (
        ("rollout.steps.2", {"canary": {"weight": 40, "baseline": "FreshCopy"}}),
        ("serving.traffic.provider", "Istio"),
    ),
    (
        ("rollout.steps.1", {"experiment": {"weight": 40, "arms": [{"version": "v7", "weight": 40}]}}),
        ("rollout.steps.2", {"experiment": {"weight": 30, "arms": [{"version": "v8", "weight": 30}]}}),
    ),
    (
        ("rollout.steps.1", {"experiment": {"weight": 30, "runnersUp": 1}}),
        ("rollout.steps.2", {"experiment": {"weight": 30, "arms": [{"version": "v8", "weight": 30}]}}),
    ),
    (
        ("rollout.steps.1", {"experiment": {"weight": 30, "runnersUp": 1}}),
        ("rollout.steps.2", {"bandit": {"runnersUp": 1}}),
    ),
    (
        ("rollout.steps.2", {"experiment": {"weight": 30, "runnersUp": 1}}),
        ("models", [{"name": "one"}, {"name": "two"}]),
        ("combine", {"rule": "Any"}),
    ),
    (
        ("objective.task", "MulticlassClassification"),
        ("objective.value", {"truePositive": 1, "trueNegative": 1}),
    ),
    (
        ("evaluation.metrics", [{"name": "cost", "better": "Lower", "custom": {"factory": "m:f"}}]),
        ("evaluation.online", [{**CLICKS, "name": "cost"}]),
    ),
    (("objective.task", "Ranking"), ("features.3.categorical", {"encode": "Target"})),
    (("training.reweigh", {"by": ["carrier"]}), ("features.3.categorical", {"encode": "Target"})),
    (("objective.task", "Ranking"), ("rollout.steps.2", {"interleave": {"event": "click"}})),
    (
        ("objective.task", "Ranking"),
        ("rollout.steps.2", {"interleave": {"event": "click", "decide": "UnlessWorse"}}),
    ),
    *(
        (("objective.task", "Ranking"), ("rollout.steps.2", {"interleave": {"event": "click", **guarded}}))
        for guarded in (
            {"guardrails": [{"event": "return", "margin": 0.05}, {"event": "report"}]},
            {"guardrails": [{"event": "click"}]},
            {"guardrails": [{"event": "return"}, {"event": "return"}]},
            {"method": "Balanced", "guardrails": []},
            {"method": "Balanced", "guardrails": [{"event": "return"}]},
        )
    ),
    (("data.events", [EVENTS]), ("data.keys", {"id": "flight_id"})),
    (("models", [{"name": "one", "weight": 1}, {"name": "two"}]), ("combine", {"rule": "Weighted"})),
    (("models", [{"name": "one", "weight": 1}, {"name": "two"}]), ("combine", {"rule": "Mean"})),
)
"""Changes that only together break a rule."""


def changed(changes: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes:
        *parts, last = path.split(".")
        node = document["spec"]
        for part in parts:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if value is None:
            node.pop(last, None)
        else:
            node[int(last) if isinstance(node, list) else last] = copy.deepcopy(value)
    return document


def parts(node: Any, path: str) -> Iterator[Any]:
    """Those of the document that a path of the schema names."""
    head, _, rest = path.partition(".")
    if not head:
        yield node
        return
    below = node.get(head.removesuffix("[]"))
    if below is None:
        return
    for one in below if head.endswith("[]") else [below]:
        yield from parts(one, rest)


def context_of(part: Any) -> cel.Context:
    context = cel.Context()
    context.add_function("isSorted", lambda items: list(items) == sorted(items))
    context.add_function("sum", lambda items: sum(items))
    context.update({"self": part})
    return context


@dataclass(frozen=True)
class Seen:
    """A document as either language sees it, whatever the rule."""

    spec: dict[str, Any]
    """With the defaults of the schema, as an API server stores it."""
    system: MLSystem | None
    """None: a part breaks its own rules."""
    words: str
    """For all of those; empty where there is a system."""
    _contexts: dict[str, list[cel.Context]] = field(default_factory=dict)

    def contexts(self, path: str) -> list[cel.Context]:
        """One for each part that the path names; making them is dear, and many rules ask about the same parts."""
        if path not in self._contexts:
            self._contexts[path] = [context_of(part) for part in parts(self.spec, path)]
        return self._contexts[path]

    @classmethod
    def of(cls, document: dict[str, Any]) -> Seen:
        spec = filled(document["spec"], SCHEMA)
        try:
            told = MLSystem.model_validate(document, by_alias=True, by_name=False, context=WITHOUT_RULES)
        except (ValidationError, InvalidSpecError) as error:
            return cls(spec, None, str(error))
        return cls(spec, told, "")


compiled = cache(cel.compile)


@cache
def seen_changes() -> tuple[Seen, ...]:
    """What becomes of the example by each change; the same for each rule."""
    return tuple(Seen.of(changed(changes)) for changes in (*((one,) for one in VALUES), *TOGETHER))


def holds_in_cel(one: Rule, seen: Seen) -> bool:
    # All of them are evaluated, so that none fails unseen.
    found = [compiled(text.says).execute(context) for text in one.cel for context in seen.contexts(text.path)]
    return all(found)


def within(part: str, whole: str) -> bool:
    return part == whole or part.startswith(f"{whole}.")


def assert_agreement(one: Rule, seen: Seen) -> bool:
    """Whether the rule is broken; fails where Python and CEL differ."""
    in_cel = holds_in_cel(one, seen)
    if one in PART_RULES:
        # A part tells the first rule that it breaks, and none if a part of it breaks one: others may be broken too.
        told_first = [
            other
            for other in PART_RULES
            if any(within(c.path, own.path) for c in other.cel for own in one.cel)
        ]
        assert in_cel or any(other.message in seen.words for other in told_first)
        assert not in_cel or one.message not in seen.words
    elif seen.system is not None:
        assert in_cel == (not list(one.findings(seen.system.spec)))
    return not in_cel


@pytest.mark.parametrize("rule", IN_CEL)
def test_a_rule_is_broken_in_both_languages_by_some_change_and_kept_by_the_example(rule: Rule) -> None:
    assert not assert_agreement(rule, Seen.of(DOCUMENT))
    # All of them, so that the languages agree on each.
    assert sum([assert_agreement(rule, seen) for seen in seen_changes()]) > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(VALUES), min_size=2, max_size=6, unique_by=lambda change: change[0]))
@example(changes=[("objective.value", {"right": 1}), ("training.choose.metric", "value")])
@example(changes=[("features.2.name", "late"), ("objective.target", "delayed")])
@example(changes=[("objective.positive", "MM"), ("objective.value", {"truePositive": 5, "falsePositive": 1})])
def test_python_and_cel_agree_on_any_mix_of_changes(changes: list[tuple[str, Any]]) -> None:
    try:
        document = changed(tuple(changes))
    except (KeyError, IndexError, TypeError):
        return
    seen = Seen.of(document)
    for one in (*RULES, *PART_RULES):
        if one.cel:
            assert_agreement(one, seen)


def test_an_api_server_takes_an_own_metric_where_trainings_are_judged() -> None:
    own = ("evaluation.metrics", [{"name": "cost", "better": "Lower", "custom": {"factory": "m:f"}}])
    named = Seen.of(changed((own, ("training.choose.metric", "cost"), ("evaluation.gates.0.metric", "cost"))))
    assert not any(assert_agreement(one, named) for one in RULES if one.cel)


def test_an_api_server_takes_value_wherever_a_metric_stands_once_the_objective_states_it() -> None:
    worth = ("objective.value", {"truePositive": 5, "falsePositive": -1})
    places = (
        "training.choose.metric",
        "evaluation.gates.0.metric",
        "monitoring.quality.metric",
        "rollout.analyses.0.metric",
    )
    stated = Seen.of(changed((worth, *((place, "value") for place in places))))
    assert not any(assert_agreement(one, stated) for one in RULES if one.cel)
    unstated = Seen.of(changed(tuple((place, "value") for place in places)))
    assert sum(assert_agreement(one, unstated) for one in RULES if one.cel) == 3
    for place in ("evaluation.metrics", "evaluation.online"):
        own = {"name": "value", "better": "Lower", "custom": {"factory": "m:f"}}
        taken = changed((worth, (place, [own if place.endswith("metrics") else {**CLICKS, "name": "value"}])))
        both = Seen.of(taken)
        assert any(assert_agreement(one, both) for one in RULES if one.cel)


def test_a_rule_without_cel_says_why() -> None:
    assert all(one.cel or len(one.why_no_cel) > 20 for one in (*RULES, *PART_RULES))
    with pytest.raises(ValueError, match="give CEL, or why there is none"):
        part_rule("is wrong; mend it", bool)
    with pytest.raises(ValueError, match="give CEL, or why there is none"):
        rule_of("is wrong; mend it", Cel("true"), why_no_cel="no need")(lambda spec: [])
