"""Testing in production on a real cluster: an A/B test, then a canary beside a fresh copy of the champion.

The tests are the chapters of one story and run in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from cluster.access import reached, tokens
from cluster.loop.installed import installed
from cluster.loop.parcels import NAME, World, past, with_moments, write_table
from cluster.loop.story import Story
from cluster.loop.traffic import FEATURES
from cluster.loop.watched import Watched
from cluster.upstream import seldon_operator
from ruamel.yaml import YAML
from scipy.stats import binomtest

from capstan.adapters.kubernetes.client import KubeClient
from capstan.domain.versions import VersionName

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

FILE = Path(__file__).parent / "loop" / "system.yaml"
GATEWAY_PORT = 80
MOST_CUSTOMERS = 20_000
LEAST_UNITS = 500
"""Units before which no verdict is given."""
CLICKS = {"v1": 0.3, "v2": 0.5}
"""How likely a customer clicks once they have met a version."""
WEIGHT = 40
STEP = {"weight": WEIGHT, "metric": "clicked", "secondary": ["logLoss"], "deadline": "1h"}
ONLINE = {
    "name": "clicked",
    "event": "click",
    "aggregate": "Rate",
    "window": "10s",
    "maximumDelay": "5s",
    "better": "Higher",
}


COPIED = 30
"""The challenger's share in the canary, and as much for the fresh copy."""
CANARY = {"weight": COPIED, "baseline": "FreshCopy", "duration": "5s", "minRequests": 100}


