"""The whole loop on a real cluster: charts, one file, users, drift, one retraining, a promotion by steps, bad versions.

The tests are the chapters of one story and run in order; the story is printed at the end.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from cluster.access import forwarded, reached, tokens
from cluster.loop.installed import installed
from cluster.loop.parcels import NAME, past, write_table
from cluster.loop.story import Story
from cluster.loop.traffic import Asked, Traffic
from cluster.loop.watched import Watched, labels_of
from cluster.upstream import seldon_operator
from embedded.faulty import make_faulty
from scipy.stats import binomtest

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.names import ALERTMANAGER_PORT
from capstan.domain.versions import VersionName
from capstan_operator import rights

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
FILE = HERE / "loop" / "system.yaml"
OUTAGE = HERE / "outage"
"""A command that kills a component of the control plane and returns when it is back."""
OUT_OF_REACH = ("ConnectError", "ConnectTimeout", "503: upstream connect error", "503: no healthy upstream")
"""What users are told by a Service that has no endpoint, or by a gateway that asks one."""
PER_SECOND = 30.0
GATEWAY_PORT = 80


@pytest.fixture(scope="module")
def story(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """Everything installed; nothing applied yet."""
    folder = tmp_path_factory.mktemp("loop")
    shutil.copy(FILE, folder / "system.yaml")
    namespace = new_namespace()
    with (
        seldon_operator(kube, namespace),
        installed(kube, new_namespace(), systems=namespace) as platform,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in platform.storage_keys().items():
            patch.setenv(name, value)
        told = Story(kube, platform, NAME, namespace, folder, Watched.of(kube, namespace, NAME))
        try:
            yield told
        finally:
            if told.traffic is not None:
                told.traffic.stop()


@pytest.fixture(scope="module")
def gateway(story: Story) -> Iterator[str]:
    with reached(story.kube, story.namespace, story.watched.names.gateway, GATEWAY_PORT) as address:
        yield address


def share_of(asked: Asked, version: str) -> tuple[int, int]:
    return asked.answered[version], sum(asked.answered.values())


def assert_share(asked: Asked, version: str, percent: int) -> None:
    """The version's share of the answers is the weight, within what chance allows once in a hundred thousand."""
    hits, total = share_of(asked, version)
    assert total > 100, f"only {total} answers"
    assert binomtest(hits, total, percent / 100).pvalue > 1e-5, (
        f"{hits} of {total} answers, wanted {percent} %"
    )


def assert_people_are_told(story: Story) -> None:
    """The stack's Prometheus has found the system's own Alertmanager, which tries to tell the receivers of the file."""
    names = story.watched.names
    with forwarded(story.namespace, f"deployment/{names.alertmanager}", ALERTMANAGER_PORT) as port:

        def tried(integration: str) -> bool:
            told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            name = f'alertmanager_notifications_total{{integration="{integration}"'
            counts = [float(line.rpartition(" ")[2]) for line in told.splitlines() if line.startswith(name)]
            return sum(counts) > 0

        # The Secret of the other one was never made.
        story.watched.eventually(lambda: tried("webhook"), 90, "a receiver of the file is told")


def test_one_file_becomes_a_served_model(story: Story) -> None:
    write_table(
        story.folder / "data" / "past.csv", past(datetime.now(UTC), minutes=40, per_second=20, seed=1)
    )
    story.push()
    story.run("kubectl", "-n", story.namespace, "apply", "-f", "system.yaml")
    watched = story.watched
    watched.eventually(lambda: watched.champion == "v1", 300, "a first champion")
    watched.eventually(lambda: watched.rollout_phase() == "", 120, "the first rollout is over")
    jobs = story.kube.list("Job", story.namespace)
    assert [labels_of(job)["capstan.dev/system"] for job in jobs] == [NAME], "one Job ran the pipeline"
    assert (
        story.kube.get("SeldonDeployment", watched.names.model(VersionName("v1")), story.namespace)
        is not None
    )
    story.run(
        "kubectl", "-n", story.namespace, "wait", "--for=condition=Ready", f"mls/{NAME}", "--timeout=60s"
    )


def test_users_are_answered_through_the_gateway(story: Story, gateway: str) -> None:
    token = tokens(story.kube, story.watched.names)["feedback"]
    story.traffic = Traffic(gateway, token, per_second=PER_SECOND, seed=2)
    story.traffic.start()
    story.watched.eventually(lambda: story.users.total.sent > 300, 60, "300 requests")
    story.assert_nobody_noticed()
    assert set(story.users.total.answered) == {"v1"}


