"""Step 7, first half: how predictions are served."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import SpecModel
from capstan.spec.training import Resources
from capstan.spec.units import Whole


def _provides_today(value: Any) -> Any:
    if value in ("Istio", "GatewayApi", "Seldon"):
        raise PydanticCustomError(
            "not_in_this_version", "is not in this version; providers that run today: Envoy"
        )
    return value


class Replicas(SpecModel):
    """How many copies of each version run in a cluster; on one machine always one."""

    min: Whole = Field(1, ge=1, le=1000, description="Copies at least.", examples=[1])
    max: Whole = Field(
        default_factory=lambda earlier: earlier["min"],
        ge=1,
        le=1000,
        description="Copies at most, by load; as many as `min` if left out.",
        examples=[3],
    )

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise PydanticCustomError("replicas", "min is above max; raise max or lower min")
        return self


class ServingTraffic(SpecModel):
    """What splits and mirrors requests."""

    provider: Annotated[Literal["Envoy"], BeforeValidator(_provides_today)] = Field(
        "Envoy",
        description="Proxy in front of the versions; Envoy splits, mirrors, keeps users on a version, hides failures.",
        examples=["Envoy"],
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
