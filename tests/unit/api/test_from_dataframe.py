"""A data frame becomes a system as a file does by `capstan init`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

import capstan
from capstan.api.results import Training
from capstan.cli.main import app
from capstan.domain.training import GateOutcome, RunPhase, RunStatus
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.errors import DiskFullError, InvalidDataError, InvalidSpecError, NotAllowedError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shop(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    weight = rng.uniform(1, 9, rows)
    return pd.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(rows)],
            "weight": weight.round(3),
            "shop": rng.choice(["north", "south"], rows),
            "Sent Back": weight + rng.normal(size=rows) > 5,
        }
    )


def test_the_guesses_are_those_of_the_command(tmp_path: Path) -> None:
    system = capstan.System.from_dataframe(shop(), "Sent Back", name="orders")
    (tmp_path / "by-command").mkdir()
    table = tmp_path / "by-command/orders.parquet"
    table.write_bytes((tmp_path / "orders/orders.parquet").read_bytes())
    done = CliRunner().invoke(app, ["init", str(table), "--target", "Sent Back"])
    assert done.exit_code == 0, done.output
    assert system.file.read_text() == (table.parent / "system.yaml").read_text()
    said = [f"{one.field}: {one.value}: {one.reason}" for one in system.guesses.itertuples()]
    assert said == done.stdout.splitlines()[: len(said)]
    assert system.spec.spec.data.keys.id == "order_id"
    assert system.validate()


def test_without_a_name_the_target_gives_it() -> None:
    system = capstan.System.from_dataframe(shop(), "Sent Back")
    assert (system.name, system.file) == ("sent-back", Path("sent-back/system.yaml").resolve())


@pytest.mark.parametrize("make", [pl.from_pandas, pd.DataFrame], ids=["polars", "pandas"])
def test_the_frame_is_kept_as_parquet(make: Callable[[Any], Any]) -> None:
    capstan.System.from_dataframe(make(shop()), "Sent Back", name="orders")
    pd.testing.assert_frame_equal(pd.read_parquet("orders/orders.parquet"), shop())


def test_what_is_said_is_not_guessed() -> None:
    system = capstan.System.from_dataframe(shop(), "Sent Back", id="", without=["shop"])
    assert system.spec.spec.data.keys.id is None
    assert [one.name for one in system.spec.spec.features] == ["weight"]
    reasons = {(one.value, one.reason) for one in system.guesses.itertuples()}
    assert ("without shop", "you said so") in reasons


def test_what_is_kept_and_left_out_at_once_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="'shop' is in `without` too"):
        capstan.System.from_dataframe(shop(), "Sent Back", without=["shop"], keep=["shop"])


def test_the_same_call_changes_nothing_and_another_is_refused_until_it_may_overwrite() -> None:
    first = capstan.System.from_dataframe(shop(), "Sent Back", name="orders")
    before = first.file.read_text()
    capstan.System.from_dataframe(shop(), "Sent Back", name="orders")
    assert first.file.read_text() == before
    with pytest.raises(NotAllowedError, match=r"orders\.parquet is there and differs"):
        capstan.System.from_dataframe(shop(200), "Sent Back", name="orders", task="BinaryClassification")
    first.file.write_text(before + "# mine\n")
    with pytest.raises(
        NotAllowedError, match=r"system\.yaml is there and differs; `System\.from_file` goes on"
    ):
        capstan.System.from_dataframe(shop(), "Sent Back", name="orders")
    assert first.file.read_text().endswith("# mine\n")
    assert len(pd.read_parquet("orders/orders.parquet")) == 300
    capstan.System.from_dataframe(shop(200), "Sent Back", name="orders", overwrite=True)
    assert len(pd.read_parquet("orders/orders.parquet")) == 200
    assert "# mine" not in first.file.read_text()


def test_a_readme_that_somebody_edited_stays_and_one_that_nobody_did_follows_the_table() -> None:
    folder = capstan.System.from_dataframe(shop(), "Sent Back", name="orders").file.parent
    readme = folder / "README.md"
    assert "300 rows" in readme.read_text()
    capstan.System.from_dataframe(shop(200), "Sent Back", name="orders", overwrite=True)
    assert "200 rows" in readme.read_text()
    edited = readme.read_text().replace("Predicts", "Predicts, as I say,")
    readme.write_text(edited)
    capstan.System.from_dataframe(shop(200), "Sent Back", name="orders")
    capstan.System.from_dataframe(shop(250), "Sent Back", name="orders", overwrite=True)
    assert readme.read_text() == edited


def test_what_cannot_be_written_whole_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = capstan.System.from_dataframe(shop(), "Sent Back", name="orders").file.parent
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    is_opened = os.open

    def full(path: Any, *rest: Any, **more: Any) -> int:
        if Path(path).name.startswith(".system.yaml"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return is_opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DiskFullError, match=r"system\.yaml: no room left"):
        capstan.System.from_dataframe(shop(200), "Sent Back", name="orders", overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_target_that_is_no_column_leaves_nothing_behind() -> None:
    with pytest.raises(InvalidSpecError, match=r"'sent back' is no column .* did you mean 'Sent Back'"):
        capstan.System.from_dataframe(shop(), "sent back", name="orders")
    assert list(Path("orders").iterdir()) == []


def test_a_name_that_no_system_can_have_is_refused() -> None:
    with pytest.raises(
        InvalidDataError, match=r"name: 'My Orders' cannot be the name of a system.* such as 'my-orders'"
    ):
        capstan.System.from_dataframe(shop(), "Sent Back", name="My Orders")


def test_a_training_shows_candidates_choice_and_gates() -> None:
    version = ModelVersion(
        VersionName("v2"),
        Digest("sha256:1"),
        RunName("orders-1"),
        "orders:1",
        datetime(2026, 1, 1, tzinfo=UTC),
        {"rocAuc": 0.75},
    )
    status = RunStatus(
        RunPhase.SUCCEEDED,
        version=version,
        gates=(GateOutcome("rocAuc", True, "rocAuc: 0.75 is above 0.6"),),
        candidates={"baseline": {"rocAuc": 0.5}, "trees": {"rocAuc": 0.8}},
        chosen=("trees",),
        failed={"linear": "singular"},
    )
    made = Training("orders-1", "v2", "trees", status)
    assert made.candidates.loc["trees", "rocAuc"] == 0.8
    assert dict(made.metrics) == {"rocAuc": 0.75}
    assert made.gates_passed
    assert made.warnings == ("candidate linear failed: singular",)
    for shown in (repr(made), made._repr_html_()):
        assert "rocAuc: 0.75 is above 0.6" in shown
        assert "candidate linear failed: singular" in shown
