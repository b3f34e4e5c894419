"""What a model version is and how its name and identity are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

SystemName = NewType("SystemName", str)
VersionName = NewType("VersionName", str)
"""`v1`, `v2`, ...: the registry's number behind a `v`; also the name of the serving process and the Envoy cluster."""
NOBODY = VersionName("")
"""Stands where no version is named."""
COPY = "-copy"
"""Ends the name of a version that is brought up a second time."""
RunName = NewType("RunName", str)
Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits: hash of a Bento's sorted file hashes, without tag and time."""


@dataclass(frozen=True)
class ModelVersion:
    """A trained, packaged and registered model."""

    name: VersionName
    digest: Digest
    run: RunName
    bento_tag: str
    """`<system>:<tag>` in the Bento store."""
    as_of: datetime
    """Event time up to which its training data was read."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics on the test window, by name (`rocAuc`, `logLoss`, ...)."""
    rank: int = 0
    """0: the run's own choice; 1: its first runner-up, 2: the second, ..."""


def copy_name(version: VersionName) -> VersionName:
    """`v1-copy`: the name under which the version is brought up a second time."""
    return VersionName(f"{version}{COPY}")


def fresh_copy(version: ModelVersion) -> ModelVersion:
    """The same model under another name; no registry knows it."""
    return replace(version, name=copy_name(version.name))


class Readiness(StrEnum):
    """Whether a version can take requests now."""

    ABSENT = "Absent"
    STARTING = "Starting"
    READY = "Ready"
    CRASHED = "Crashed"
    """Ended or crash-looping; it may come back, but nothing may be sent to it."""
