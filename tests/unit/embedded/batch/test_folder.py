"""The folder of a batch after a power cut, and where it is somebody else's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from capstan.embedded.batch.folder import BatchFolder


def test_a_manifest_is_on_the_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one after a power cut would be refused as somebody else's, at each try of a batch by the calendar."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        assert os.fstat(handle).st_size > 0
        done.append("on the disk")
        fsync(handle)

    def renamed(old: Any, new: Any) -> None:
        done.append("there")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    BatchFolder(tmp_path).write_manifest({"system": "shop"})
    assert done == ["on the disk", "there"]


def test_a_folder_is_cleared_of_what_batches_left_alone(tmp_path: Path) -> None:
    own, left = tmp_path / ".notes.unfinished", tmp_path / ".2013-02-01-0000.parquet.unfinished"
    for file in (own, left):
        file.write_text("half")
    with BatchFolder(tmp_path).exclusively():
        assert own.exists()
        assert not left.exists()
