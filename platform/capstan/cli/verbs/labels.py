"""`capstan labels`: how far the annotators of a file's labels agree, and what they dispute."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.tables_shown import aligned
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.data.agreement import Agreement

app = App()

_SHOWN = 20


@app.command(epilog="Example: capstan labels system.yaml --out disputed.csv")
def labels(
    file: Annotated[Path, typer.Argument(help="The system's file.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write every disputed item to this CSV file, a line for each label.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show how far annotators agree: alpha of all, kappa of each two, the items on which they differ.

    It reads the sources of the file that have `annotations`, as a training now would. Exit code 0, also where agreement
    is below `minAgreement`: a training is refused then.
    """
    with honest_errors(json):
        from capstan.data.annotations import agreements
        from capstan.embedded.layout import StateDir
        from capstan.spec import load
        from capstan.verbs.folders import where_lives

        system = load(file)
        secrets = where_lives(StateDir(state.resolve()), system.metadata.name).secrets
        found = agreements(system, as_of=datetime.now(UTC), secrets=secrets)
        if not found:
            raise NotFoundError(
                f"{file}: no source of data.sources has annotations; `capstan explain data.sources.annotations` tells "
                "how they are written"
            )
        if out is not None:
            _write(found, out)
        if json:
            print_json({"system": system.metadata.name, "agreements": [asdict(one) for one in found]})
            return
        for one in found:
            _print(one)
        if out is not None:
            typer.echo(f"disputed items are in {out}")


def _print(found: Agreement) -> None:
    typer.echo(found.in_words())
    rows = [("annotator", "items"), *((who, f"{count:,}") for who, count in found.annotators.items())]
    for line in aligned(rows[: _SHOWN + 1]):
        typer.echo(line)
    if found.pairs:
        typer.echo("")
        shown = [
            (f"{one.first}, {one.second}", f"{one.items:,}", f"{one.same:.0%}", _kappa(one.kappa))
            for one in found.pairs[:_SHOWN]
        ]
        for line in aligned([("two annotators", "items of both", "the same", "Cohen's kappa"), *shown]):
            typer.echo(line)
    if found.disagreements:
        typer.echo("")
        disputed = [
            (
                one.item,
                ", ".join(f"{who} {label}" for who, label in one.labels.items()),
                one.decided or "none",
            )
            for one in found.disagreements[:_SHOWN]
        ]
        for line in aligned([("disputed", "labels", "decided"), *disputed]):
            typer.echo(line)
        more = len(found.disagreements) - _SHOWN
        if more > 0:
            typer.echo(f"and {more:,} more; --out FILE writes all")


def _kappa(kappa: float | None) -> str:
    return "-" if kappa is None else f"{kappa:.3f}"


def _write(found: tuple[Agreement, ...], out: Path) -> None:
    import csv
    from io import StringIO

    from capstan.files import write_whole

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "item", "annotator", "label", "decided"])
    for one in found:
        for disputed in one.disagreements:
            for who, label in disputed.labels.items():
                writer.writerow([one.source, disputed.item, who, label, disputed.decided or ""])
    write_whole(out, text.getvalue().encode())
