"""Charts as `helm template` renders them, without a cluster."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "charts"
NAMESPACE = "capstan-system"
CASES: Mapping[str, tuple[str, Sequence[str]]] = {
    "operator": ("capstan", ()),
    "page-behind-a-proxy": (
        "capstan",
        (
            "watchNamespaces={flights}",
            "page.prefix=/capstan",
            "page.hosts={ml.example.com}",
            "page.sessionHours=4",
            "page.ingress.host=ml.example.com",
            "page.ingress.className=nginx",
            "page.ingress.tlsSecret=ml-tls",
            "page.proxy.addresses={10.0.12.0/24}",
            "page.links.mlflow=https://mlflow.example.com",
            "page.links.prometheus=https://prometheus.example.com",
            "page.links.kfp=https://kfp.example.com",
            "page.from[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress-nginx",
        ),
    ),
    "operator-in-two-namespaces": (
        "capstan",
        (
            "watchNamespaces={flights,churn}",
            "page.enabled=false",
            "stack=false",
            "userRoles=false",
            "artifacts.uri=s3://models/capstan?region=eu-central-1",
            "artifacts.keysSecret=models-bucket",
            "mlflowUrl=https://mlflow.example.com",
            "prometheusUrl=http://prometheus-operated.monitoring:9090",
            "alertmanagerUrl=http://alertmanager-operated.monitoring:9093",
            "kfp.url=http://ml-pipeline.kubeflow.svc:8888",
            "kfp.authenticate=true",
            "keysSecret=capstan-own",
            "serviceMonitor=true",
            "storageClass=fast",
            "images.override.operator=registry.example.com/operator@sha256:abc",
            "images.pullSecrets={registry}",
            "nodeSelector.disk=ssd",
            "tolerations[0].operator=Exists",
            "networkPolicy.from[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=monitoring",
        ),
    ),
    "stack": ("capstan-stack", ()),
    "stack-on-postgresql": (
        "capstan-stack",
        (
            "mlflow.databaseSecret=mlflow-db",
            "objectStorage.enabled=false",
            "dashboards.enabled=false",
            "prometheus.watchNamespaces={flights}",
            "prometheus.storage.storageClass=fast",
            "imagePullSecrets={registry}",
            "nodeSelector.disk=ssd",
            "tolerations[0].operator=Exists",
        ),
    ),
}
"""What is compared with golden files: chart, and values as `--set` takes them."""


def helm(*arguments: str) -> str:
    done = subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def render(case: str, namespace: str = NAMESPACE) -> str:
    """All that is installed, tests too; keys that are made anew at every rendering are blanked, and dashboards."""
    chart, values = CASES[case]
    options = [option for value in values for option in ("--set", value)]
    text = helm("template", chart, str(CHARTS / chart), "--namespace", namespace, *options)
    # Dashboards are compared with what makes them.
    text = re.sub(r"^(  capstan-\w+\.json: )\|-?(\n    .*)+", r"\1DASHBOARD", text, flags=re.MULTILINE)
    return re.sub(
        r"^(  (?:master|reading|sessions|webhook|AWS_\w+|tls\.\w+): )[\w+/]+=*$",
        r"\1MADE",
        text,
        flags=re.MULTILINE,
    )


def objects(text: str) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(text) if document]


def pods(documents: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that these objects run, by the name of what runs it; volumes that are claimed are empty ones."""
    for document in documents:
        spec = document.get("spec", {})
        template = document if document["kind"] == "Pod" else spec.get("template")
        if template is not None:
            claimed = [
                {"name": claim["metadata"]["name"], "emptyDir": {}}
                for claim in spec.get("volumeClaimTemplates", ())
            ]
            pod = template["spec"]
            yield (
                document["metadata"]["name"],
                {**pod, "volumes": [*pod["volumes"], *claimed]} if claimed else pod,
            )
