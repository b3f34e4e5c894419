"""`capstan predict`: answers for the rows of a table or of the file's own sources, by a gateway or a model folder."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.answers_written import Writer, to_file, to_terminal
from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, counted, err, honest_errors, print_json
from capstan.cli.place import Context, Namespace, folder_of
from capstan.cli.remote_gateway import Url, gateway_address
from capstan.errors import InvalidDataError, InvalidSpecError, Mistake, NotFoundError

if TYPE_CHECKING:
    from capstan.embedded.asking import RefusedRow, Told
    from capstan.embedded.layout import StateDir
    from capstan.spec import MLSystem
    from capstan.verbs.answering import Asked

app = App()

REFUSED = 3
"""Exit code where rows were refused and the others answered."""
MOST_TOLD = 100
"""Refused rows that are told one by one."""


@app.command(
    epilog="Example: capstan predict system.yaml customers.csv --out answers.csv; as a batch: "
    "capstan predict system.yaml --from 2013-02-01 --to 2013-03-01 --output february"
)
def predict(
    file: File,
    rows: Annotated[
        Path | None,
        typer.Argument(
            help="A table of rows: CSV, JSON lines or Parquet; - reads it from stdin.", show_default=False
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option("--row", help="One row as a JSON object, instead of a table.", show_default=False),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask the champion's model folder; nothing needs to run.")
    ] = False,
    version: Annotated[
        str | None,
        typer.Option(help="Ask this version's model folder; implies --offline.", show_default=False),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell what each column adds to each answer; nothing is logged.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Write the answers to this .csv or .jsonl file.", show_default=False),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Batch: rows of the file's own sources from this day or moment on."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Batch: rows before this day or moment, as known by then.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Batch: folder of its Parquet files; default: one in the state directory."),
    ] = None,
    batch_input: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="Batch: rows of this table of the file, or of this file or folder, instead of the training's.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Predict rows by the running system, offline by a version's verified model, or the file's own rows as a batch.

    With --context the gateway of that cluster is asked, through a port that kubectl forwards while the command runs.
    With --url a gateway at any address is asked.

    Answers are printed as CSV, with --json as JSON lines; the last line is the summary. Refused rows are told with row
    and field, and the exit code is 3. Requests through the gateway are logged and watched like those of any client.

    With --from, --to, --output or --input the rows of the file's own sources are predicted by the champion, or by
    --version: a Parquet file for each day, and manifest.json. The same command again goes on where it was stopped,
    keeps files that still hold, and makes anew those whose rows or version have changed.
    """
    with honest_errors(json), ExitStack() as stack:
        if any(option is not None for option in (start, end, output, batch_input)):
            _require_batch(
                rows=rows, row=row, to=to, context=context, url=url, explain="explain" if explain else None
            )
            from capstan.cli.batch_shown import run_batch
            from capstan.spec import load

            system = load(file)
            refused = run_batch(
                system,
                folder_of(system, state),
                version=version,
                start=start,
                end=end,
                output=output,
                given=batch_input,
                json=json,
            )
            if refused:
                raise typer.Exit(REFUSED)
            return
        if (rows is None) == (row is None):
            raise InvalidDataError(
                "predict: give either a table of rows, - for stdin, --row '{...}', or --from and --to for the file's "
                "own rows"
            )
        from capstan.spec import load

        system = load(file)
        where = folder_of(system, state)
        is_offline = offline or version is not None
        if is_offline and (context or url):
            raise InvalidDataError(
                "predict: --offline and --version ask a model folder of this machine; drop --context (or "
                "CAPSTAN_CONTEXT) and --url"
            )
        elsewhere = None
        if not is_offline:
            elsewhere = stack.enter_context(gateway_address(system, state, context, namespace, url))
        asked = _asked(system, where, elsewhere, offline=offline, version=version)
        given = [_row(row or "")] if rows is None else asked.rows(stack.enter_context(_table(rows)), system)
        place = stack.enter_context(asked.asking)
        writer = stack.enter_context(to_terminal(json=json) if to is None else to_file(to))
        tally = _Tally(writer, asked.manifest.keys.get("id"), json=json)
        # Without a file the answers themselves are what moves.
        for told in counted(place.ask(given, explained=explain), "rows", shown=to is not None and not json):
            tally.take(told)
    tally.tell_all(to)


def _require_batch(**others: object) -> None:
    """Raises InvalidSpecError for options that no batch has."""
    options = {
        "rows": ("ROWS", "a batch reads the file's own sources; drop it, or --from, --to and --output"),
        "row": ("--row", "a batch reads the file's own sources; drop it, or --from, --to and --output"),
        "to": ("--out", "a batch is written as Parquet; name its folder with --output"),
        "context": ("--context", "a batch is predicted on this machine; drop it (or CAPSTAN_CONTEXT)"),
        "url": ("--url", "a batch is predicted on this machine, not through a gateway; drop it"),
        "explain": ("--explain", "a batch has answers alone; drop it, or predict a table of rows"),
    }
    mistakes = [
        Mistake(option, f"{others[name]}: {rule}")
        for name, (option, rule) in options.items()
        if others[name] is not None
    ]
    if mistakes:
        raise InvalidSpecError(mistakes)


