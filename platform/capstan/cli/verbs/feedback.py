"""`capstan feedback`: the labels of a table, handed in to the collector of the running system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, counted, err, honest_errors, out, print_json
from capstan.cli.place import Context, Namespace, folder_of
from capstan.cli.remote_gateway import TokenFile, Url, feedback_token, gateway_address

if TYPE_CHECKING:
    from capstan.adapters.own.collector import CollectorClient
    from capstan.spec import MLSystem
    from capstan.verbs.labelling import Tally

app = App()

REFUSED = 3
"""Exit code where rows were refused and the others handed in."""
MOST_NUMBERS = 5
"""Rows refused alike whose numbers are printed; `--json` has more."""
WORDS = {
    "matched": "belong to answered requests",
    "waiting": "wait for requests that are on their way",
    "neverAsked": "name ids that nobody asked for; they are kept, should a request come",
    "unknown": "could not be looked up; they are kept",
}


@app.command(epilog="Example: capstan feedback system.yaml outcomes.csv")
def feedback(
    file: File,
    rows: Annotated[
        Path, typer.Argument(help="A table of labels: CSV, JSON lines or Parquet.", show_default=False)
    ],
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    url: Url = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Hand in the labels of a table, and say which requests they belong to.

    The table has the columns that the file names: data.keys.id and data.label.column, and data.label.availableAt if it
    knows the moment. In place of the id it may have request_id, as `capstan predict` writes it. A row without a label
    is left out: its label is not known yet. Rows that are refused alike are told together, and the exit code is 3. With
    --context or --url labels go to that gateway, with the system's token for feedback.
    """
    with honest_errors(json):
        from capstan.spec import load
        from capstan.verbs.labelling import Tally, hand_in, label_entries

        system = load(file)
        tally = Tally()
        with _collector(system, state, context, namespace, url, token_file) as collector:
            hand_in(
                counted(label_entries(system, rows, tally), "rows", shown=not json),
                tally,
                lambda part: collector.match_labels(part, system=system.metadata.name),
            )
    if json:
        print_json(tally.document())
    else:
        _print(tally)
    if tally.refused_rows:
        raise typer.Exit(REFUSED)


@contextmanager
def _collector(
    system: MLSystem,
    state: Path,
    context: str | None,
    namespace: str | None,
    url: str | None,
    token_file: Path | None,
) -> Iterator[CollectorClient]:
    """On this machine the process itself, else behind the gateway."""
    from capstan.embedded.wiring import collector_behind, collector_of

    if url is None and context is None:
        with collector_of(folder_of(system, state)) as collector:
            yield collector
        return
    token = feedback_token(system, state, context, namespace, token_file)
    with gateway_address(system, state, context, namespace, url) as address:
        assert address is not None
        with collector_behind(address, token) as collector:
            yield collector


def _refusals(tally: Tally) -> Iterator[str]:
    """A line for each column and rule: a table that is wrong in one way is wrong so in every row."""
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in tally.refused:
        alike.setdefault((one["field"], one["rule"]), []).append(one)
    for (field, rule), rows in alike.items():
        value = "" if rows[0]["value"] is None else f" {rows[0]['value']!r}"
        first = f"row {rows[0]['row']}, {field}:{value} {rule}"
        count = tally.refused_by_rule[field, rule]
        numbers = ", ".join(str(one["row"]) for one in rows[1:MOST_NUMBERS])
        more = f" (and {_counted(count - 1)} more: {numbers}{', ...' if count > MOST_NUMBERS else ''})"
        yield f"refused: {first}{more if count > 1 else ''}"
    if others := tally.refused_rows - sum(tally.refused_by_rule[key] for key in alike):
        yield f"refused: {_counted(others)} more, for other reasons"


def _counted(rows: int) -> str:
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def _print(tally: Tally) -> None:
    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    for line in _refusals(tally):
        err.print(line, markup=False, soft_wrap=True)
    say(f"labels: {tally.new:,} new, {tally.known:,} known already")
    for kind, words in WORDS.items():
        if tally.found[kind]:
            first = "" if kind == "matched" else f": {', '.join(tally.ids[kind][:5])}"
            more = ", ..." if kind != "matched" and tally.found[kind] > 5 else ""
            say(f"  {tally.found[kind]:,} {words}{first}{more}")
    if tally.without:
        say(f"rows left out, as they have no label yet: {tally.without:,}")
    say(f"rows refused: {tally.refused_rows:,}")
