"""The example notebook runs from its first cell to its last, as a kernel runs it, and leaves no process behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from embedded.running import left_behind

from capstan.adapters.processes.ports_in_use import free_port

# A training yields to whatever else runs on the machine.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]
NOTEBOOK = Path(__file__).parents[2] / "examples/notebook/cells.ipynb"
KERNEL = """
import ast, asyncio, json, sys

def shown(value):
    html = getattr(value, "_repr_html_", None)
    return html() if html is not None else repr(value)

async def run(cells):
    # A kernel's event loop runs while a cell does.
    names, shows = {}, []
    for number, source in enumerate(cells):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            shows.append(shown(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)))
    print(json.dumps({"shown": shows, "feedback": vars(names["feedback"])}))

asyncio.run(run(json.load(open(sys.argv[1]))))
"""


def code_cells(notebook: Path) -> list[str]:
    document = json.loads(notebook.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_trains_serves_asks_labels_and_stops(tmp_path: Path) -> None:
    cells = code_cells(NOTEBOOK)
    # Nobody's own system may be met at the usual ports.
    ports = f"system.up(page_port={free_port()}, gateway_port={free_port()})"
    assert sum(cell.count("system.up()") for cell in cells) == 1
    (tmp_path / "cells.json").write_text(json.dumps([cell.replace("system.up()", ports) for cell in cells]))
    (tmp_path / "kernel.py").write_text(KERNEL)
    shutil.copy(NOTEBOOK, tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "CAPSTAN_STATE"}
    done = subprocess.run(
        [sys.executable, "kernel.py", "cells.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["feedback"]["accepted"], said["feedback"]["matched"]) == (69, 69)
    assert any("champion" in one for one in said["shown"])
    assert any("is below the minimum 0" in one for one in said["shown"])
    assert not left_behind(tmp_path)
