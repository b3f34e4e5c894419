"""Every name that is made from a system's name keeps the rule of its kind, whatever the grammar lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bentoml import Tag
from cluster.seldon_stand_in import made_of, virtual_service
from mlflow.utils.validation import _validate_model_name
from ruamel.yaml import YAML

from capstan.adapters.kubernetes.serving import Artifact
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.alerting import alerting, rule_key
from capstan.cluster.objects.batch import batch_objects, batches
from capstan.cluster.objects.model import model
from capstan.cluster.objects.seldon import seldon
from capstan.cluster.objects.training import run_objects
from capstan.cluster.render import fixed_objects
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic.istio import shared_predictor
from capstan.domain.batch_calendar import BatchOrder, Stretch
from capstan.domain.training import training_run_name
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.errors import InvalidSpecError
from capstan.ports.kube import Object
from capstan.spec import MLSystem, load, parse
from capstan.spec.grammar import LONGEST_SYSTEM_NAME

EXAMPLE = Path(__file__).parents[3] / "examples/flight-delays/system.yaml"
SHAPES = {
    "one letter": "a",
    "one that is long": "a" * LONGEST_SYSTEM_NAME,
    "dashes": "a--b-" + "c" * (LONGEST_SYSTEM_NAME - 5),
    "digits behind the letter": "a" + "7" * (LONGEST_SYSTEM_NAME - 1),
}
NAMESPACE = "n" * 63
V999 = VersionName("v999999")
ARTIFACT = Artifact("toy:0123", Digest(f"sha256:{'ab' * 32}"))
SETTINGS = (
    ClusterSettings(),
    ClusterSettings(artifacts="s3://capstan/artifacts", artifact_keys=Path("/keys")),
)

LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SERVICE = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""DNS-1035, RFC 1123 below: what the API server says of names."""
SUBDOMAIN = rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*"
NAME_RULES = {"Service": SERVICE, "Job": LABEL, "SeldonDeployment": SERVICE}
LABEL_VALUE = r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?"
LABEL_KEY = rf"({SUBDOMAIN[len('(?=.{1,253}$)') :]}/)?[A-Za-z0-9]([-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?"
PORT = r"(?=.{1,15}$)[a-z0-9]+(-[a-z0-9]+)*"
DATA_KEY = r"(?!\.\.)[-._a-zA-Z0-9]{1,253}"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


BATCH = {"schedule": "0 3 * * *", "output": "nightly"}
NIGHT = datetime(2026, 3, 1, 3, tzinfo=UTC)
ORDER = BatchOrder(
    Stretch(NIGHT, NIGHT.replace(day=2)),
    ModelVersion(V999, ARTIFACT.digest, RunName("run"), "toy:0123", NIGHT),
)


def named(name: str, **more: object) -> MLSystem:
    document = load(EXAMPLE).model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["metadata"]["name"] = name
    document["spec"] |= more
    return parse(document, base_dir=EXAMPLE.parent)


def objects_of(name: str) -> Iterator[Object]:
    """All that a system of this name consists of, Seldon's part included."""
    system, batched, owner = named(name), named(name, batch=BATCH), Owner(name, "uid-1")
    names = SystemNames(NAMESPACE, SystemName(name), tokens_mark="0123abcd", keys_mark="0123abcd")
    run = training_run_name(SystemName(name), V999, 7)
    for settings in SETTINGS:
        keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
        yield from fixed_objects(system, names, settings, owner, {"internal": "a", "feedback": "b"}, keys)
        yield from alerting(system, names, settings, owner)
        yield from run_objects(system, names, settings, owner, run, {"request.json": "{}"})
        yield from batches(batched, names, settings, owner)
        yield from batch_objects(batched, names, settings, owner, ORDER, {"order.json": "{}"})
        yield from model(system, names, settings, owner, V999, ARTIFACT)
        for document in seldon(system, names, settings, owner, V999, ARTIFACT):
            yield from (document, *made_of(_stored(document)))
        shared = shared_predictor(system, names, settings, V999, ARTIFACT, "token", shadow=False)
        whole = {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": names.metadata(name, names.labels("model"), owner),
            "spec": {"predictors": [shared]},
        }
        yield from (whole, *made_of(_stored(whole)), virtual_service(_stored(whole)))


def _stored(document: Object) -> Object:
    return {**document, "metadata": {**document["metadata"], "uid": "uid-2"}}