@pytest.fixture(scope="module")
def story(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """Everything installed, and the system with its first champion."""
    folder = tmp_path_factory.mktemp("experiment")
    document = YAML(typ="safe").load(FILE.read_text())
    document["spec"]["evaluation"] = {"online": [ONLINE]}
    document["spec"]["rollout"]["steps"] = [{"experiment": STEP}]
    YAML().dump(document, folder / "system.yaml")
    write_table(folder / "data" / "past.csv", past(datetime.now(UTC), minutes=20, per_second=10, seed=1))
    namespace = new_namespace()
    with (
        seldon_operator(kube, namespace),
        installed(kube, new_namespace(), systems=namespace) as platform,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in platform.storage_keys().items():
            patch.setenv(name, value)
        watched = Watched.of(kube, namespace, NAME)
        told = Story(kube, platform, NAME, namespace, folder, watched)
        told.push()
        told.run("kubectl", "-n", namespace, "apply", "-f", "system.yaml")
        watched.eventually(lambda: watched.champion == "v1", 400, "a first champion")
        watched.eventually(lambda: watched.rollout_phase() == "", 120, "the first rollout is over")
        yield told


class Customers:
    """Each asks once and again under their own key, and may click."""

    def __init__(self, gateway: str, token: str) -> None:
        self._http = httpx.Client(base_url=gateway, trust_env=False, timeout=10)
        self._token = token
        self._rng = np.random.default_rng(3)
        self._asked = 0
        self.met: dict[str, set[str]] = {}
        """Versions by customer."""
        self.left: dict[str, datetime] = {}
        """When each had the last answer."""

    def ask(self, key: str) -> str:
        """The version that answered last."""
        version = ""
        met = self.met[key] = set()
        for row in World().parcels(2, self._asked, self._rng):
            self._asked += 1
            row = with_moments({**row, "customer": key}, datetime.now(UTC))
            answer = self._http.post(
                "/predict",
                json={"rows": [{name: row[name] for name in FEATURES}]},
                headers={"x-capstan-key": key},
            )
            assert answer.status_code == 200, answer.text
            version = answer.headers["x-capstan-version"]
            met.add(version)
        self.left[key] = datetime.now(UTC)
        return version

    def visit(self, customer: int) -> None:
        key = f"c{customer}"
        version = self.ask(key)
        if self._rng.random() < CLICKS[version]:
            event = {"eventId": f"click-{customer}", "event": "click", "unit": key}
            answer = self._http.post(
                "/events", json={"events": [event]}, headers={"authorization": f"Bearer {self._token}"}
            )
            assert answer.status_code == 200, answer.text

    def met_before(self, moment: datetime) -> list[set[str]]:
        """Versions of each customer who had the last answer before then."""
        return [versions for key, versions in self.met.items() if self.left[key] < moment]

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def customers(story: Story) -> Iterator[Customers]:
    names = story.watched.names
    with reached(story.kube, story.namespace, names.gateway, GATEWAY_PORT) as address:
        found = Customers(address, tokens(story.kube, names)["feedback"])
        yield found
        found.close()


def test_what_users_do_decides_and_each_stays_with_their_version(
    story: Story, customers: Customers, tmp_path: Path
) -> None:
    watched, before = story.watched, story.watched.last_event
    assert story.inject(story.champions_model(tmp_path), "another") == VersionName("v2")
    watched.eventually(lambda: "StepStarted" in watched.told(after=before), 240, "the experiment")
    for customer in range(MOST_CUSTOMERS):
        customers.visit(customer)
        if customer % 100 == 0 and "Promoting" in watched.told(after=before):
            break
    watched.eventually(lambda: watched.champion == "v2", 180, "v2 is the champion")
    [ended] = [event.at for _, event in watched.story(after=before) if event.reason == "Promoting"]
    met = customers.met_before(ended)
    assert all(len(versions) == 1 for versions in met), "a customer met two versions"
    assert len(met) >= LEAST_UNITS
    of_v2 = sum(versions == {"v2"} for versions in met)
    assert binomtest(of_v2, len(met), WEIGHT / 100).pvalue > 1e-5, f"{of_v2} of {len(met)} met v2"
    told = watched.told(after=before)
    assert told.count("Promoted") == 1
    assert "RolledBack" not in told
    [why] = [event.message for _, event in watched.story(after=before) if event.reason == "Promoted"]
    assert "clicked" in why, why
    assert "shown better" in why, why


def test_a_canary_beside_a_fresh_copy_of_the_champion_is_one_verdict(
    story: Story, customers: Customers, tmp_path: Path
) -> None:
    watched, before = story.watched, story.watched.last_event
    watched.eventually(lambda: watched.state.rollout is None, 60, "the experiment's rollout is over")
    edit = {"rollout": {"steps": [{"canary": CANARY}]}}
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": edit})
    assert story.inject(story.champions_model(tmp_path), "third") == VersionName("v3")
    watched.eventually(lambda: "StepStarted" in watched.told(after=before), 240, "the canary")
    assert [len(story.pods(version)) for version in ("v2", "v2-copy", "v3")] == [1, 1, 1]
    for customer in range(MOST_CUSTOMERS):
        customers.ask(f"k{customer}")
        if customer % 50 == 0 and "Promoting" in watched.told(after=before):
            break
    watched.eventually(lambda: watched.champion == "v3", 60, "v3 is the champion")
    [ended] = [event.at for _, event in watched.story(after=before) if event.reason == "Promoting"]
    met = customers.met_before(ended)
    assert all(len(versions) == 1 for versions in met), "a customer met two versions"
    counts = Counter(version for versions in met for version in versions)
    assert counts.keys() == {"v2", "v2-copy", "v3"}
    for version in ("v2-copy", "v3"):
        assert binomtest(counts[version], len(met), COPIED / 100).pvalue > 1e-5, counts
    told = watched.told(after=before)
    assert told.count("Promoted") == 1
    assert "RolledBack" not in told
    [why] = [event.message for _, event in watched.story(after=before) if event.reason == "Promoted"]
    assert "in the champion's place stands v2-copy, a fresh copy" in why, why
    copy = watched.names.model(VersionName("v2-copy"))

    def is_gone() -> bool:
        deployment = story.kube.get("SeldonDeployment", copy, story.namespace)
        return deployment is None and not story.pods("v2-copy")

    watched.eventually(is_gone, 60, "the copy is gone")