class _Tally:
    """Passes each answer on, and counts what came of the rows."""

    def __init__(self, writer: Writer, id_column: str | None, *, json: bool) -> None:
        self._writer = writer
        self._id_column = id_column
        self._json = json
        self._versions: Counter[str] = Counter()
        self._refused: list[RefusedRow] = []
        self._refused_rows = 0

    def take(self, told: Told) -> None:
        from capstan.embedded.asking import RefusedRow
        from capstan.verbs.answering import with_id

        if isinstance(told, RefusedRow):
            self._refused_rows += 1
            if len(self._refused) < MOST_TOLD:
                self._refused.append(told)
            return
        self._versions[told.version] += 1
        source = {"version": told.version, "request_id": told.request_id}
        sent = {self._id_column: None, **told.sent} if self._id_column else told.sent
        answer = with_id({"row": told.row, **told.answer, **source}, self._id_column, sent)
        self._writer.write({"row": answer.pop("row"), **answer})

    def tell_all(self, to: Path | None) -> None:
        """The summary; raises typer.Exit where rows were refused."""
        if self._json:
            self._print_json(to)
        else:
            self._print(to)
        if self._refused_rows:
            raise typer.Exit(REFUSED)

    def _print_json(self, to: Path | None) -> None:
        summary = {
            "answered": self._versions.total(),
            "refused": self._refused_rows,
            "versions": dict(self._versions),
            "refusals": [
                {"row": one.row, "id": one.sent.get(self._id_column or ""), "problems": one.problems}
                for one in self._refused
            ],
            "out": None if to is None else str(to),
        }
        if to is not None:
            print_json(summary)
            return
        import orjson

        sys.stdout.write(orjson.dumps({"summary": summary}).decode() + "\n")

    def _print(self, to: Path | None) -> None:
        def say(text: str) -> None:
            err.print(text, markup=False, soft_wrap=True)

        from capstan.verbs.answering import which

        for one in self._refused:
            for problem in one.problems:
                say(f"refused: {which(one, self._id_column)}, {_in_words(problem)}")
        if self._refused_rows > len(self._refused):
            say(f"refused: {self._refused_rows - len(self._refused):,} rows more")
        by = ", ".join(f"{version} {count:,}" for version, count in sorted(self._versions.items()))
        total = self._versions.total()
        answered = f"{total:,} {'row' if total == 1 else 'rows'} answered{f' ({by})' if by else ''}"
        say(f"{answered}, {self._refused_rows:,} refused{'' if to is None else f'; answers are in {to}'}")


def _in_words(problem: Mapping[str, Any]) -> str:
    import orjson

    value = problem.get("value")
    quoted = "" if value is None else f" {orjson.dumps(value).decode()}"
    return f"{problem.get('field')}:{quoted} {problem.get('rule')}"


def _asked(
    system: MLSystem, state: StateDir, elsewhere: str | None, *, offline: bool, version: str | None
) -> Asked:
    """Who is asked, `elsewhere` if it is an address; raises NotFoundError, UntrustedArtifactError, UnavailableError."""
    from capstan.domain.versions import VersionName
    from capstan.verbs.answering import asked_address, asked_gateway, asked_model, champion_name

    if elsewhere is not None:
        return asked_address(system, elsewhere)

    if not offline and version is None:
        return asked_gateway(system, state, otherwise="--offline asks the champion's model folder, ")
    return asked_model(system, state, VersionName(version) if version else champion_name(system, state))


def _row(text: str) -> dict[str, Any]:
    import orjson

    try:
        found = orjson.loads(text)
    except ValueError as error:
        raise InvalidDataError(f"--row: {text[:80]!r} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidDataError(f"--row: {text[:80]!r} must be one JSON object, such as '{{\"column\": 1}}'")
    return found


@contextmanager
def _table(rows: Path) -> Iterator[Path]:
    """The file; what comes by stdin is kept in one while it is read."""
    if str(rows) != "-":
        if not rows.is_file():
            raise NotFoundError(f"{rows}: there is no such file")
        yield rows
        return
    with tempfile.TemporaryDirectory(prefix="capstan-rows-") as folder:
        stream = sys.stdin.buffer
        first = stream.read(4)
        suffix = ".parquet" if first == b"PAR1" else ".jsonl" if first.lstrip().startswith(b"{") else ".csv"
        file = Path(folder, f"stdin{suffix}")
        with file.open("wb") as kept:
            kept.write(first)
            shutil.copyfileobj(stream, kept)
        yield file
