"""An operator as a process of its own, whose systems live in files: `python operator_process.py --world DIR ...`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from functools import partial
from pathlib import Path

# As the tests import it: what one process pickles, the other reads.
sys.path.insert(0, str(Path(__file__).parents[2]))

from cluster.operating.file_world import FileWiring

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.kubernetes.client import RESOURCES, KubeClient, Resource
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.watching.cache import WATCHED, WatchedKind
from capstan_operator.app import App, Options, new_identity
from capstan_operator.leader import Timing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--namespace", required=True, help="of the Lease and of all systems")
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default="operator")
    parser.add_argument("--hasty", action="store_true", help="a Lease of eight seconds")
    parser.add_argument("--whims", help="group of a kind `Whim` that is watched besides what operators watch")
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    timing = Timing(duration=8.0, renew_deadline=6.0, renew=1.5, retry=0.5) if options.hasty else Timing()
    watched = dict(WATCHED)
    if options.whims:
        RESOURCES["Whim"] = Resource(f"{options.whims}/v1", "Whim", "whims")
        watched["Whim"] = WatchedKind(optional=True)
    app = App(
        KubeClient.from_kubeconfig(file=options.kubeconfig),
        ClusterSettings(namespace=options.namespace, watch_namespaces=(options.namespace,)),
        partial(FileWiring, folder=options.world),
        Options(
            new_identity(options.name),
            host="127.0.0.1",
            port=options.port,
            threads=4,
            timing=timing,
            watched=watched,
        ),
        WebhookReceiver("hint"),
    )
    signal.signal(signal.SIGTERM, lambda *_: app.stop())
    return app.run()


if __name__ == "__main__":
    sys.exit(main())
