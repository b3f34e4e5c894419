# ruff: noqa: E501 - tables of cases are read line by line
"""A file is a system, or the list of all its mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import load, parse
from capstan.spec.fields import nearest

Broken = Callable[[str, str], list[Mistake]]
LineOf = Callable[[str], int]
FLIGHTS = Path(__file__).parent / "flight_delays.yaml"


def test_the_flights_file_is_read_into_values_with_units() -> None:
    system = load(FLIGHTS)
    spec = system.spec
    assert system.metadata.name == "flight-delays"
    assert system.base_dir == FLIGHTS.parent
    assert spec.data.keys.sticky_by == "tailnum"
    assert spec.data.label.maximum_delay == timedelta(days=3)
    assert spec.requirements.latency_p99 == timedelta(milliseconds=50)
    assert spec.requirements.model_size == 50 * 2**20
    assert spec.rollout.steps[0].shadow is not None
    assert spec.rollout.steps[0].shadow.min_blocks == 7
    assert spec.rollout.steps[1].kind == "canary"
    assert spec.monitoring.quality.min_coverage == 0.8
    assert spec.replay is not None
    assert (spec.replay.start, spec.replay.sample) == (date(2013, 2, 1), 0.36)
    assert spec.training.resources.requests.cpu == 1.0
    assert spec.data.checks[1].allowed == ("AA", "UA", "NO")


def test_a_features_column_is_its_name_unless_stated() -> None:
    assert load(FLIGHTS).spec.features[1].column == "dep_hour"


def test_a_system_travels_to_child_processes_as_json() -> None:
    system = load(FLIGHTS)
    dumped = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert dumped["apiVersion"] == "capstan.dev/v1alpha1"
    assert dumped["spec"]["rollout"]["steps"][0]["shadow"]["deadline"] == "21d"
    assert parse(json.dumps(dumped).encode(), base_dir=system.base_dir) == system
    assert parse(dumped, base_dir=system.base_dir) == system


def test_the_smallest_file_has_sound_defaults() -> None:
    system = parse(
        """
        apiVersion: capstan.dev/v1alpha1
        kind: MLSystem
        metadata: {name: small}
        spec:
          objective: {task: BinaryClassification, target: late}
          data:
            sources: [{name: flights, csv: {path: flights.csv}}]
            keys: {id: id, time: at}
            label: {column: late, availableAt: known_at}
          features: [{name: distance, numeric: {}}]
        """,
        base_dir=Path("/somewhere"),
    )
    assert [candidate.kind for candidate in system.spec.training.candidates] == [
        "most_frequent",
        "logistic_regression",
        "gradient_boosting",
    ]
    assert [step.kind for step in system.spec.rollout.steps] == ["shadow", "canary", "canary"]
    assert system.spec.rollout.steps[0].chosen.analyses == ("quality",)
    assert system.spec.replay is None


MISTAKES = {
    "unknown key": ("business:", "busines:", "objective.busines", "did you mean business?"),
    "snake case": ("minRequests: 100}", "min_requests: 100}", "rollout.steps[1].canary.min_requests", "did you mean minRequests?"),
    "batch by no cron line": ("  deletionPolicy:", "  batch: {schedule: daily, output: p}\n  deletionPolicy:", "batch.schedule", "is no cron line"),
    "batch of no zone": ("  deletionPolicy:", "  batch: {schedule: 0 3 * * *, timeZone: Mars, output: p}\n  deletionPolicy:", "batch.timeZone", "is not an IANA time zone"),
    "batch to nowhere": ("  deletionPolicy:", "  batch: {schedule: 0 3 * * *}\n  deletionPolicy:", "batch.output", "is required"),
    "batch of no table": ("  deletionPolicy:", "  batch: {schedule: 0 3 * * *, output: p, input: {source: nowhere}}\n  deletionPolicy:", "batch.input.source", "names no table of data.sources"),
    "batch of no kind of file": ("  deletionPolicy:", "  batch: {schedule: 0 3 * * *, output: p, input: {path: rows.xlsx}}\n  deletionPolicy:", "batch.input.path", "is none of the kinds of files"),
    "batch to an address": ("  deletionPolicy:", "  batch: {schedule: 0 3 * * *, output: 's3://a/b'}\n  deletionPolicy:", "batch.output", "batches are files in this version; mount it"),
    "unknown top key": ("  deletionPolicy:", "  deletPolicy:", "deletPolicy", "did you mean deletionPolicy?"),
    "missing": ("column: late, availableAt", "availableAt", "data.label.column", "is required; add `column: "),
    "choice": ("scale: Log", "scale: log", "features[0].numeric.scale", "did you mean Log? (in 'distance')"),
    "missing share": ("name: distance, ", "name: distance, maxMissing: 0.6, ", "features[0].maxMissing", "such as 60%"),
    "task": ("task: BinaryClassification", "task: Forecasting", "objective.task", "tasks that run today: BinaryClassification"),
    "encoding": ("encode: OneHot", "encode: Embedding", "features[3].categorical.encode", "run today: Integer, OneHot, Hashing, Target"),
    "later": ("    window: {type: Expanding}", "    ensemble: {}", "training.ensemble", "not in this version"),
    "provider": ("provider: Envoy", "provider: GatewayApi", "serving.traffic.provider", "run today: Envoy, Istio"),
    "runner": ("    window: {type: Expanding}", "    runner: KFP", "training.runner", "is not one of Automatic, Job, KubeflowPipelines"),
    "variable": ("replicas: {min: 1, max: 3}", "environment: [{name: 2FAST, value: a}]", "serving.environment[0].name", "not beginning with a digit"),
    "variable of two values": ("replicas: {min: 1, max: 3}", "environment: [{name: A, value: a, valueFrom: {secretKeyRef: {name: s, key: k}}}]", "serving.environment[0]", "keep exactly one of value, valueFrom"),
    "variable as a number": ("replicas: {min: 1, max: 3}", "environment: [{name: A, value: 1}]", "serving.environment[0].value", 'put it in quotes: "1"'),
    "node label": ("replicas: {min: 1, max: 3}", "nodeSelector: {gpu type: a}", "serving.nodeSelector", "is no label of a node"),
    "node label of two dots": ("replicas: {min: 1, max: 3}", "nodeSelector: {a..b/gpu: a}", "serving.nodeSelector", "is no label of a node"),
    "key that is a way up": ("replicas: {min: 1, max: 3}", "environment: [{name: A, valueFrom: {secretKeyRef: {name: s, key: ..}}}]", "serving.environment[0].valueFrom.secretKeyRef.key", "not two at its beginning"),
    "no load": ("replicas: {min: 1, max: 3}", "targetCpu: 0%", "serving.targetCpu", "is no load"),
    "no room": ("window: {duration: 7d, minRows: 1000}", "volume: {size: 0}", "monitoring.volume.size", "is no size"),
    "claim and class": ('    timeZone: America/New_York', '    volume: {claim: mine, storageClass: fast}', "data.volume", "keep claim, or size and storageClass"),
    "claim": ('    timeZone: America/New_York', '    volume: {claim: My_Files}', "data.volume.claim", "lower-case letters, digits, dashes and dots"),
    "claim of two dots": ('    timeZone: America/New_York', '    volume: {claim: my..files}', "data.volume.claim", "on both sides of each dot"),
    "name of a digit": ("name: flight-delays", "name: 7churn", "metadata.name", "'7churn' is not allowed here; write lower-case letters, digits and dashes, beginning with a letter"),
    "too large": ("weight: 25", "weight: 140", "rollout.steps[1].canary.weight", "140 is above 99"),
    "whole number": ("weight: 25", "weight: 25.5", "rollout.steps[1].canary.weight", "25.5 is not a whole number"),
    "number as text": ("l2: 1", 'l2: "1"', "training.candidates[1].logisticRegression.l2", "without quotes"),
    "text as number": ("column: distance", "column: 5", "data.checks[0].column", 'put it in quotes: "5"'),
    "boolean as a value": ("allowed: [AA,", "allowed: [true, AA,", "data.checks[1].allowed[0]", "put it in quotes"),
    "number as a value": ("allowed: [AA,", "allowed: [1.5, AA,", "data.checks[1].allowed[0]", "1.5 is neither a text nor a whole number; put it in quotes"),
    "boolean": ("refit: true", "refit: 1", "data.split.refit", "1 is not true or false"),
    "duration": ("deadline: 21d", "deadline: 3 weeks", "rollout.steps[0].shadow.deadline", "such as 30s, 10m, 12h or 7d"),
    "zero duration": ("deadline: 21d", "deadline: 0d", "rollout.steps[0].shadow.deadline", "longer than 0s"),
    "share": ("minCoverage: 80%", "minCoverage: 0.8", "monitoring.quality.minCoverage", "such as 80%"),
    "size": ("modelSize: 50Mi", "modelSize: 50MB", "requirements.modelSize", "such as 512Ki, 50Mi or 1Gi"),
    "no row a second": ("modelSize: 50Mi", "modelSize: 50Mi, throughput: 0", "requirements.throughput", "write a larger number"),
    "cost of nothing": ("modelSize: 50Mi", "modelSize: 50Mi, trainingCost: {most: 0, perHour: 1}", "requirements.trainingCost.most", "write a larger number"),
    "date": ("end: 2014-01-01", "end: 2014-02-30", "replay.end", "not a day of the calendar"),
    "backwards": ("end: 2014-01-01", "end: 2013-01-01", "replay", "swap them"),
    "object storage by another name": ("path: data/flights.csv", "path: gcs://bucket/flights.csv", "data.sources[0].csv.path", "'gcs://bucket/flights.csv' is an address that is not read; write gs://BUCKET/PATH"),
    "object storage of Azure": ("path: data/flights.csv", "path: abfs://box/flights.csv", "data.sources[0].csv.path", "'abfs://box/flights.csv' is an address that is not read; write az://CONTAINER/PATH"),
    "no object storage": ("path: data/flights.csv", "path: ftp://box/flights.csv", "data.sources[0].csv.path", "'ftp://box/flights.csv' is an address that is not read; write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, or copy"),
    "table of two places": ("csv: {path: data/flights.csv, timeColumn: scheduled_departure}", "iceberg: {path: data/flights, table: shop.flights}", "data.sources[0].iceberg", "an Iceberg table has a path, or a table with catalogFrom, which says where its catalog is; write one of both"),
    "keys in an address": ("path: data/flights.csv", "path: s3://key:hunter2@bucket/flights.csv", "data.sources[0].csv.path", "names no file in a bucket; write s3://BUCKET/PATH, without keys"),
    "bucket alone": ("path: data/flights.csv", "path: s3://bucket", "data.sources[0].csv.path", "'s3://bucket' names no file in a bucket"),
    "credentials of a file": ("path: data/flights.csv", "path: data/flights.csv, credentialsFrom: {secretKeyRef: {name: lake, key: keys}}", "data.sources[0].csv", "credentialsFrom is of an object storage, and path is no address of one; write s3://BUCKET/PATH, or drop it"),
    "zone": ("America/New_York", "America/Nowhere", "data.timeZone", "not an IANA time zone"),
    "name": ("name: flight-delays", "name: Flight_Delays", "metadata.name", "lower-case letters, digits and dashes"),
    "union of two": ("mostFrequent: {}", "mostFrequent: {}, custom: {factory: 'a:b'}", "training.candidates[0]", "keep exactly one"),
    "union of none": ("{name: baseline, mostFrequent: {}}", "{name: baseline}", "training.candidates[0]", "has none of"),
    "null union": ("mostFrequent: {}", "mostFrequent: ~", "training.candidates[0]", "such as mostFrequent: {}"),
    "factory": ("mymodels:make", "mymodels.make", "training.candidates[3].custom.factory", "write module:name"),
    "secret": ("secretKeyRef: {name: planes-db, key: url}", "secretKeyRef: planes-db/url", "data.sources[2].database.urlFrom.secretKeyRef", "is not a map"),
    "secret in clear": ("urlFrom: {secretKeyRef: {name: planes-db, key: url}}", "url: postgres://me:pw@db", "data.sources[2].database.url", "did you mean urlFrom?"),
    "list": ("slices: [carrier, origin]", "slices: carrier", "evaluation.slices", "write [carrier]"),
    "map": ("window: {duration: 7d, minRows: 1000}", "window: 7d", "monitoring.window", "is not a map"),
    "not finite": ("margin: 0.01}", "margin: .nan}", "rollout.analyses[0].margin", "not a finite number"),
    "kind": ("kind: MLSystem", "kind: MLSytem", "kind", "is not MLSystem, the only value"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_names_field_line_rule_and_way_out(
    mistakes_after: Broken, line_of: LineOf, old: str, new: str, path: str, words: str
) -> None:
    found = [mistake for mistake in mistakes_after(old, new) if mistake.path == path]
    assert found, mistakes_after(old, new)
    assert words in found[0].message
    # A missing key is told at the map it belongs into.
    assert found[0].line == line_of(old)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("logisticRegresion", "logisticRegression"),
        ("logistic_regression", "logisticRegression"),
        ("gradientBoost", "gradientBoosting"),
        ("linearRegression", None),
        ("gradientDescent", None),
        ("randomForest", None),
        ("xgboost", None),
    ],
)
def test_another_systems_word_is_not_taken_for_a_slip(word: str, meant: str | None) -> None:
    known = ["name", "mostFrequent", "logisticRegression", "gradientBoosting", "custom"]

    assert nearest(word, known) == meant


def test_one_mistake_gives_one_message(mistakes_after: Broken) -> None:
    for old, new, path, _ in MISTAKES.values():
        assert [mistake.path for mistake in mistakes_after(old, new)] == [path]


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file(flights: str) -> None:
    broken = (
        flights.replace("business:", "busines:")
        .replace("maximumDelay: 3d", "maximumDelay: soon")
        .replace("{name: temp,", "{name: late,")
        .replace("weight: 50", "weight: 20")
        .replace("leaves", "leafs")
        .replace("metric: logLoss", "metric: rocAuc")
        .replace("trials: 5", "trials: 0")
        .replace("name: own", "name: trees")
        .replace("cooldown: 14d", "cooldown: 60d")
    )
    with pytest.raises(InvalidSpecError) as raised:
        parse(broken, base_dir=FLIGHTS.parent)
    assert [mistake.path for mistake in raised.value.mistakes] == [
        "objective.busines",
        "data.label.maximumDelay",
        "features[2].name",
        "training.candidates[2].gradientBoosting.tune.trials",
        "training.candidates[3].name",
        "rollout.steps[2].canary.weight",
        "rollout.analyses[0].metric",
        "retraining.cooldown",
    ]
    lines = [mistake.line for mistake in raised.value.mistakes]
    assert lines == sorted(line for line in lines if line is not None)


def test_rules_between_fields_point_at_the_right_item_behind_a_broken_one(
    mistakes_after: Broken, line_of: LineOf
) -> None:
    first = line_of("name: distance,")
    found = mistakes_after(
        "- {name: distance, numeric: {scale: Log}}\n",
        "- {name: 5, numeric: {}}\n    - {name: late, numeric: {}}\n",
    )
    assert [(mistake.path, mistake.line) for mistake in found] == [
        ("features[0].name", first),
        ("features[1].name", first + 1),
    ]


def test_a_broken_required_part_does_not_hide_broken_rules_elsewhere(mistakes_after: Broken) -> None:
    found = mistakes_after(
        "keys: {id: flight_id, time: scheduled_departure, stickyBy: tailnum}", "keys: none"
    )
    assert [mistake.path for mistake in found] == ["data.keys"]
    found = mistakes_after(
        "keys: {id: flight_id, time: scheduled_departure, stickyBy: tailnum}\n    label: {column: late,",
        "keys: none\n    label: {column: dest,",
    )
    assert {mistake.path for mistake in found} == {"data.keys", "objective.target", "features[3].name"}


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"nowhere\.yaml can't be read: No such file"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidSpecError, match="Is a directory"):
        load(tmp_path)


def test_reading_json_does_not_import_a_yaml_reader() -> None:
    """Serving processes read `spec.json` when they start."""
    code = (
        "import json, sys; from pathlib import Path; from capstan.spec import parse; "
        "parse(Path(sys.argv[1]).read_bytes(), base_dir=Path()); assert 'ruamel.yaml' not in sys.modules"
    )
    system = load(FLIGHTS)
    dumped = json.dumps(system.model_dump(mode="json", by_alias=True, exclude_unset=True))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(dumped)
        file.flush()
        subprocess.run([sys.executable, "-c", code, file.name], check=True, timeout=60)


def test_a_wrong_key_never_makes_a_list_look_empty(flights: str) -> None:
    for right, wrong in (
        ("numeric:", "numerc:"),
        ("- {name:", "- {nme:"),
        ("csv:", "cvs:"),
        ("logisticRegression:", "logisticRegresion:"),
    ):
        written = flights.replace(right, wrong)
        assert written != flights, right
        with pytest.raises(InvalidSpecError) as raised:
            parse(written, base_dir=Path())
        assert not [mistake for mistake in raised.value.mistakes if "0 items" in mistake.message]


def test_an_empty_list_is_still_told_as_empty(flights: str) -> None:
    system = parse(flights, base_dir=Path())
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["features"] = []
    with pytest.raises(InvalidSpecError, match="features: has 0 items; write 1 or more"):
        parse(document, base_dir=Path())