def wrong_names(document: Object) -> list[str]:
    """What is in the document and the API server would refuse."""
    kind, found = document["kind"], []

    def hold(what: str, rule: str, text: str) -> None:
        if not re.fullmatch(rule, text):
            found.append(f"{kind} {document['metadata']['name']}: {what} {text!r}")

    hold("name", NAME_RULES.get(kind, SUBDOMAIN), document["metadata"]["name"])
    for key in document.get("data") or {}:
        hold("key", DATA_KEY, key)
    for labels in _below(document, "labels", "matchLabels", "selector"):
        for key, value in labels.items():
            if isinstance(value, str):
                hold("label", LABEL_KEY, key)
                hold("value of label", LABEL_VALUE, value)
    for containers in _below(document, "containers", "initContainers"):
        for container in containers:
            hold("container", LABEL, container["name"])
            for port in container.get("ports", ()):
                hold("port", PORT, port["name"])
            for variable in container.get("env", ()):
                hold("variable", VARIABLE, variable["name"])
    for volumes in _below(document, "volumes"):
        for volume in volumes:
            hold("volume", LABEL, volume["name"])
    for predictors in _below(document, "predictors"):
        for predictor in predictors:
            hold("predictor", SERVICE, predictor["name"])
    return found


def _below(node: Any, *keys: str) -> Iterator[Any]:
    """The values of these keys, wherever they stand."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in keys and isinstance(value, dict | list):
                yield value
            yield from _below(value, *keys)
    elif isinstance(node, list):
        for item in node:
            yield from _below(item, *keys)


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES.keys())
def test_every_derived_name_is_one_that_the_api_server_takes(name: str) -> None:
    documents = list(objects_of(name))
    kinds = {document["kind"] for document in documents}
    assert {"Service", "Deployment", "Job", "SeldonDeployment", "VirtualService", "Secret"} <= kinds
    assert [wrong for document in documents for wrong in wrong_names(document)] == []


@pytest.mark.parametrize("name", SHAPES.values(), ids=SHAPES.keys())
def test_every_derived_name_is_one_that_bentoml_and_mlflow_take(name: str) -> None:
    names = SystemNames(NAMESPACE, SystemName(name))
    assert str(Tag(name, "0123456789abcdef")) == f"{name}:0123456789abcdef"
    _validate_model_name(names.registry_model)
    assert len(names.registry_model) <= 256
    assert re.fullmatch(DATA_KEY, rule_key(names))


REFUSED = {
    "a digit first": ("7churn", "beginning with a letter"),
    "a digit alone": ("7", "beginning with a letter"),
    "a dash first": ("-churn", "beginning with a letter"),
    "a dash last": ("churn-", "ending with a letter or digit"),
    "capitals": ("Churn", "lower-case letters"),
    "a dot": ("churn.eu", "lower-case letters"),
    "an underscore": ("churn_eu", "lower-case letters"),
    "too long": ("a" * (LONGEST_SYSTEM_NAME + 1), "longer than 40 characters"),
}


@pytest.mark.parametrize(("name", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_name_that_no_service_could_have_is_refused_with_its_rule(name: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words) as raised:
        named(name)
    [mistake] = raised.value.mistakes
    assert mistake.path == "metadata.name"
    assert name in mistake.message


def test_the_api_server_says_the_rule_of_names_in_the_same_words() -> None:
    file = Path(__file__).parents[3] / "charts/capstan/crds/mlsystems.yaml"
    found = YAML(typ="safe").load(file.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    [rule] = found["x-kubernetes-validations"]
    assert "beginning with a letter" in rule["message"]
    assert "pattern" not in found["properties"]["metadata"]["properties"]["name"], (
        "it is told as a bare regex"
    )
    pattern = re.search(r"matches\('(.*)'\)", rule["rule"])
    assert pattern is not None
    for name, _ in list(REFUSED.values())[:-1]:
        assert re.search(pattern[1], name) is None, name
    for name in SHAPES.values():
        assert re.search(pattern[1], name), name


def test_a_rule_that_a_digit_breaks_is_noticed_here() -> None:
    """The check itself: the name that public reports gave."""
    service = {"kind": "Service", "metadata": {"name": "7churn-gateway"}}
    assert wrong_names(service) == ["Service 7churn-gateway: name '7churn-gateway'"]
