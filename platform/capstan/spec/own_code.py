"""Code of a person's own that the file names."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from capstan.spec.grammar import Factory, SpecModel


class OwnCode(SpecModel):
    """A function beside the file, and what it is called with."""

    factory: Factory = Field(
        description="`module:name` of a function; it lies beside this file.", examples=["mymodels:make"]
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the factory: numbers, texts and booleans.",
        examples=[{"depth": 3}],
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )

    @field_validator("parameters")
    @classmethod
    def _plain(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name, value in parameters.items():
            if not name.isidentifier() or not isinstance(value, str | int | float | bool):
                raise PydanticCustomError(
                    "parameters",
                    "{name} is not a keyword argument with a number, text or boolean",
                    {"name": repr(name)},
                )
        return parameters

    @property
    def module(self) -> str:
        """Dotted name of the module that holds the factory."""
        return self.factory.partition(":")[0]
