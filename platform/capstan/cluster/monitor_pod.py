"""Asks the monitor of a system from outside its cluster: by a command in its own pod, which has the token.

The API server would keep the token of a request that it forwards for itself, and a tunnel to the pod would need the
token here. Whoever may run a command in the pod needs neither.
"""

from __future__ import annotations

from typing import Any

import orjson

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.conditions import holds
from capstan.adapters.kubernetes.pod_exec import run_with_input
from capstan.cluster.names import MONITOR_PORT, TOKENS_MOUNT, SystemNames
from capstan.errors import UnavailableError

CONTAINER = "monitor"
SECONDS = 120
"""Seconds that an answer may take: a month of much traffic is read."""
ASK = f"""
import json, sys, urllib.error, urllib.request
token = open({TOKENS_MOUNT + "/internal"!r}).read().strip()
headers = {{"authorization": "Bearer " + token, "content-type": "application/json"}}
address, content = "http://127.0.0.1:{MONITOR_PORT}" + sys.argv[1], sys.argv[2].encode() or None
question = urllib.request.Request(address, content, headers)
try:
    with urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(question, timeout={SECONDS}) as answer:
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"the monitor answered {{error.code}}: " + error.read().decode()[:500])
except OSError as error:
    sys.exit(f"the monitor did not answer: {{error}}")
"""
"""What the pod runs: a POST to the monitor beside it, with the path and the JSON that it gets; without JSON a GET."""


def ask_monitor(kube: KubeClient, names: SystemNames, path: str, question: object = None) -> Any:
    """The monitor's answer to a POST of the question, or to a GET where there is none.

    Raises UnavailableError where no pod of it is ready, NotAllowedError if the user may run nothing in pods, and
    CapstanError with the monitor's own words.
    """
    pods = kube.list("Pod", names.namespace, labels=names.selector(CONTAINER))
    ready = sorted(str(pod["metadata"]["name"]) for pod in pods if holds(pod, "Ready"))
    if not ready:
        way = f"`capstan status {names.system} --context .` says what is in its way"
        raise UnavailableError("the monitor", f"no pod of {names.monitor} is ready; {way}")
    command = ["python", "-c", ASK, path, "" if question is None else orjson.dumps(question).decode()]
    said = run_with_input(kube, names.namespace, ready[0], CONTAINER, command, ())
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise UnavailableError("the monitor", f"{ready[0]}: its answer is no JSON: {error}") from error
