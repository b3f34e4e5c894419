"""A traffic provider that is not there: one ConfigMap that a mesh of one's own reads."""

from __future__ import annotations

from members.toy import Edit, Toy

_FACTS = """        ProviderFacts(
            "Mesh",
            "A mesh of one's own splits and mirrors by what a ConfigMap says",
            kinds={},
        ),
"""
_MODULE = '''"""Traffic of a system with `traffic.provider: Mesh`: a ConfigMap says the split."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.cluster.wiring.serving import serving_of
from capstan.cluster.wiring.traffic.provider import Surroundings, TrafficProviderRow, Versions
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.ports.codec import from_json, to_json
from capstan.ports.kube import Kube, Object
from capstan.ports.serving import Endpoint
from capstan.ports.traffic import TrafficProvider
from capstan.spec import MLSystem
from capstan.spec.providers import PROVIDERS


class MeshSplit:
    """The split as the data of one ConfigMap."""

    def __init__(self, kube: Kube, metadata: Object) -> None:
        self._kube = kube
        self._metadata = metadata

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        data = {"split": to_json(split)}
        self._kube.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(self._metadata), "data": data}
        )

    def read_back(self) -> TrafficSplit | None:
        found = self._kube.get("ConfigMap", self._metadata["name"], self._metadata["namespace"])
        return None if found is None else from_json(TrafficSplit, found["data"]["split"])

    def refusal(self, split: TrafficSplit) -> str | None:
        return None


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, TrafficProvider]:
    metadata = around.names.metadata(f"{around.names.system}-mesh", around.names.labels("mesh"), around.owner)
    serving = serving_of(around.kube, system, around.names, around.settings, around.owner)
    return serving, MeshSplit(around.kube, metadata)


MESH = TrafficProviderRow(PROVIDERS["Mesh"], _wire, lambda *_: [], lambda *_: False)
'''
PROVIDER = Toy(
    "traffic provider",
    edits=(
        Edit(
            "platform/capstan/spec/providers.py",
            '    "Istio",\n]\n',
            '    "Mesh",\n',
            before=True,
        ),
        Edit(
            "platform/capstan/spec/providers.py",
            '        ProviderFacts(\n            "Istio",\n',
            _FACTS,
            before=True,
        ),
        Edit(
            "platform/capstan/cluster/wiring/traffic/__init__.py",
            "_ROWS = (\n",
            "    MESH,\n",
        ),
        Edit(
            "platform/capstan/cluster/wiring/traffic/__init__.py",
            "from capstan.cluster.wiring.traffic.istio import ISTIO\n",
            "from capstan.cluster.wiring.traffic.mesh import MESH\n",
        ),
    ),
    new={"platform/capstan/cluster/wiring/traffic/mesh.py": _MODULE},
    check="""
import pytest, sys
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_mesh.py"]))
""",
    also={
        "test_mesh.py": '''
import httpx
import pytest

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import SystemNames
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.traffic import wire_traffic
from capstan.cluster.wiring.traffic.provider import Surroundings
from capstan.ports.serving import Endpoint
from capstan.spec import load
from capstan.testing.ports.traffic import V1, V2, V3, TrafficContract


class TestMesh(TrafficContract):
    @pytest.fixture
    def traffic(self, tmp_path):
        file = tmp_path / "system.yaml"
        file.write_text(FILE + "  serving: {traffic: {provider: Mesh}}\\n")
        settings = ClusterSettings(namespace="here", images=Images(python="p", operator="o"))
        names = SystemNames("here", "flights")
        around = Surroundings(MemoryKube(), httpx.Client(), names, settings, None, {})
        return wire_traffic(load(file), around)[1]

    @pytest.fixture
    def endpoints(self):
        return {V1: Endpoint("v1", 80), V2: Endpoint("v2", 80), V3: Endpoint("v3", 80)}


FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: flights}
spec:
  objective: {business: Test, task: BinaryClassification, target: late}
  data:
    sources: [{name: t, csv: {path: t.csv, timeColumn: at}}]
    keys: {id: id, time: at}
    label: {column: late, availableAt: known_at, maximumDelay: 1d}
  features: [{name: distance, numeric: {}}]
"""
'''
    },
)