def test_drift_starts_one_retraining_that_is_promoted_step_by_step(story: Story) -> None:
    watched, before = story.watched, story.watched.last_event
    # A window or two of what the model knows, so that the alert speaks of a change.
    time.sleep(45)
    assert "DriftDetected" not in watched.told(after=before), "no alarm while nothing has changed"
    story.users.moved = True
    watched.eventually(lambda: "DriftDetected" in watched.told(after=before), 300, "a drift alert")
    assert_people_are_told(story)
    # What happened since is in the warehouse by now.
    write_table(story.folder / "data" / "recent.csv", list(story.users.rows))
    story.push()
    steps = follow_rollout(story, before, seconds=600)
    # Half of what was learnt is of the old world: the alert goes on, and no further training may come in between.
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": {"retraining": {"cooldown": "1d"}}})
    watched.eventually(lambda: watched.champion == "v2", 30, "v2 is the champion")
    told = watched.told(after=before)
    assert told.count("TrainingSucceeded") == 1, "one alert, however often it was told, is one retraining"
    assert told.count("Promoted") == 1
    assert len(watched.runs()) == 2, "the first training and the retraining"
    for percent, asked in steps.items():
        assert_share(asked, "v2", percent)
    users = [versions for percent in (25, 50) for versions in steps[percent].arms.values()]
    both = [versions for versions in users if len(versions) > 1]
    # Whom a busy challenger keeps waiting for two seconds is answered by the champion: one in a hundred, if any.
    assert len(both) <= len(users) / 100, "within a step every user stays on one version"
    story.assert_nobody_noticed()
    lineage = Counter(
        event.details.get("trigger")
        for _, event in watched.story(after=before)
        if event.reason == "TrainingSucceeded"
    )
    assert lineage == {"Alert": 1}


def follow_rollout(story: Story, after: int, *, seconds: float) -> dict[int, Asked]:
    """Answers by the weight of the challenger, taken while that weight was obeyed; ends with the rollout."""
    watched, deadline = story.watched, time.monotonic() + seconds
    found: dict[int, Asked] = {}
    weight = -1
    while not {"Promoted", "RolledBack"} & set(watched.told(after=after)):
        assert time.monotonic() < deadline, watched.told_in_full()
        status = (watched.object or {}).get("status", {})
        now = (status.get("challenger") or {}).get("weight")
        if now != weight:
            # Around a change nobody knows by which weight an answer was given.
            time.sleep(2)
            story.users.take()
            weight = now
        else:
            time.sleep(1)
            status = (watched.object or {}).get("status", {})
            taken = story.users.take()
            if (status.get("challenger") or {}).get("weight") == weight and weight:
                add(found.setdefault(int(weight), Asked()), taken)
    return found


def add(sum_of: Asked, more: Asked) -> None:
    sum_of.sent += more.sent
    sum_of.failures += more.failures
    sum_of.answered.update(more.answered)
    for user, versions in more.arms.items():
        sum_of.arms.setdefault(user, set()).update(versions)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("raises", {"AnalysisFailed"}),
        # As many requests as come take longer than the time between them: it is slow, and not ready now and then.
        ("slow", {"AnalysisFailed", "ChallengerCrashing"}),
        ("crashes", {"ProgressDeadlineExceeded"}),
        ("loads for ever", {"ProgressDeadlineExceeded"}),
    ],
)
def test_a_bad_challenger_is_rolled_back_and_no_user_notices(
    story: Story, tmp_path: Path, fault: str, reasons: set[str]
) -> None:
    watched, before = story.watched, story.watched.last_event
    champion, failed = watched.champion, len(story.users.total.failures)
    edit = {
        "steps": [{"canary": {"weight": 30, "duration": "30s", "minRequests": 60}}],
        "progressDeadline": "45s",
        "guardrails": {"latencyP99": {"maxRatio": 1.5, "floor": "150ms"}, "errorRate": {"max": 0.02}},
    }
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": {"rollout": edit}})
    version = story.inject(
        make_faulty(story.champions_model(tmp_path), fault), f"bad-{fault.replace(' ', '-')}"
    )
    watched.eventually(lambda: "RolledBack" in watched.told(after=before), 240, f"{version} is rolled back")
    told = watched.told(after=before)
    assert reasons & set(told), watched.told_in_full()
    assert "Promoted" not in told
    watched.eventually(lambda: watched.state.rollout is None, 60, "its rollout is over")
    assert watched.champion == champion
    story.assert_nobody_noticed(since=failed)
    watched.eventually(
        lambda: story.kube.get("SeldonDeployment", watched.names.model(version), story.namespace) is None,
        60,
        "its pods are gone",
    )


