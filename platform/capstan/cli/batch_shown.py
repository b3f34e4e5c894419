"""How a batch of predictions is run and told in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capstan.cli.console import Narrator, err, print_json
from capstan.cli.interrupt import Interrupt
from capstan.cli.recorded_history import STOPPED

if TYPE_CHECKING:
    from capstan.embedded.batch.predicting import BatchRequest, BatchResult
    from capstan.embedded.layout import StateDir
    from capstan.spec import MLSystem

_SHOWN = 5
"""Reasons for refusals that are told one by one."""


def run_batch(
    system: MLSystem,
    state: StateDir,
    *,
    version: str | None,
    start: str | None,
    end: str | None,
    output: Path | None,
    given: str | None,
    json: bool,
) -> int:
    """Predict the stretch and tell what was done; gives the rows that were refused.

    Raises typer.Exit where a person stopped it, CapstanError.
    """
    with Narrator(quiet=json) as narrator:
        narrator.say_why_slow()
        from capstan.embedded.batch.predicting import predict_batch
        from capstan.verbs.batching import batch_of

        request = batch_of(system, state, version=version, start=start, end=end, output=output, given=given)
        narrator.say(f"reading the rows; {request.version.name} predicts them")
        with Interrupt() as interrupt:
            result = predict_batch(
                request,
                stop=interrupt.is_set,
                advance=lambda done, total: narrator.advance("rows", done, total),
            )
    if json:
        print_json(_document(request, result))
    else:
        _print(request, result)
    if not result.is_complete:
        raise typer.Exit(STOPPED)
    return result.rows.refused_rows


def _document(request: BatchRequest, result: BatchResult) -> dict[str, Any]:
    from capstan.embedded.batch.predicting import counts

    return {
        **request.batch,
        "version": request.version.name,
        "output": str(request.output),
        "complete": result.is_complete,
        **counts(result.rows),
        "without_time": result.untimed,
        "partitions": result.partitions,
        "made": result.made,
        "kept": result.kept,
        "removed": result.removed,
        "anew": dict(result.anew),
    }


def _print(request: BatchRequest, result: BatchResult) -> None:
    def say(text: str) -> None:
        err.print(text, markup=False, soft_wrap=True)

    for why, count in result.anew.most_common():
        say(f"{_files(count)} made anew: {why}")
    if result.removed:
        say(f"{_files(len(result.removed))} removed: the source has no row of them any more")
    rows = result.rows
    for reason, count in rows.refused.most_common(_SHOWN):
        say(f"refused: {count:,} {'row' if count == 1 else 'rows'}, {reason}")
    if len(rows.refused) > _SHOWN:
        say(f"refused for {len(rows.refused) - _SHOWN} reasons more; manifest.json has all")
    if result.partitions is None:
        say("stopped while the rows were read; what was finished is kept; the same command goes on there")
        return
    if not result.is_complete:
        finished = f"{result.made + result.kept:,} of {_files(result.partitions)}"
        say(f"stopped; {finished} are finished and kept; the same command goes on there")
        return
    if result.untimed:
        one = result.untimed == 1
        say(
            f"{result.untimed:,} {'row has' if one else 'rows have'} no time and {'is' if one else 'are'} in no batch"
        )
    if not rows.read:
        say("the sources have no row of this stretch")
    say(
        f"{rows.read:,} {'row' if rows.read == 1 else 'rows'} read, {rows.written:,} written, "
        f"{rows.refused_rows:,} refused by {request.version.name}; "
        f"{result.made:,} of {_files(result.partitions)} made, {result.kept:,} kept; "
        f"predictions are in {request.output}"
    )


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"
