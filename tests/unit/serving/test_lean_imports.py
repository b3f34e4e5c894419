"""A model service does not pay for libraries that no prediction uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def python(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loading_and_predicting_needs_neither_pandas_nor_what_training_uses(model_dir: Path) -> None:
    row = {"distance": 1200, "temp": 3.5, "carrier": "UA", "dest": "LAX"}
    (model_dir / "sample.json").write_text(f"[{str(row).replace(chr(39), chr(34))}]")
    heavy = ["pandas", "pyarrow", "polars", "duckdb", "alibi_detect", "mlflow", "kfp", "matplotlib", "torch"]
    try:
        loaded = python(
            "import sys, capstan.serving.service\nfrom pathlib import Path\n"
            "from capstan.serving.model import load\n"
            f"model = load(Path({str(model_dir)!r})); assert not model.fallback, model.fallback\n"
            f"model.predict_rows([{row!r}]); model.predict_rows([{row!r}] * 3)\n"
            f"print([name for name in {heavy!r} if name in sys.modules])"
        )
    finally:
        (model_dir / "sample.json").unlink()
    assert loaded.strip() == "[]"


def test_the_supervisor_of_bentoml_serve_imports_no_model_library() -> None:
    loaded = python(
        "import sys, capstan.serving.service\nprint('sklearn' in sys.modules, 'scipy' in sys.modules)"
    )
    assert loaded.strip() == "False False"


def test_a_deferred_library_works_as_soon_as_it_is_used() -> None:
    python(
        "import sys\n"
        "from capstan.serving.lean_imports import deferred\n"
        "with deferred('pandas', 'scipy.stats', 'no_such_module'):\n"
        "    import pandas as pd\n"
        "    import scipy.stats\n"
        "    assert 'pyarrow' not in sys.modules and 'no_such_module' not in sys.modules\n"
        "assert 'pandas' not in sys.modules\n"
        "assert pd.DataFrame({'a': [1, 2]})['a'].sum() == 3\n"
        "assert abs(scipy.stats.norm.cdf(0) - 0.5) < 1e-12\n"
        "import pandas\n"
        "assert pandas.DataFrame is pd.DataFrame\n"
    )
