"""`capstan import`: a model that was fitted elsewhere becomes a version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, err, honest_errors, out, print_json
from capstan.errors import InvalidDataError, MissingExtraError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.spec import MLSystem

app = App()

EXTRAS = {"xgboost": "xgboost", "torch": "deep", "onnxruntime": "onnx"}
"""Module that a pickled model may need -> the extra that brings it."""


@app.command("import", epilog="Example: capstan import system.yaml model.joblib --sample rows.csv")
def import_(
    file: File,
    model: Annotated[
        Path,
        typer.Argument(
            help="A fitted model: by joblib or pickle, .onnx, .ubj or .json of XGBoost, .pt2 of torch.export.save.",
            show_default=False,
        ),
    ],
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Labelled rows that it has not learnt from: CSV, JSON lines or Parquet. Default: the file's data.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="What it learnt from, in order and apart by commas, if it was fitted on an array.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes in order, apart by commas, of a model of ONNX, PyTorch or XGBoost that does not say them.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask whether the model's file is trusted.")
    ] = False,
    json: Json = False,
) -> None:
    """Register a model that was fitted elsewhere as a version; nothing is served by it.

    Reading the model's file runs the code in it: import only what you, or somebody you trust, has made. A model of ONNX
    or XGBoost is a graph or trees, without code, so it is read without asking. From then on the registry holds the
    digest of the model, and other bytes are never loaded. If no version serves yet, `capstan up` serves this one. Else
    `capstan promote VERSION` begins its rollout.
    """
    with honest_errors(json):
        from capstan.cli.place import folder_of
        from capstan.spec import load
        from capstan.verbs.importing import import_model

        system = load(file)
        for path in filter(None, (model, sample)):
            if not path.is_file():
                raise NotFoundError(f"{path}: there is no such file")
        with _read(model, system, yes=yes) as fitted:
            made = import_model(
                fitted,
                system,
                folder_of(system, state),
                sample=sample,
                columns=columns.split(",") if columns is not None else None,
                classes=[one.strip() for one in classes.split(",")] if classes is not None else None,
                now=datetime.now(UTC),
            )
    version = made.status.version
    assert version is not None
    if json:
        print_json(
            {
                "version": version.name,
                "digest": version.digest,
                "run": made.request.run,
                "model": made.status.chosen_in_words,
                "metrics": dict(version.metrics),
                "against": made.request.champion,
            }
        )
        return
    measured = ", ".join(f"{name} {value:.4g}" for name, value in version.metrics.items())
    out.print(f"{version.name} ({made.status.chosen_in_words}): {measured}", soft_wrap=True, markup=False)
    follows = (
        f"once the system is up, `capstan promote {version.name}` begins its rollout"
        if made.request.champion
        else "`capstan up` serves it, as long as the file stays the same"
    )
    out.print(f"{version.name} is registered; {follows}", soft_wrap=True, markup=False)


@contextmanager
def _read(model: Path, system: MLSystem, *, yes: bool) -> Iterator[Any]:
    """What the file holds; raises InvalidDataError, NotAllowedError, MissingExtraError."""
    from capstan.verbs.foreign_models import ONNX_SUFFIX, TORCH_SUFFIX, XGBOOST_SUFFIXES

    suffix = model.suffix.lower()
    if suffix in (ONNX_SUFFIX, *XGBOOST_SUFFIXES):
        yield model
        return
    if suffix in (".pt", ".pth"):
        raise InvalidDataError(
            f"{model}: is no whole model, or needs the code of its class; write it by "
            f"torch.export.save(torch.export.export(...), 'model{TORCH_SUFFIX}'), or hand the module over by "
            "System.deploy"
        )
    _require_trust(model, yes=yes)
    if suffix == TORCH_SUFFIX:
        from capstan.features.foreign.torch import program_of

        yield program_of(model.read_bytes())
        return
    with _unpickled(model, system) as fitted:
        yield fitted


def _require_trust(model: Path, *, yes: bool) -> None:
    err.print(
        f"warning: reading {model} runs whatever code is written in it; import only what you trust",
        soft_wrap=True,
        markup=False,
    )
    if yes:
        return
    if not typer.confirm(f"Read {model}?", err=True):
        raise NotAllowedError(f"{model} was not read; --yes reads it without asking")


@contextmanager
def _unpickled(model: Path, system: MLSystem) -> Iterator[Any]:
    """What the file holds; modules beside the system's file can be imported meanwhile. Raises InvalidDataError."""
    import joblib  # type: ignore[import-untyped]

    from capstan.training.factories import importable

    with importable(system.base_dir):
        try:
            fitted = joblib.load(model)
        except ModuleNotFoundError as error:
            if error.name in EXTRAS:
                raise MissingExtraError(str(model), EXTRAS[error.name]) from error
            raise InvalidDataError(f"{model}: needs {error.name}, which is not installed here") from error
        except Exception as error:
            raise InvalidDataError(
                f"{model}: cannot be read: {type(error).__name__}: {error}; write it with joblib.dump, under the same "
                "versions of its libraries"
            ) from error
        yield fitted