@contextmanager
def mid_rollout(
    story: Story, folder: Path, run: str, *, lasts: str = "40s", but: tuple[str, ...] = ()
) -> Iterator[None]:
    """In the canary of a good challenger; whatever happens there, it is promoted by one step, and no user notices.

    `lasts`: the step, at least; `but`: how failures begin that are borne.
    """
    watched, before = story.watched, story.watched.last_event
    failed = len(story.users.total.failures)
    edit = {
        "steps": [{"canary": {"weight": 50, "duration": lasts, "minRequests": 60}}],
        "guardrails": {"latencyP99": {"maxRatio": 10, "floor": "1s"}},
        "limits": {"failures": 1, "inconclusive": 1000, "errors": 3},
    }
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": {"rollout": edit}})
    version = story.inject(story.champions_model(folder), run)
    watched.eventually(lambda: "StepStarted" in watched.told(after=before), 180, "the canary has begun")
    yield
    watched.eventually(lambda: "Promoted" in watched.told(after=before), 240, "the rollout goes on")
    told = watched.told(after=before)
    # A challenger whose pods were not ready for a moment begins its step again.
    twists = [reason for reason in told if reason in ("StepStarted", "ChallengerLost")]
    assert ("StepStarted", "StepStarted") not in pairwise(twists), watched.told_in_full()
    assert told.count("Promoted") == 1
    # What a rollout says of its end is told before the system's record follows.
    watched.eventually(lambda: watched.champion == str(version), 30, f"{version} is the champion")
    watched.eventually(lambda: watched.state.rollout is None, 60, "its rollout is over")
    story.assert_nobody_noticed(since=failed, but=but)


def test_the_loop_goes_on_when_its_operator_is_killed_in_mid_rollout(story: Story, tmp_path: Path) -> None:
    """FAULTS 1, 2, 20: killed without a word, another one takes over; nothing is done twice."""
    with mid_rollout(story, tmp_path, "operator-killed"):
        leader = story.platform.leader()
        assert leader
        story.run(
            "kubectl", "-n", story.platform.namespace, "delete", "pod", leader, "--grace-period=0", "--force"
        )
        killed = time.monotonic()
        story.watched.eventually(
            lambda: story.platform.leader() not in ("", leader), 60, "another operator leads"
        )
        assert time.monotonic() - killed < 45


@pytest.mark.alone
def test_the_loop_goes_on_when_api_server_and_kubelet_are_killed_in_mid_rollout(
    story: Story, tmp_path: Path
) -> None:
    """FAULTS 2, 5, 6. A kubelet that starts calls every pod of its node unready until it has probed it.

    Copies on other nodes answer meanwhile; where this is the only node, Services are without an endpoint for a moment.
    """
    with mid_rollout(story, tmp_path, "control-plane-killed", lasts="60s", but=OUT_OF_REACH):
        for component in ("kube-apiserver", "kubelet"):
            story.run(str(OUTAGE), component)
            story.until_services_follow_pods()


def test_nothing_is_promoted_while_prometheus_is_away(story: Story, tmp_path: Path) -> None:
    """FAULTS 9: a verdict that cannot be read is none; the step waits and goes on."""
    before = story.watched.last_event
    prometheus = ("statefulset/prometheus", "-n", story.platform.namespace)
    with mid_rollout(story, tmp_path, "prometheus-away"):
        story.run("kubectl", "scale", *prometheus, "--replicas=0")
        try:
            story.watched.eventually(
                lambda: "MeasurementAway" in story.watched.told(after=before), 120, "it says what is away"
            )
            time.sleep(45)
            assert "Promoted" not in story.watched.told(after=before)
        finally:
            story.run("kubectl", "scale", *prometheus, "--replicas=1")


@pytest.mark.alone
def test_no_user_notices_a_drained_node_and_an_upgrade_in_mid_rollout(story: Story, tmp_path: Path) -> None:
    """FAULTS 32: every pod of the system is evicted, one of a kind at a time, and the operator's are replaced."""
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": {"serving": {"replicas": {"min": 2}}}})
    story.watched.eventually(
        lambda: len(story.pods(story.watched.champion)) == 2, 120, "two copies of the champion"
    )
    with mid_rollout(story, tmp_path, "drained"):
        node = story.pods(story.watched.champion)[0]["spec"]["nodeName"]
        before = {pod["metadata"]["uid"] for pod in story.pods() if pod["spec"]["nodeName"] == node}
        drain = subprocess.Popen(
            ["kubectl", "drain", node, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=240s",
             f"--pod-selector=capstan.dev/system={NAME}"]
        )  # fmt: skip
        try:
            operator = ("deployment/capstan-operator", "-n", story.platform.namespace)
            story.watched.eventually(lambda: not story.takes_pods(node), 30, "the node is closed")
            # The only node there is: what was evicted has to find a place, as on another one.
            story.run("kubectl", "uncordon", node)
            story.run("kubectl", "rollout", "restart", *operator)
            assert drain.wait(240) == 0
            story.run("kubectl", "rollout", "status", *operator, "--timeout=120s")
        finally:
            drain.kill()
            story.run("kubectl", "uncordon", node)
        assert before.isdisjoint(pod["metadata"]["uid"] for pod in story.pods())


