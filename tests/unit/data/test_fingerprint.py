"""A run's digest, sources and commit say whether something is the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from capstan.data.fingerprint import UNKNOWN, code_of, table_digest

ROWS = pa.table(
    {
        "id": ["a", "b", None, "ü"],
        "x": [1.5, None, 2.0, -0.0],
        "late": [True, None, False, True],
        "at": pa.array([1, 2, None, 4], pa.timestamp("us", "UTC")),
        "empty": pa.nulls(4),
    }
)


def test_the_same_rows_have_the_same_digest_however_they_lie_in_memory() -> None:
    parts = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1, 2), ROWS.slice(3)])
    longer = pa.concat_tables([ROWS, ROWS]).slice(4)
    assert table_digest(parts) == table_digest(longer) == table_digest(ROWS)


def test_what_stands_below_a_missing_value_counts_for_nothing() -> None:
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer((7).to_bytes(8, "little") * 2)]
    )
    assert table_digest(pa.table({"x": hidden})) == table_digest(pa.table({"x": pa.array([7, None])}))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ROWS.slice(0, 3), id="a row less"),
        pytest.param(ROWS.take([1, 0, 2, 3]), id="another order"),
        pytest.param(ROWS.rename_columns(["id", "y", "late", "at", "empty"]), id="another name"),
        pytest.param(ROWS.set_column(0, "id", pa.array(["ab", "", None, "ü"])), id="the same letters"),
        pytest.param(ROWS.set_column(1, "x", pa.array([1.5, 0.0, 2.0, -0.0])), id="zero for missing"),
    ],
)
def test_other_rows_have_another_digest(other: pa.Table) -> None:
    assert table_digest(other) != table_digest(ROWS)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_of_the_files_folder_is_told_and_whether_files_were_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "system.yaml").write_text("a: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "rows.csv").write_text("not known to git\n")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert code_of(tmp_path).words == commit
    (tmp_path / "system.yaml").write_text("a: 2\n")
    assert code_of(tmp_path).words == f"{commit}, with changes that are not committed"


def test_without_git_or_a_repository_the_commit_is_unknown_and_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = code_of(tmp_path)
    assert (found.commit, found.is_changed) == (UNKNOWN, None)
    assert found.words == "unknown: the folder of the file is in no git repository that can be read"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of(tmp_path).words == "unknown: git is not installed, or the folder is not there"
