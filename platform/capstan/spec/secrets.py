"""Confidential values by reference; the file never holds one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from capstan.spec.grammar import Name, SpecModel

KEY_PATTERN = r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$"
"""Of a key in a Secret, which is also the name of a file."""


class SecretKeyRef(SpecModel):
    """One key of a secret."""

    name: Name = Field(
        description="Name of the secret; on one machine the folder `.capstan/secrets/NAME`.",
        examples=["planes-db"],
    )
    key: Annotated[str, StringConstraints(pattern=KEY_PATTERN, max_length=253)] = Field(
        description="Key in the secret; on one machine the file in that folder.", examples=["url"]
    )


class ValueFrom(SpecModel):
    """Where a confidential value is to be found; never the value itself."""

    secret_key_ref: SecretKeyRef = Field(
        description="The secret and its key.", examples=[{"name": "planes-db", "key": "url"}]
    )
