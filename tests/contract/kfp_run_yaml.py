"""Runs the steps of a compiled pipeline here: `python kfp_run_yaml.py PIPELINE.yaml ARGUMENTS.json ROOT`."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp import local
from kfp.local.pipeline_orchestrator import run_local_pipeline
from kfp.pipeline_spec import pipeline_spec_pb2

if __name__ == "__main__":
    definition, arguments, root = (Path(argument) for argument in sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.INFO)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root / "artifacts"),
        workspace_root=str(root / "workspace"),
        raise_on_error=True,
    )
    # The second document holds settings of pods.
    document = next(yaml.safe_load_all(definition.read_text()))
    spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
    run_local_pipeline(spec, json.loads(arguments.read_text()))
