"""What `helm test` asks: is an operator ready, and do the custom resources that are installed belong to it?"""

import copy
import os
import sys
import time
from pathlib import Path

import httpx

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SYSTEM = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "helm-test"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "churned"},
        "data": {
            "sources": [{"name": "customers", "csv": {"path": "customers.csv", "timeColumn": "seen_at"}}],
            "query": "select * from customers",
            "keys": {"id": "customer_id", "time": "seen_at"},
            "label": {"column": "churned", "availableAt": "known_at", "maximumDelay": "30d"},
        },
        "features": [{"name": "plan", "categorical": {"encode": "OneHot"}}],
        "training": {"candidates": [{"name": "baseline", "mostFrequent": {}}]},
    },
}


def wait_ready(address):
    for _ in range(30):
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(2)
    sys.exit(
        f"{address}/readyz: no operator is ready after a minute; see kubectl logs deployment/capstan-operator"
    )


def dry_run(api, system):
    namespace = os.environ["NAMESPACE"]
    path = f"/apis/capstan.dev/v1alpha1/namespaces/{namespace}/mlsystems"
    return api.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=system)


wait_ready(os.environ["OPERATOR"])
print("an operator is ready")
server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
with httpx.Client(base_url=server, headers=headers, verify=str(ACCOUNT / "ca.crt"), trust_env=False) as api:
    good = dry_run(api, SYSTEM)
    if good.status_code != 201:
        sys.exit(
            f"the API server refuses a right system: {good.text}\nApply charts/capstan/crds of this version."
        )
    print("the API server takes a right system")
    wrong = copy.deepcopy(SYSTEM)
    wrong["spec"]["objective"]["task"] = "Fortune"
    if dry_run(api, wrong).status_code != 422:
        sys.exit("the API server takes a wrong system too: apply charts/capstan/crds of this version")
    print("and refuses a wrong one")
