"""What a process of the system asks of a cluster: nodes, environment, volumes."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import OneOf, SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import Quantity

VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DNS_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
GIB = 2**30
OWN_VARIABLES = ("CAPSTAN_", "BENTOML_")
"""How the names begin that Capstan sets itself."""

_LABEL_PREFIX = r"(?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
_LABEL_KEY = re.compile(rf"({_LABEL_PREFIX})?[A-Za-z0-9]([-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


def _labels(wanted: dict[str, str]) -> dict[str, str]:
    for key, value in wanted.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise PydanticCustomError(
                "node_label",
                "{label} is no label of a node; write one such as kubernetes.io/arch: arm64",
                {"label": repr(f"{key}: {value}")},
            )
    return wanted


NodeSelector = Annotated[dict[str, str], AfterValidator(_labels)]
"""Labels that a node must have."""


def _some_room(size: int) -> int:
    if not size:
        raise ValueError("is no size; write one such as 1Gi")
    return size


VolumeSize = Annotated[Quantity, AfterValidator(_some_room)]
ClaimName = Annotated[str, StringConstraints(pattern=DNS_NAME_PATTERN, max_length=253)]


def _size_of_a_made_claim(earlier: dict[str, Any]) -> int | None:
    return None if earlier.get("claim") else GIB


def _size_for_batches(earlier: dict[str, Any]) -> int | None:
    return None if earlier.get("claim") else 10 * GIB


class EnvironmentVariable(OneOf):
    """One variable that a process is started with in a cluster."""

    members: ClassVar[tuple[str, ...]] = ("value", "value_from")

    name: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, max_length=253)] = Field(
        description="Name of the variable; those that begin with CAPSTAN_ or BENTOML_ are Capstan's own.",
        examples=["HTTPS_PROXY"],
    )
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = Field(
        None,
        description="The value. Everybody who may read this file reads it.",
        examples=["http://proxy:3128"],
    )
    value_from: ValueFrom | None = Field(
        None,
        description="Secret that holds the value.",
        examples=[{"secretKeyRef": {"name": "planes-db", "key": "password"}}],
    )


VOLUME_RULES = (
    part_rule(
        "has a claim of yours and says how one is made; keep claim, or size and storageClass",
        lambda volume: volume.claim is None or (volume.size is None and volume.storage_class is None),
        Cel("!has(self.claim) || !(has(self.size) || has(self.storageClass))", "data.volume", "claim"),
        Cel("!has(self.claim) || !(has(self.size) || has(self.storageClass))", "batch.volume", "claim"),
    ),
)


class DataVolume(SpecModel):
    """Where the files of the sources and factories lie in a cluster."""

    claim: ClaimName | None = Field(
        None,
        description="A claim of yours that holds the files; without it one is made, and `capstan push` fills it.",
        examples=["flights-data"],
    )
    size: VolumeSize | None = Field(
        default_factory=_size_of_a_made_claim,
        description="Size of the claim that is made, 1Gi if left out; not beside `claim`.",
        examples=["1Gi"],
    )
    storage_class: ClaimName | None = Field(
        None,
        description="Storage class of the claim that is made, the cluster's own if left out; not beside `claim`.",
        examples=["standard"],
    )

    @model_validator(mode="after")
    def _yours_or_made(self) -> DataVolume:
        return require(self, VOLUME_RULES)


class BatchVolume(DataVolume):
    """Where the folders of batches lie in a cluster."""

    claim: ClaimName | None = Field(
        None,
        description="A claim of yours that takes the folders; without it one is made, named SYSTEM-predictions.",
        examples=["flights-predictions"],
    )
    size: VolumeSize | None = Field(
        default_factory=_size_for_batches,
        description="Size of the claim that is made, 10Gi if left out; not beside `claim`.",
        examples=["10Gi"],
    )


class RecordVolume(SpecModel):
    """Where payloads, labels and the monitor's state are kept in a cluster."""

    size: VolumeSize = Field(10 * GIB, description="Size of the claim that is made.", examples=["10Gi"])
    storage_class: ClaimName | None = Field(
        None,
        description="Storage class of the claim that is made; without it the cluster's own.",
        examples=["standard"],
    )
