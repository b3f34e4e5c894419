"""What every adapter of a port does: one class of tests per port, for pytest.

Subclass it beside your adapter and give it the fixtures that its module names:

    from capstan.testing.ports.traffic import TrafficContract

    class TestMyGateway(TrafficContract):
        @pytest.fixture
        def traffic(self) -> TrafficProvider: ...

pytest is not among Capstan's own dependencies; whoever runs these brings it.
"""

from __future__ import annotations

import pytest

# Or a failed assertion would not show its values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{port}" for port in ("pipelines", "registry", "serving", "store", "traffic"))
)
