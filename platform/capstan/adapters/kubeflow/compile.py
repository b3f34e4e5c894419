"""The training pipeline as the YAML that a KFP server takes, made in a child process, which alone imports KFP."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from capstan.errors import CapstanError, UnavailableError
from capstan.files import write_whole

_SECONDS = 300.0


@dataclass(frozen=True)
class StepSettings:
    """What the pods of a system's steps get, besides their arguments."""

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: int = 1034
    data_claim: str = ""
    """PersistentVolumeClaim with sources and factories; empty: none is mounted."""
    data_mount: str = "/data"
    secrets: Mapping[str, list[str]] = field(default_factory=dict)
    """Secrets of the sources: name -> keys."""
    secrets_mount: str = "/secrets"
    artifact_keys: str = ""
    """Secret with the keys of the object storage; empty: it asks for none."""
    artifact_key_names: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secret_variables: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variable -> (Secret, key)."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> StepSettings:
        found: dict[str, Any] = json.loads(text)
        for name in ("pull_secrets", "artifact_key_names"):
            found[name] = tuple(found[name])
        return cls(**found)


@dataclass(frozen=True)
class CompiledPipeline:
    definition: bytes
    version: str
    """Name made from the bytes, so that the same pipeline is uploaded once."""


def compile_pipeline(settings: StepSettings, cache: Path) -> CompiledPipeline:
    """Compile, or take what an earlier call with the same settings and packages made; raises UnavailableError."""
    text = settings.as_json()
    made_with = f"{version('capstan-mlops')} {text}"
    kept = cache / f"{hashlib.sha256(made_with.encode()).hexdigest()[:32]}.yaml"
    if not kept.exists():
        write_whole(kept, _compiled(text, cache))
    definition = kept.read_bytes()
    return CompiledPipeline(definition, f"sha256-{hashlib.sha256(definition).hexdigest()[:16]}")


def _compiled(settings: str, cache: Path) -> bytes:
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    output = cache / f".{hashlib.sha256(settings.encode()).hexdigest()[:16]}.compiling.yaml"
    command = [sys.executable, "-m", "capstan_pipelines.compile", "--settings", "-", "-o", str(output)]
    try:
        done = subprocess.run(
            command, input=settings.encode(), capture_output=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise CapstanError(
                f"the training pipeline cannot be compiled: {done.stderr.decode(errors='replace')[-1000:]}"
            )
        return output.read_bytes()
    except subprocess.TimeoutExpired as error:
        raise UnavailableError("the compiler of pipelines", f"no result in {_SECONDS:g} s") from error
    finally:
        output.unlink(missing_ok=True)