def test_the_operator_may_do_what_its_table_says_and_nothing_more(story: Story) -> None:
    account = f"system:serviceaccount:{story.platform.namespace}:capstan-operator"
    listed = story.run(
        "kubectl", "-n", story.namespace, "auth", "can-i", "--list", "--no-headers", f"--as={account}"
    )  # fmt: skip
    may: dict[str, set[str]] = {}
    for line in listed.splitlines():
        resource, *rest = line.split()
        # Everybody may ask what they may; addresses outside resources begin with a bracket.
        if (
            not resource.startswith("[")
            and ".authorization." not in resource
            and ".authentication." not in resource
        ):
            may.setdefault(resource, set()).update(line[line.rindex("[") + 1 : -1].split())
            assert "[]" in rest, f"{line}: names are not expected here"
    written: dict[str, set[str]] = {}
    for right in rights.NAMESPACED:
        for resource in right.resources:
            kind, slash, sub = resource.partition("/")
            name = f"{kind}.{right.group}" if right.group else kind
            written.setdefault(f"{name}{slash}{sub}", set()).update(right.verbs)
    assert may == written
    for forbidden in (
        "get secrets",
        "list secrets",
        "patch secrets",
        "delete secrets",
        "create pods/exec",
        "create rolebindings",
        "delete namespaces",
    ):
        asked = ["kubectl", "-n", story.namespace, "auth", "can-i", *forbidden.split(), f"--as={account}"]
        assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "no", (
            forbidden
        )


def test_every_payload_is_accounted_for(story: Story) -> None:
    story.users.stop()
    names = story.watched.names
    with reached(story.kube, story.namespace, names.collector, 8081) as collector:

        def stored() -> int:
            return int(httpx.get(f"{collector}/stats", trust_env=False, timeout=10).json()["answered"])

        total = story.users.total
        answers = total.answered.total()
        with contextlib.suppress(AssertionError):
            story.watched.eventually(lambda: stored() >= answers, 90, "every answer is stored")
        found = httpx.get(f"{collector}/stats", trust_env=False, timeout=10).json()
        # An answer that did not reach its user was given all the same.
        assert answers <= found["answered"] <= total.sent, f"{answers} answers, {total.failures}\n{found}"


def test_a_deleted_system_leaves_its_volumes_and_the_next_one_counts_on_from_them(
    story: Story, record_property: Callable[[str, object], None]
) -> None:
    record_property("story", f"{time.monotonic() - story.began:.0f} s\n{story.watched.told_in_full()}")
    before = answers_stored(story)
    assert before > 0
    delete(story)
    volumes = [f"persistentvolumeclaim/{NAME}-data", f"persistentvolumeclaim/{NAME}-record"]
    story.watched.eventually(
        lambda: left(story) == volumes, 120, "nothing with its label is left but volumes"
    )
    story.run("kubectl", "-n", story.namespace, "apply", "-f", "system.yaml")
    collector = (story.watched.names.collector, story.namespace)
    story.watched.eventually(
        lambda: bool((story.kube.get("Deployment", *collector) or {}).get("status", {}).get("readyReplicas")),
        180,
        "a new collector",
    )
    assert answers_stored(story) >= before


def test_a_system_that_is_deleted_with_its_data_leaves_nothing(story: Story) -> None:
    story.kube.patch("MLSystem", NAME, story.namespace, {"spec": {"deletionPolicy": "Delete"}})
    delete(story)
    story.watched.eventually(lambda: left(story) == [], 120, "nothing with its label is left")


def answers_stored(story: Story) -> int:
    with reached(story.kube, story.namespace, story.watched.names.collector, 8081) as collector:
        return int(httpx.get(f"{collector}/stats", trust_env=False, timeout=10).json()["answered"])


def delete(story: Story) -> None:
    story.run("kubectl", "-n", story.namespace, "delete", "mls", NAME, "--timeout=120s")


def left(story: Story) -> list[str]:
    kinds = (
        "pods,deployments,services,configmaps,secrets,serviceaccounts,jobs,pvc,pdb,hpa,networkpolicies,"
        "seldondeployments,mlsystems,trainingruns,modelrollouts"
    )
    label = f"capstan.dev/system={NAME}"
    return sorted(
        story.run("kubectl", "-n", story.namespace, "get", kinds, "-o", "name", "-l", label).split()
    )
