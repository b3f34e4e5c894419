"""The peers: their releases, and the environment that each lives in, made once by uv."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from capstan.errors import CapstanError, MissingToolError

CACHE = Path.home() / ".cache" / "capstan" / "bench"
OWN_UV = Path(__file__).resolve().parents[2] / ".uv" / "bin" / "uv"
"""Where `make setup` puts uv if PATH has none."""
SCIKIT_LEARN = f"scikit-learn=={version('scikit-learn')}"
"""The pickled pipeline is read by the release that wrote it."""
PEERS = {
    # Its workers crash on uvloop 0.22 and later.
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22", SCIKIT_LEARN),
    "mlflow": ("mlflow==3.17.2", SCIKIT_LEARN),
    "bentoml": ("bentoml==1.4.39", SCIKIT_LEARN),
    "evidently": ("evidently==0.7.*", "pandas<3"),
    "pandas": ("pandas<3", "pyarrow", "psutil"),
    "polars": ("polars", "psutil"),
    "pyspark": ("pyspark==4.*", "psutil"),
    "lightgbm": ("lightgbm", "psutil"),
    "py-spy": ("py-spy==0.4.*",),
    "nannyml": ("nannyml==0.13.*", "pandas<3", "statsmodels", "setuptools<81"),
}


def environment(peer: str) -> Path:
    """`bin` of the peer's environment, made if it is not there or was made for other releases.

    Raises MissingToolError, and CapstanError if a package can't be installed.
    """
    folder, wanted = CACHE / peer, "\n".join(PEERS[peer])
    made = folder / "complete"
    if not made.exists() or made.read_text() != wanted:
        python = str(folder / "bin" / "python")
        _uv(peer, "venv", "--quiet", "--python", "3.11", "--clear", str(folder))
        _uv(peer, "pip", "install", "--quiet", "--python", python, *PEERS[peer])
        made.write_text(wanted)
    return folder / "bin"


def _uv(peer: str, *arguments: str) -> None:
    uv = shutil.which("uv") or shutil.which(OWN_UV)
    if uv is None:
        raise MissingToolError(
            f"uv makes the environment of {peer}, and is neither on PATH nor at {OWN_UV}: `make setup` puts it there"
        )
    if code := subprocess.run([uv, *arguments], check=False).returncode:
        raise CapstanError(f"{peer}: `uv {arguments[0]}` ended with {code}; its message is above")
