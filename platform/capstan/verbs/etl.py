"""Moves rows as a file of kind ETL says, on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capstan.data.etl import EtlReport, EtlStep, run_etl
from capstan.data.memory import machine_memory
from capstan.embedded.layout import StateDir
from capstan.files import write_error
from capstan.own_code import made_by
from capstan.spec.etl import Etl
from capstan.training.factories import importable

_OF_MACHINE = 0.25


def move_rows(job: Etl, state: Path, on_step: Callable[[EtlStep], None] = lambda _: None) -> EtlReport:
    """Raises InvalidDataError that names the step, MissingExtraError, AlreadyRunningError."""
    place = StateDir(state.resolve())
    folder = place.root / "etl" / str(job.metadata.name)
    try:
        # The steps hold rows: they are the owner's alone.
        for each in (place.root, folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    with importable(job.base_dir):
        return run_etl(
            job,
            folder=folder,
            secrets=place.secrets,
            function_of=lambda code: made_by(code.factory, code.parameters),
            memory=int(machine_memory() * _OF_MACHINE),
            on_step=on_step,
        )
