"""Writes the pipeline as the YAML that a KFP server takes: `python -m capstan_pipelines.compile -o train.yaml`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def compile_pipeline(output: Path) -> None:
    """Write the compiled pipeline; the same source and image give the same bytes."""
    from kfp import compiler

    from capstan_pipelines.pipelines import train

    compiler.Compiler().compile(train, str(output))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m capstan_pipelines.compile", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("train.yaml"))
    parser.add_argument("--image", help="image of every step; it must have Capstan installed")
    arguments = parser.parse_args()
    if arguments.image:
        # Components read it when they are defined, which is when they are imported.
        os.environ["CAPSTAN_PIPELINE_IMAGE"] = arguments.image
    compile_pipeline(arguments.output)


if __name__ == "__main__":
    main()
