"""`capstan export`: a registered version as a file that needs no Capstan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, out, print_json
from capstan.errors import InvalidDataError

app = App()


@app.command(epilog="Example: capstan export system.yaml --onnx --out model.onnx")
def export(
    file: File,
    to: Annotated[Path, typer.Option("--out", help="The file to write, such as model.onnx.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As a graph of ONNX; needs the extra onnx.")] = False,
    version: Annotated[
        str | None,
        typer.Option(
            help="A registered version. Default: the champion; before one serves, the version chosen last.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Write a version as one ONNX graph: raw columns in, answers out, with its transform and without Capstan.

    The model is read only if it hashes to the digest that was registered. The graph is written only if onnxruntime
    answers with it as the version does: all example rows that its training kept, a row in which all is missing, and one
    of values never seen. The largest difference is told.

    Nearest neighbours, features and models of your own, systems of several models and imported models are refused.
    """
    with honest_errors(json):
        if not onnx:
            raise InvalidDataError("export: says no form to write; add --onnx")
        from capstan.cli.place import folder_of
        from capstan.spec import load
        from capstan.verbs.exporting import export_onnx

        system = load(file)
        made = export_onnx(system, folder_of(system, state), to, version=version)
    if json:
        print_json(
            {
                "version": made.version.name,
                "digest": made.version.digest,
                "file": str(made.file),
                "bytes": made.bytes,
                "inputs": made.inputs,
                "outputs": made.outputs,
                "rows": made.rows,
                "difference": made.difference,
                "other_labels": made.other_labels,
            }
        )
        return
    out.print(made.in_words(), soft_wrap=True, markup=False)
