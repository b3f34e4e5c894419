"""Step 7, first half: how predictions are served."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.cluster import EnvironmentVariable, NodeSelector
from capstan.spec.grammar import SpecModel
from capstan.spec.providers import DEFAULT, PROVIDERS, RESERVED, Provider
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.training import Resources
from capstan.spec.units import Share, Whole


def _provides_today(value: Any) -> Any:
    if value in RESERVED:
        raise PydanticCustomError(
            "not_in_this_version", f"is not in this version; providers that run today: {', '.join(PROVIDERS)}"
        )
    return value


def _some_load(share: float) -> float:
    if not share:
        raise ValueError("is no load; write a share such as 80%")
    return share


REPLICAS_RULES = (
    part_rule(
        "min is above max; raise max or lower min",
        lambda replicas: replicas.min <= replicas.max,
        Cel("!has(self.max) || self.min <= self.max", "serving.replicas", "min"),
    ),
)


class Replicas(SpecModel):
    """How many copies of each version run in a cluster; on one machine always one."""

    min: Whole = Field(1, ge=1, le=1000, description="Copies at least.", examples=[1])
    max: Whole = Field(
        default_factory=lambda earlier: earlier["min"],
        ge=1,
        le=1000,
        description="Copies at most; the load decides how many there are. Without it as many as `min`.",
        examples=[3],
    )

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        return require(self, REPLICAS_RULES)


class ServingTraffic(SpecModel):
    """What splits and mirrors requests."""

    provider: Annotated[Provider, BeforeValidator(_provides_today)] = Field(
        DEFAULT,
        description=f"Proxy in front of the versions. {'; '.join(one.does for one in PROVIDERS.values())}.",
        examples=["Envoy"],
    )
    failures: Literal["Hidden", "Bounded"] = Field(
        "Hidden",
        description=(
            "What users see of a canary that fails. Hidden: nothing, since the champion answers in its place; only "
            "Envoy can. Bounded: at most the canary's share of the requests fails, until it is rolled back."
        ),
        examples=["Hidden"],
    )


class Serving(SpecModel):
    """Runtime, replicas and traffic."""

    runtime: Literal["Automatic", "Seldon", "Deployment"] = Field(
        "Automatic",
        description=(
            "What runs a version in a cluster: Seldon where it is installed, else plain Deployments. "
            "On one machine it is always a process."
        ),
        examples=["Automatic"],
    )
    replicas: Replicas = Field(
        default_factory=Replicas,
        description="How many copies of each version run in a cluster.",
        examples=[{"min": 1, "max": 3}],
    )
    traffic: ServingTraffic = Field(
        default_factory=ServingTraffic,
        description="What splits and mirrors requests.",
        examples=[{"provider": "Envoy"}],
    )
    resources: Resources = Field(
        default_factory=Resources,
        description="What a serving process asks for in a cluster.",
        examples=[{"requests": {"cpu": "500m", "memory": "512Mi"}}],
    )
    target_cpu: Annotated[Share, AfterValidator(_some_load)] = Field(
        0.8,
        description=(
            "Share of the CPU that copies ask for which they should use. Above it copies are added, below "
            "it they are taken away, between `replicas.min` and `replicas.max`. Not used on one machine."
        ),
        examples=["80%"],
    )
    node_selector: NodeSelector = Field(
        default_factory=dict,
        description="Labels of the nodes on which versions may run in a cluster; not used on one machine.",
        examples=[{"kubernetes.io/arch": "amd64"}],
    )
    environment: tuple[EnvironmentVariable, ...] = Field(
        (),
        max_length=100,
        description="Variables of a serving process in a cluster; not used on one machine.",
        examples=[[{"name": "LOG_LEVEL", "value": "debug"}]],
    )
